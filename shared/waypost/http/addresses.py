"""Which IP addresses a tool may reach by default: those of the public internet. Pure: no name is resolved here.

The rule for IPv6 is turned around: only global unicast (2000::/3) is public, less what is carved out of it, because what is unassigned
today may be somebody's metadata service tomorrow. An address that carries an IPv4 address (mapped, NAT64, 6to4, Teredo, ISATAP) is judged
by that one too: a router or the kernel delivers to it. Sources: the IANA special-purpose address registries (RFC 6890 and its updates).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Special:
    """Addresses that are not of the public internet. `trusted`: naming a host in an allow-list lets it have one of them."""

    network: Network
    what: str
    trusted: bool = False


def _special(*rows: tuple[str, str, bool]) -> tuple[Special, ...]:
    return tuple(Special(ip_network(network), what, trusted) for network, what, trusted in rows)


_METADATA = "a cloud's metadata service"
_SPECIAL = _special(
    ("100.100.100.200/32", _METADATA, False),
    ("168.63.129.16/32", _METADATA, False),
    ("192.0.0.192/32", _METADATA, False),
    ("fd00:ec2::/32", _METADATA, False),
    ("fd20:ce::254/128", _METADATA, False),
    ("0.0.0.0/8", "this host", False),
    ("10.0.0.0/8", "private", True),
    ("100.64.0.0/10", "shared by a carrier's network", True),
    ("127.0.0.0/8", "loopback", True),
    ("169.254.0.0/16", "link-local (metadata services answer there)", False),
    ("172.16.0.0/12", "private", True),
    ("192.0.0.0/24", "reserved", False),
    ("192.0.2.0/24", "for documentation", False),
    ("192.31.196.0/24", "reserved", False),
    ("192.52.193.0/24", "reserved", False),
    ("192.88.99.0/24", "a 6to4 relay", False),
    ("192.168.0.0/16", "private", True),
    ("192.175.48.0/24", "reserved", False),
    ("198.18.0.0/15", "for benchmarks", False),
    ("198.51.100.0/24", "for documentation", False),
    ("203.0.113.0/24", "for documentation", False),
    ("224.0.0.0/4", "multicast", False),
    ("240.0.0.0/4", "reserved", False),
    ("::/128", "this host", False),
    ("::1/128", "loopback", True),
    ("fc00::/7", "private", True),
    ("fe80::/10", "link-local", False),
    ("fec0::/10", "site-local", False),
    ("ff00::/8", "multicast", False),
    ("2001::/23", "reserved", False),
    ("2001:db8::/32", "for documentation", False),
    ("3fff::/20", "for documentation", False),
    ("2620:4f:8000::/48", "reserved", False),
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_COMPATIBLE = IPv6Network("::/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def embedded(address: IPv6Address) -> tuple[str, IPv4Address] | None:
    """The IPv4 address that an IPv6 address leads to, and how; None if there is none."""
    number = int(address)
    last = IPv4Address(number & 0xFFFF_FFFF)
    if address.ipv4_mapped is not None:
        return "IPv4-mapped", address.ipv4_mapped
    if address in _NAT64:
        return "NAT64", last
    if address in _SIX_TO_FOUR:
        return "6to4", IPv4Address(number >> 80 & 0xFFFF_FFFF)
    if address in _TEREDO:
        return "Teredo", IPv4Address(~number & 0xFFFF_FFFF)
    if address in _TRANSLATED:
        return "IPv4-translated", last
    if address in _COMPATIBLE and number > 1:
        return "IPv4-compatible", last
    if number >> 32 & 0xFFFF_FFFF in _ISATAP:
        return "ISATAP", last
    return None


def special(address: Address) -> Special | None:
    """Why the address is not of the public internet; None if it is."""
    if isinstance(address, IPv4Address):
        return _row_of(address)
    if address.scope_id is not None:
        return Special(IPv6Network(int(address)), f"bound to the interface {address.scope_id!r}")
    carried = embedded(address)
    if carried is not None:
        how, inner = carried
        row = _row_of(inner)
        if row is not None:
            return Special(IPv6Network(int(address)), f"{how} for {inner}, which is {row.what}", row.trusted)
        if how in ("IPv4-mapped", "NAT64"):
            return None  # the usual way to a public IPv4 address from a network that speaks only IPv6
        return Special(IPv6Network(int(address)), f"a {how} tunnel")
    row = _row_of(address)
    if row is None and address not in _GLOBAL_UNICAST:
        return Special(IPv6Network(int(address)), "not global unicast")
    return row


def _row_of(address: Address) -> Special | None:
    return next((row for row in _SPECIAL if row.network.version == address.version and address in row.network), None)


def within(address: Address, network: Network) -> bool:
    """Whether the address lies in the network, an IPv4-mapped one by the address it stands for."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version == network.version and address in network
