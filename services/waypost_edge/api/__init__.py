"""The HTTP API, `/v1/…` and `/openapi.json`: a face of `waypost.api.*`, live events, and what the edge reads of the log itself."""

from waypost_edge.api.routes import Api

__all__ = ["Api"]
