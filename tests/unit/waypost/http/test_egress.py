"""What a tool's author and the operator may open and close."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from waypost.http import Egress
from waypost.http.egress import Rules, read_allowed
from waypost.http.hosts import EgressRefused, read_host
from waypost_proto.errors import BadInput


def passes(rules: Rules, host: str, address: str, port: int = 443) -> bool:
    try:
        rules.check_host(read_host(host), port)
        rules.check_address(read_host(host), port, ip_address(address))
    except EgressRefused:
        return False
    return True


def test_the_public_internet_on_the_usual_ports_is_open_and_nothing_else() -> None:
    rules = Rules(Egress())
    assert passes(rules, "example.com", "93.184.216.34")
    assert not passes(rules, "example.com", "10.0.0.1")
    assert not passes(rules, "example.com", "93.184.216.34", 6379)


@pytest.mark.parametrize(
    ("entry", "host", "address", "port", "open_"),
    [
        ("10.1.0.0/16", "x.internal", "10.1.2.3", 443, True),
        ("10.1.0.0/16", "x.internal", "10.2.2.3", 443, False),
        ("10.1.0.0/16", "x.internal", "10.1.2.3", 8080, False),
        ("10.1.0.0/16:8080", "x.internal", "10.1.2.3", 8080, True),
        ("10.1.0.0/16:8080", "x.internal", "10.1.2.3", 443, False),
        ("10.1.0.0/16:8080", "example.com", "93.184.216.34", 8080, False),
        ("10.1.2.3", "10.1.2.3", "10.1.2.3", 443, True),
        ("[fd00::/8]:8443", "x.internal", "fd00::1", 8443, True),
        ("fd00::/8", "x.internal", "fd00::1", 443, True),
        ("bank.internal", "bank.internal", "10.9.9.9", 443, True),
        ("BANK.internal", "bank.INTERNAL", "10.9.9.9", 443, True),
        ("bank.internal", "evil.bank.internal", "10.9.9.9", 443, False),
        ("bank.internal", "evilbank.internal", "10.9.9.9", 443, False),
        ("*.bank.internal", "a.bank.internal", "10.9.9.9", 443, True),
        ("*.bank.internal", "bank.internal", "10.9.9.9", 443, False),
        ("*.bank.internal", "evilbank.internal", "10.9.9.9", 443, False),
        ("bank.internal:8443", "bank.internal", "10.9.9.9", 8443, True),
        ("bank.internal:8443", "bank.internal", "10.9.9.9", 443, False),
        ("localhost:9", "localhost", "127.0.0.1", 9, True),
        # a name that is trusted may have a private address, but never becomes a way to what is beside the machine
        ("bank.internal", "bank.internal", "169.254.169.254", 443, False),
        ("bank.internal", "bank.internal", "fd00:ec2::254", 443, False),
        ("bank.internal", "bank.internal", "0.0.0.0", 443, False),
        ("bank.internal", "bank.internal", "::ffff:169.254.169.254", 443, False),
        ("bank.internal", "bank.internal", "::ffff:10.0.0.1", 443, True),
        ("169.254.169.254", "bank.internal", "169.254.169.254", 443, True),
        ("93.184.216.34:8080", "example.com", "93.184.216.34", 8080, True),
    ],
)
def test_entries(entry: str, host: str, address: str, port: int, open_: bool) -> None:
    assert passes(Rules(Egress(allow=[entry])), host, address, port) is open_
    assert passes(Rules(Egress(), [entry]), host, address, port) is open_


def test_hosts_close_but_do_not_open_private_addresses() -> None:
    rules = Rules(Egress(hosts=["api.example.com", "*.cdn.example"]))
    assert passes(rules, "api.example.com", "93.184.216.34")
    assert passes(rules, "a.cdn.example", "93.184.216.34")
    assert not passes(rules, "example.com", "93.184.216.34")
    assert not passes(rules, "api.example.com", "10.0.0.1")
    assert passes(Rules(Egress(hosts=["api.example.com:8443"])), "api.example.com", "93.184.216.34", 8443)


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "http://x", "a b", "x:0", "x:y", "x:99999", "127.1", "*.*.x", "user@x", "[::1]:"])
def test_entries_that_cannot_be_read_are_told(entry: str) -> None:
    with pytest.raises(BadInput, match="allow-list entry"):
        read_allowed(entry)
    with pytest.raises(BadInput):
        Egress(allow=[entry])


def test_a_text_is_no_list_and_redirects_are_bounded() -> None:
    with pytest.raises(BadInput, match="give a list"):
        Egress(allow="bank.internal")
    with pytest.raises(BadInput, match="redirects"):
        Egress(redirects=11)
