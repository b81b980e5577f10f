"""Where a request comes from: which page of a browser, under which host name, from which address. Owns what keeps other sites out.

A browser sends cookies, and reaches loopback, for any page that is open in it. What changes something therefore has to come from a page of
ours (`Sec-Fetch-Site`, or else `Origin`); and where nobody is authenticated the host must be one of this machine's own names, so that a
foreign name that resolves to 127.0.0.1 reads nothing (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.requests import Request

from waypost_proto.errors import Denied

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def check_same_origin(request: Request) -> None:
    """Raises `Denied` for a request that changes something and was made by a page of another site, or by nobody knows which."""
    if request.method in _SAFE:
        return
    site = request.headers.get("sec-fetch-site")
    if site in ("same-origin", "none"):  # "none": typed by the person
        return
    origin = request.headers.get("origin")
    if site is None and origin is not None and urlsplit(origin).netloc == request.headers.get("host"):
        return
    raise Denied("a page of another site sent this with your cookie, or it does not say which did: send a token in Authorization instead")


def foreign_page(request: Request) -> bool:
    """Whether a browser says that a page of another site sent this. False for what is no browser."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def host_of(request: Request) -> str:
    """The host that was asked for, without its port; "" if none is named."""
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def address_of(request: Request, proxies: Sequence[str] = ()) -> str:
    """The address that asks. `X-Forwarded-For` counts from the right, and only what `proxies` have added to it."""
    address = request.client.host if request.client is not None else ""
    if address not in proxies:
        return address
    for hop in reversed([part.strip() for part in request.headers.get("x-forwarded-for", "").split(",") if part.strip()]):
        address = hop
        if hop not in proxies:
            break
    return address[:64]
