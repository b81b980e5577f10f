"""Which addresses are of the public internet, in all the forms in which a private one can hide."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.http.addresses import embedded, special, within

CLOSED = [
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("10.0.0.1", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.1.1", "private"),
    ("169.254.169.254", "link-local"),
    ("169.254.170.2", "link-local"),
    ("100.64.0.1", "carrier"),
    ("100.100.100.200", "metadata"),
    ("168.63.129.16", "metadata"),
    ("192.0.0.192", "metadata"),
    ("0.0.0.0", "this host"),
    ("0.1.2.3", "this host"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("192.0.2.1", "documentation"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("198.18.0.1", "benchmarks"),
    ("::", "this host"),
    ("::1", "loopback"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "interface"),
    ("2606:4700::1111%1", "interface"),
    ("fc00::1", "private"),
    ("fd00:ec2::254", "metadata"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("2001:db8::1", "documentation"),
    ("3fff::1", "documentation"),
    ("100::1", "not global unicast"),
    ("4000::1", "not global unicast"),
    ("64:ff9b:1::7f00:1", "not global unicast"),
    ("::ffff:127.0.0.1", "IPv4-mapped for 127.0.0.1"),
    ("::ffff:169.254.169.254", "IPv4-mapped for 169.254.169.254"),
    ("::ffff:a9fe:a9fe", "IPv4-mapped for 169.254.169.254"),
    ("64:ff9b::169.254.169.254", "NAT64 for 169.254.169.254"),
    ("64:ff9b::a00:1", "NAT64 for 10.0.0.1"),
    ("2002:a9fe:a9fe::1", "6to4 for 169.254.169.254"),
    ("2002:7f00:1::", "6to4 for 127.0.0.1"),
    ("2002:808:808::1", "6to4"),
    ("2001:0:1:2:3:4:5601:5601", "Teredo for 169.254.169.254"),
    ("2001::f7f7:f7f7", "Teredo"),
    ("::169.254.169.254", "IPv4-compatible for 169.254.169.254"),
    ("::8.8.8.8", "IPv4-compatible"),
    ("::ffff:0:10.0.0.1", "IPv4-translated for 10.0.0.1"),
    ("2606:4700::5efe:10.0.0.1", "ISATAP for 10.0.0.1"),
    ("2606:4700::200:5efe:10.0.0.1", "ISATAP for 10.0.0.1"),
]
OPEN = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::200e", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize(("text", "why"), CLOSED)
def test_closed_addresses_and_why(text: str, why: str) -> None:
    row = special(ip_address(text))
    assert row is not None
    assert why in row.what


@pytest.mark.parametrize("text", OPEN)
def test_public_addresses_are_open(text: str) -> None:
    assert special(ip_address(text)) is None


@given(st.ip_addresses(v=4))
def test_no_wrapping_opens_what_is_closed(address: IPv4Address) -> None:
    number = int(address)
    wrapped = [
        (0xFFFF << 32) | number,
        (0x64FF9B << 96) | number,
        (0x2002 << 112) | (number << 80) | 1,
        (0x20010000 << 96) | (~number & 0xFFFF_FFFF),
        (0x2606_4700 << 96) | (0x5EFE << 32) | number,
        (0xFFFF << 48) | number,
        number,
    ]
    if special(address) is not None:
        assert all(special(IPv6Address(value)) is not None for value in wrapped)


@given(st.ip_addresses(v=4))
def test_agrees_with_the_standard_library_on_what_is_private(address: IPv4Address) -> None:
    if not address.is_global:
        known_global = ip_network("192.88.99.0/24"), ip_network("192.31.196.0/24")
        assert special(address) is not None or any(address in network for network in known_global)


@given(st.ip_addresses(v=6))
def test_nothing_that_the_standard_library_calls_private_is_open(address: IPv6Address) -> None:
    if not address.is_global and embedded(address) is None:
        assert special(address) is not None


def test_a_mapped_address_lies_in_the_network_of_what_it_stands_for() -> None:
    assert within(ip_address("::ffff:10.1.2.3"), ip_network("10.0.0.0/8"))
    assert not within(ip_address("::ffff:10.1.2.3"), ip_network("fd00::/8"))
