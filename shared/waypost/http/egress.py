"""What one tool may reach, as its author and the operator say it. Pure: nothing is resolved or read from the environment here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network

from waypost.http.addresses import Address, Network, special, within
from waypost.http.hosts import EgressRefused, Host, read_host
from waypost_proto.errors import BadInput

DEFAULT_PORTS = (80, 443)
MAX_REDIRECTS = 10


@dataclass(frozen=True, slots=True)
class Allowed:
    """One entry of an allow-list: a network, a host (`suffix`: all its subdomains), each with or without a port."""

    network: Network | None = None
    host: str = ""
    suffix: bool = False
    port: int | None = None

    def names(self, host: Host) -> bool:
        """Whether the entry speaks of this host by its name (or by its literal address)."""
        if self.network is not None:
            return host.address is not None and within(host.address, self.network)
        return host.name.endswith(f".{self.host}") if self.suffix else host.name == self.host


def read_allowed(text: str) -> Allowed:
    """An entry: `10.1.0.0/16`, `10.1.2.3:8080`, `[fd00::/8]:8443`, `bank.internal`, `*.bank.internal:8443`. Raises `BadInput`."""
    entry = text.strip().lower()
    body, port = entry, None
    if entry.startswith("["):
        body, _, rest = entry[1:].partition("]")
        port = _port(text, rest.removeprefix(":")) if rest else None
    elif entry.count(":") == 1:
        body, _, digits = entry.partition(":")
        port = _port(text, digits)
    try:
        return Allowed(network=ip_network(body), port=port)
    except ValueError:
        pass
    suffix = body.startswith("*.")
    try:
        host = read_host(body.removeprefix("*."))
    except EgressRefused as error:
        raise BadInput(
            f"allow-list entry {text!r}: {error}. Give a network (10.1.0.0/16), a host or *.host, with :port if need be"
        ) from error
    return Allowed(host=host.name, suffix=suffix, port=port)


def _port(text: str, digits: str) -> int:
    if not digits.isascii() or not digits.isdigit() or not 0 < int(digits) < 65536:
        raise BadInput(f"allow-list entry {text!r}: {digits!r} is no port")
    return int(digits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """What requests of a tool may reach besides the public internet on ports 80 and 443.

    `allow` opens what is closed by default: networks, or hosts that may then have a private or loopback address (never a link-local
    one: for that, name the network); an entry with a port opens that port. `hosts` closes: if given, nothing else is called. `redirects`
    bounds how many are followed (for GET and HEAD only). Raises `BadInput` for an entry that cannot be read.
    """

    allow: Sequence[str] = ()
    hosts: Sequence[str] = ()
    ports: Sequence[int] = DEFAULT_PORTS
    redirects: int = 0

    def __post_init__(self) -> None:
        for name in ("allow", "hosts", "ports"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise BadInput(f"Egress({name}={given!r}): give a list, for example {name}=[{given!r}]")
            object.__setattr__(self, name, tuple(given))  # so that it can be a key
        _entries(tuple(self.allow))
        _entries(tuple(self.hosts))
        if not 0 <= self.redirects <= MAX_REDIRECTS:
            raise BadInput(f"Egress(redirects={self.redirects!r}): 0 to {MAX_REDIRECTS}")


@lru_cache(maxsize=1_024)
def _entries(texts: tuple[str, ...]) -> tuple[Allowed, ...]:
    return tuple(read_allowed(text) for text in texts if text.strip())


class Rules:
    """An `Egress` together with what the operator allows (`WAYPOST_HTTP_ALLOW`), ready to be asked."""

    def __init__(self, egress: Egress, operator: Sequence[str] = ()) -> None:
        self.egress = egress
        self._allow = _entries(tuple(egress.allow)) + _entries(tuple(operator))
        self._hosts = _entries(tuple(egress.hosts))

    def check_host(self, host: Host, port: int) -> None:
        """Before anything is resolved. Raises `EgressRefused` for a host that the tool does not name."""
        if self._hosts and not any(entry.names(host) and entry.port in (None, port) for entry in self._hosts):
            raise EgressRefused(f"host {host} is not among the tool's hosts={list(self.egress.hosts)}: it was not called")

    def check_address(self, host: Host, port: int, address: Address) -> None:
        """Raises `EgressRefused` for a port that is not open at this address, and for an address that is not public and not allowed."""
        here = [entry for entry in (*self._allow, *self._hosts) if entry.port in (None, port) and _concerns(entry, host, address)]
        if port not in self.egress.ports and not any(entry.port == port for entry in here):
            raise EgressRefused(
                f"port {port} of {host} is not open, {sorted(self.egress.ports)} are: add it to the tool's Egress(ports=…), or "
                f"'{host}:{port}' to its allow= or to WAYPOST_HTTP_ALLOW"
            )
        row = special(address)
        if row is None:
            return
        if any(entry.network is not None or row.trusted for entry in here if entry in self._allow):
            return
        named = "" if host.address is not None else f"{host} resolves to "
        raise EgressRefused(
            f"{named}{address}, which is {row.what}: it was not called. If that is meant, add the host or its network to the tool's "
            "Egress(allow=…) or to WAYPOST_HTTP_ALLOW"
        )


def _concerns(entry: Allowed, host: Host, address: Address) -> bool:
    return within(address, entry.network) if entry.network is not None else entry.names(host)
