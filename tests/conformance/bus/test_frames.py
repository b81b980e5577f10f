"""Protocol frames, and the metadata that a delivery carries in its ack subject."""

from __future__ import annotations

from typing import Any, cast

import pytest

from waypost_io.bus._connection import redact
from waypost_io.bus._frames import decode_headers, encode_headers, publish_frame, status_of
from waypost_io.bus._pull import JetStreamDelivery
from waypost_proto.errors import BadInput, TooLarge


def test_a_frame_without_headers() -> None:
    assert publish_frame("a.b", "", b"", b"xyz") == b"PUB a.b  3\r\nxyz\r\n"
    assert publish_frame("a.b", "r.1", b"", b"") == b"PUB a.b r.1 0\r\n\r\n"


def test_a_frame_with_headers() -> None:
    headers = encode_headers({"A": "b"}, "id")
    assert headers == b"NATS/1.0\r\nNats-Msg-Id: id\r\nA: b\r\n\r\n"
    assert publish_frame("s", "r", headers, b"xyz") == b"HPUB s r %d %d\r\n%bxyz\r\n" % (len(headers), len(headers) + 3, headers)


def test_no_headers_is_no_block() -> None:
    assert encode_headers(None) == encode_headers({}) == b""


def test_headers_come_back() -> None:
    headers = {"A": "b: c", "Ü"[:0] + "X-Y": "ä €"}
    assert decode_headers(encode_headers(headers)) == headers
    assert decode_headers(None) == decode_headers(b"") == {}


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "ü"])
def test_a_bad_header_name(name: str) -> None:
    with pytest.raises(BadInput, match="header name"):
        encode_headers({name: "x"})


def test_status_lines() -> None:
    block = b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 3\r\n\r\n"
    assert status_of(block) == "408"
    assert decode_headers(block) == {"Status": "408", "Description": "Request Timeout", "Nats-Pending-Messages": "3"}
    assert decode_headers(b"NATS/1.0 503\r\n\r\n") == {"Status": "503"}
    assert status_of(b"NATS/1.0\r\nA: b\r\n\r\n") == status_of(None) == ""


def test_the_limit_counts_headers() -> None:
    publish_frame("s", "", b"h" * 5, b"b" * 5, limit=10)
    with pytest.raises(TooLarge, match="5 bytes of body and 6 of headers, the limit is 10"):
        publish_frame("s", "", b"h" * 6, b"b" * 5, limit=10)


@pytest.mark.parametrize(
    "reply",
    [
        b"$JS.ACK.STREAM.consumer.3.17.40.1700000000123456789.5",
        b"$JS.ACK._.hash.STREAM.consumer.3.17.40.1700000000123456789.5",
        b"$JS.ACK.hub.hash.STREAM.consumer.3.17.40.1700000000123456789.5.random",
    ],
)
def test_both_layouts_of_the_ack_subject(reply: bytes) -> None:
    delivery = JetStreamDelivery(cast("Any", None), "", (b"a.b", reply, b"", None))
    assert (delivery.delivered, delivery.stream_seq, delivery.timestamp) == (3, 17, 1700000000.1234567)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://u:p@h:4222", "nats://h:4222"),
        ("nats://token@h", "nats://h"),
        ("h:4222", "nats://h:4222"),
        ("tls://u:p%40@a:1, nats://b:2", "tls://a:1,nats://b:2"),
    ],
)
def test_urls_are_shown_without_secrets(url: str, shown: str) -> None:
    assert redact(url) == shown
