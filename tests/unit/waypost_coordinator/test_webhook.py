"""Notices by webhook: signed, and tried again until somebody has taken them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Self

import pytest

from tests.unit.waypost_coordinator import rig
from tests.unit.waypost_coordinator.rig import site
from tests.waiting import wait_until
from waypost_coordinator.apprise_outlet import AppriseOutlet
from waypost_io.webhooks import post, signature
from waypost_proto.codec import decode
from waypost_proto.errors import Misconfigured
from waypost_proto.mailbox import Pause
from waypost_proto.notices import Notice


class Address:
    """An HTTP server on loopback that keeps what it gets; `statuses` are its next answers, then 204."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.taken: list[tuple[dict[str, str], bytes]] = []
        address = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = address.statuses.pop(0) if address.statuses else 204
                address.taken.append((dict(self.headers), body))
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


async def test_a_notice_is_posted_signed_and_again_until_it_is_taken() -> None:
    with Address(503) as address:
        settings = {"WAYPOST_SUPERVISOR_WEBHOOK_URL": address.url, "WAYPOST_SUPERVISOR_WEBHOOK_SECRET": "s3cret"}
        async with site(**settings) as desk, desk.replica() as replica:
            assert "s3cret" not in repr(desk.settings)
            await desk.hosts()
            run_id = await replica.start()
            await replica.submit(Pause(run_id=run_id, request_id="p", reason="look"))
            await wait_until(lambda: len(address.taken) == 2, seconds=10)
    (first_headers, first), (_, second) = address.taken
    assert first == second
    notice = decode(Notice, first)
    assert (notice.run_id, notice.why, first_headers["Waypost-Notice-Id"]) == (run_id, "paused", notice.notice_id)
    parts = dict(part.split("=", 1) for part in first_headers["Waypost-Signature"].split(","))
    assert parts["v1"] == hmac.new(b"s3cret", parts["t"].encode() + b"." + first, hashlib.sha256).hexdigest()


async def test_a_redirect_is_not_followed() -> None:
    with Address(302) as address:
        status = await asyncio.to_thread(post, address.url, b"{}", {"Content-Type": "application/json"})
    assert status == 302
    assert len(address.taken) == 1


def test_without_a_secret_there_is_only_a_time() -> None:
    assert signature("", b"x", 12.9) == "t=12"


def test_nobody_there_is_an_oserror() -> None:
    with pytest.raises(OSError, match="refused"):
        post("http://127.0.0.1:1/", b"{}", {})


class FakeApprise:
    """Stands in for the library, which is an extra: takes addresses with a scheme, and fails the first time."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def Apprise(self) -> FakeApprise:  # noqa: N802 - the library's name
        return self

    def add(self, url: str) -> bool:
        return "://" in url

    def notify(self, *, title: str, body: str) -> bool:
        self.told.append((title, body))
        return len(self.told) > 1


async def test_a_notice_goes_out_by_apprise_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeApprise()
    monkeypatch.setitem(sys.modules, "apprise", library)  # type: ignore[arg-type]
    async with site(WAYPOST_SUPERVISOR_APPRISE_URLS="mailto://a json://b") as desk, desk.replica() as replica:
        assert "mailto" not in repr(desk.settings)
        await desk.hosts()
        run_id = await replica.start()
        await replica.submit(Pause(run_id=run_id, request_id="p", reason="look"))
        await wait_until(lambda: len(library.told) == 2, seconds=10)
    title, body = library.told[0]
    assert title == f"Waypost: {rig.AGENT.name} paused"
    assert f"go on: waypost runs resume {run_id}" in body


def test_apprise_without_the_library_or_with_a_wrong_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(Misconfigured, match=r"waypost\[apprise\]"):
        AppriseOutlet("mailto://a")
    monkeypatch.setitem(sys.modules, "apprise", FakeApprise())  # type: ignore[arg-type]
    with pytest.raises(Misconfigured, match="address 2"):
        AppriseOutlet("mailto://a nonsense")
