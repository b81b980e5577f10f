"""The operations of an OpenAPI document as tools. Needs `waypost[http]`.

from waypost.openapi import openapi_tools
"""

from waypost.openapi.document import BadDocument
from waypost.openapi.tools import openapi_tools

__all__ = ["BadDocument", "openapi_tools"]
