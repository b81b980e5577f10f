"""URLs and hosts have one form each, or they are refused."""

from __future__ import annotations

import pytest

from waypost.http.hosts import EgressRefused, read_host, read_url

ODD = [
    ("http://2130706433/", "unusual form"),
    ("http://0x7f000001/", "unusual form"),
    ("http://0X7F.1/", "unusual form"),
    ("http://0177.0.0.1/", "unusual form"),
    ("http://127.1/", "unusual form"),
    ("http://127.0.1/", "unusual form"),
    ("http://1.2.3.4.5/", "unusual form"),
    ("http://256.1.1.1/", "unusual form"),
    ("http://127.0.0.1./", "unusual form"),
    ("http://169.254.169.254./", "unusual form"),
    ("http://0xa9fea9fe/latest/meta-data", "unusual form"),
    ("http://0251.0376.0251.0376/", "unusual form"),
    ("http://example.com./", "no host name"),
    ("http://exa_mple..com/", "no host name"),
    ("http:///path", "no host name"),
    ("http://-a.com/", "no host name"),
    ("http://ex%61mple.com/", "no host name"),
    ("http://[fe80::1%25eth0]/", "zone"),
    ("http://[::1/", "not a URL"),
    ("http://[nonsense]/", "IPv6"),
    ("http://user@example.com/", "user name"),
    ("http://public.example@169.254.169.254/", "user name"),
    ("http://a:b@c@d/", "user name"),
    ("http://example.com\\@169.254.169.254/", "character"),
    ("http://example.com/\r\nHost: x", "character"),
    ("http://example.com/a b", "character"),
    ("http://example.com\t/", "character"),
    ("http://１２７.0.0.1/", "character"),
    ("http://127。0。0。1/", "character"),
    ("http://bücher.example/", "character"),
    ("http://example.com:0/", "port"),
    ("http://example.com:/", "port"),
    ("http://example.com:99999/", "not a URL"),
    ("http://example.com:x/", "not a URL"),
    ("ftp://example.com/", "scheme"),
    ("file:///etc/passwd", "scheme"),
    ("gopher://127.0.0.1:6379/_x", "scheme"),
    ("//example.com/", "scheme"),
    ("example.com", "scheme"),
    ("http://" + "a" * 9_000, "characters"),
]


@pytest.mark.parametrize(("url", "why"), ODD)
def test_what_two_readers_could_take_for_two_things_is_refused(url: str, why: str) -> None:
    with pytest.raises(EgressRefused, match=why):
        read_url(url)


def test_a_url_taken_apart() -> None:
    target = read_url("HTTPS://Example.COM:8443/a/b?c=d#e")
    assert (target.scheme, target.host.name, target.port, target.path) == ("https", "example.com", 8443, "/a/b?c=d")
    assert str(target) == "https://example.com:8443/a/b?c=d"
    assert read_url("http://example.com").path == "/"
    assert str(read_url("http://[2606:4700:0::1111]:8080/x")) == "http://[2606:4700::1111]:8080/x"
    assert read_url("https://example.com:443/").base == "https://example.com"


def test_messages_show_no_path_and_no_query() -> None:
    assert "secret" not in read_url("https://example.com/secret?key=secret").base


def test_hosts() -> None:
    assert read_host("10.0.0.1").address is not None
    assert read_host("Bank_1.Internal").name == "bank_1.internal"
    assert read_host("xn--bcher-kva.example").address is None
    assert str(read_host("::1")) == "[::1]"
