"""HTTP requests as tools, with a guard against requests that go where they should not. Needs `waypost[http]`.

from waypost.http import Egress, HttpLookUp, Secret, http_tool
"""

from waypost.http.egress import Egress
from waypost.http.errors import (
    EgressRefused,
    HttpBusy,
    HttpFailed,
    HttpRefused,
    HttpUnavailable,
    NoAnswer,
    NotConnected,
    RequestInvalid,
    ResultUnusable,
)
from waypost.http.secrets import Secret
from waypost.http.tool import HttpLookUp, http_tool

__all__ = [
    "Egress",
    "EgressRefused",
    "HttpBusy",
    "HttpFailed",
    "HttpLookUp",
    "HttpRefused",
    "HttpUnavailable",
    "NoAnswer",
    "NotConnected",
    "RequestInvalid",
    "ResultUnusable",
    "Secret",
    "http_tool",
]
