"""How calls over HTTP end without a result, under the errors that tools raise. The class is what an agent sees as the failure's type.

NotExecuted
├── NotConnected      no connection was made: nothing was sent
├── HttpBusy          the server says that it did nothing (429, 425 and what the tool's author adds)
└── DoNotRetry
    ├── EgressRefused     the guard did not let the request out
    ├── RequestInvalid    the arguments make no request
    └── HttpRefused       the server refused for good (most of 4xx)
RetryLater
└── HttpUnavailable   503, 500 … with Retry-After
HttpFailed            another status: for an unsafe tool the call is in doubt
NoAnswer              the request was sent, the answer did not come, or not whole
ResultNotEncodable
└── ResultUnusable    an answer came that cannot be the result (too large, wrong type, not what was declared)
"""

from __future__ import annotations

from waypost.errors import DoNotRetry, NotExecuted, RetryLater
from waypost.http.hosts import EgressRefused
from waypost.tools import ResultNotEncodable
from waypost_proto.errors import TransientError


class NotConnected(NotExecuted):
    """No connection: nothing was sent."""


class HttpBusy(NotExecuted):
    """The server answered that it did not take the request on."""


class RequestInvalid(DoNotRetry):
    """The arguments do not make a request: nothing was sent."""


class HttpRefused(DoNotRetry):
    """The server refused the request for good."""


class HttpUnavailable(RetryLater):
    """The server said when to try again, but not that it did nothing."""


class HttpFailed(TransientError):
    """The server answered with an error that does not say whether anything took effect."""


class NoAnswer(TransientError):
    """The request was sent and no whole answer came back."""


class ResultUnusable(ResultNotEncodable):
    """The server did what it was asked, and its answer cannot be the tool's result."""


__all__ = [
    "EgressRefused",
    "HttpBusy",
    "HttpFailed",
    "HttpRefused",
    "HttpUnavailable",
    "NoAnswer",
    "NotConnected",
    "RequestInvalid",
    "ResultUnusable",
]
