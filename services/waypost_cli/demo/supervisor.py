"""The supervisor of the desk: is told by signed webhook what needs a person, and acts on it.

A run that goes in circles is given an instruction. A call in doubt that no program can ask about is settled by reading the other side's
book, as a person would. Doing either twice has no effect: the platform answers `Conflict`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from msgspec import DecodeError, json

from waypost.client import Client
from waypost_cli.demo.board import Board
from waypost_cli.demo.rows import OpenCall, Row
from waypost_examples.compliance.legacy.http import Answer, Request
from waypost_examples.compliance.legacy.sanctions import Entry
from waypost_examples.compliance.model import Frozen
from waypost_proto.errors import Conflict, NotFound, PermanentError, WaypostError
from waypost_proto.notices import Notice

NAME = "dora"
INSTRUCTION = "the companies own each other: stop looking and say so"
POLL_SECONDS = 0.1
THINKING_SECONDS = 0.8
"""So that it can be seen."""
NOTICE_SECONDS = 3.0
"""How long a person who sees a paused run waits for the notice. One may be lost when a broker is wiped before it was delivered."""
MAX_AGE_SECONDS = 300.0
FREEZE = "freeze-account"


class Notices:
    """The receiver of the webhook: takes what is signed by `secret`, each notice once."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._seen: set[str] = set()
        self.fresh: list[Notice] = []
        """Not yet told in the story."""

    async def __call__(self, request: Request) -> Answer:
        """Answer one request of a coordinator. 2xx only for what is genuine and understood."""
        if request.method != "POST" or request.segments != ("notices",):
            return Answer(404, {"error": "post notices to /notices"})
        if not genuine(self._secret, request.headers.get("waypost-signature", ""), request.body, time.time()):
            return Answer(401, {"error": "the signature does not match, or is old"})
        try:
            notice = json.decode(request.body, type=Notice)
        except DecodeError as error:
            return Answer(400, {"error": f"not a notice: {error}"})
        if notice.notice_id not in self._seen:
            self._seen.add(notice.notice_id)
            self.fresh.append(notice)
        return Answer(200, {})


def genuine(secret: str, header: str, body: bytes, now: float) -> bool:
    """Whether `body` was signed by `secret` within the last minutes; see docs/budgets.md."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    at = parts.get("t", "")
    if not at.isdigit() or abs(now - int(at)) > MAX_AGE_SECONDS:
        return False
    expected = hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, parts.get("v1", ""))


class Supervisor:
    """Tells notices in the story and acts on what needs a person; `run` goes on until cancelled."""

    def __init__(self, client: Client, board: Board, notices: Notices, read_book: Callable[[], Awaitable[Sequence[Entry]]]) -> None:
        self._client = client
        self._board = board
        self._notices = notices
        self._read_book = read_book
        self._told: set[str] = set()
        """Runs of which a notice came."""
        self._since: dict[str, float] = {}
        self._done: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._tell()
            for child in self._board.looping():
                if self._ready(child.run_id, child.run_id):
                    await self._once(child.run_id, partial(self._client.resume, child.run_id, instruction=INSTRUCTION, by=NAME))
            for row in self._board.rows.values():
                for call in row.unsettled:
                    what = f"{row.run_id}/{call.call_id}/{call.attempt}"
                    if call.name == FREEZE and self._ready(row.run_id, what):
                        await self._once(what, partial(self._settle, row, call))
            await asyncio.sleep(POLL_SECONDS)

    def _tell(self) -> None:
        """A notice can be faster than the events by which its run is known; it is told when it is."""
        for notice in list(self._notices.fresh):
            if (case := self._board.case_of(notice.run_id)) is None:
                continue
            self._notices.fresh.remove(notice)
            if notice.why in ("paused", "in_doubt"):
                self._told.add(notice.run_id)
                self._board.say(case, f"the supervisor is told ({notice.why.replace('_', ' ')}): {notice.message}", "ask")

    def _ready(self, run_id: str, what: str) -> bool:
        """Whether to act now: once for each, when it was told or seen for long enough."""
        if what in self._done:
            return False
        since = self._since.setdefault(what, time.monotonic())
        return run_id in self._told or time.monotonic() - since > NOTICE_SECONDS

    async def _once(self, what: str, act: Callable[[], Awaitable[object]]) -> None:
        await asyncio.sleep(THINKING_SECONDS)
        try:
            await act()
        except (Conflict, NotFound):
            pass  # done already, or overtaken
        except PermanentError:
            raise
        except (WaypostError, ConnectionError):
            return  # again in the next round
        self._done.add(what)

    async def _settle(self, row: Row, call: OpenCall) -> None:
        """Look the account up in the freezing office's book, and say what is there."""
        order = next((entry.order for entry in await self._read_book() if entry.account == row.case.account), None)
        found = f"order {order} is in the freezing office's book" if order else "no order is in the freezing office's book"
        self._board.say(row.case.id, f"{NAME} looks: {found}", "ask")
        resolve = partial(self._client.resolve, row.run_id, call.call_id, reason=found, by=NAME)
        await (resolve("completed", result=Frozen(order=order)) if order else resolve("not_done"))
