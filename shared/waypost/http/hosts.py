"""URLs and hosts, read strictly: what two readers could take for two different hosts is refused. Pure.

The classic holes are differences between the reader that checks and the one that connects: `http://public@private`, `http://a\\@b`,
`0x7f.1`, `2130706433`, `127.1`, a full-width dot, a zone id, a trailing dot. Here there is one form of each host, and the text that was
checked is the text that is resolved.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import urlsplit

from waypost.errors import DoNotRetry

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL_CHARS = 8_192

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\Z")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\U0010ffff\\<>\"^`{|}]")


class EgressRefused(DoNotRetry):
    """The guard did not let a request out: nothing was sent, and sending it again would not help."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host in its one form: a lower-case name, or an address."""

    name: str
    address: IPv4Address | IPv6Address | None = None

    def __str__(self) -> str:
        return f"[{self.name}]" if ":" in self.name else self.name


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart. `path` includes the query and begins with '/'."""

    scheme: str
    host: Host
    port: int
    path: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return (self.scheme, self.host.name, self.port)

    @property
    def base(self) -> str:
        """Scheme, host and port: what an error message may show (a path or query may hold secrets)."""
        shown = "" if DEFAULT_PORTS[self.scheme] == self.port else f":{self.port}"
        return f"{self.scheme}://{self.host}{shown}"

    def __str__(self) -> str:
        return f"{self.base}{self.path}"


def read_url(url: str) -> Target:
    """Take an absolute http or https URL apart; its fragment is dropped. Raises `EgressRefused` that says which part is not acceptable."""
    if len(url) > MAX_URL_CHARS:
        raise EgressRefused(f"a URL of {len(url)} characters: the limit is {MAX_URL_CHARS}")
    if (found := _FORBIDDEN.search(url)) is not None:
        raise EgressRefused(f"the URL has the character {found.group()!r} at {found.start()}: percent-encode it (a host in Punycode)")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise EgressRefused(f"this is not a URL: {error}") from error
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise EgressRefused(f"the URL's scheme is {parts.scheme!r}: only http and https are called")
    if "@" in parts.netloc:
        raise EgressRefused("the URL carries a user name or password before its host: give credentials as headers with secrets")
    if port == 0 or (parts.netloc.endswith(":")):
        raise EgressRefused("the URL's port is empty or 0: leave it out, or give 1 to 65535")
    bracketed = parts.netloc.startswith("[")
    host = read_host(parts.netloc[1 : parts.netloc.index("]")] if bracketed else parts.netloc.split(":")[0], bracketed=bracketed)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(scheme, host, port or DEFAULT_PORTS[scheme], path)


def read_host(text: str, *, bracketed: bool = False) -> Host:
    """A host in its one form. Raises `EgressRefused` for what other readers could take for another one."""
    name = text.lower()
    if bracketed or ":" in name:
        if "%" in name:
            raise EgressRefused(f"host [{text}]: an IPv6 address with a zone names an interface of this machine")
        try:
            address = IPv6Address(name)
        except AddressValueError as error:
            raise EgressRefused(f"host [{text}] is no IPv6 address: {error}") from error
        return Host(str(address), address)
    if _NUMBER.match(name.rstrip(".").rpartition(".")[2]):
        try:
            return Host(name, IPv4Address(name))
        except AddressValueError as error:
            raise EgressRefused(f"host {text!r} looks like an IPv4 address in an unusual form: write it as four decimal numbers") from error
    if len(name) > 253 or not _NAME.match(name):
        raise EgressRefused(f"host {text!r} is no host name: letters, digits, '-' and '.' (no trailing dot; other scripts in Punycode)")
    return Host(name)
