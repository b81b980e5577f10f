"""The officers: decide the approvals that cases wait for, by themselves or by asking the person at the terminal.

Where two are needed, the first tries to approve for both, as people do; the platform refuses that, and the second decides.

Deciding twice has no effect: the platform answers `Conflict`, which is taken as "it is decided".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Protocol

from msgspec import UNSET, Struct

from waypost.client import Client
from waypost_cli.demo.board import Board
from waypost_cli.demo.rows import Row
from waypost_examples.compliance.model import Report
from waypost_proto.codec import decode
from waypost_proto.errors import Conflict, NotFound, PermanentError, WaypostError

POLL_SECONDS = 0.1
THINKING_SECONDS = 0.8
"""So that a case can be seen waiting."""
OFFICERS = ("ann", "bert")
"""Two different people. The demo's platform has no identities, so it takes their word for it; see docs/approvals.md."""
ROLES = ("officer",)


class Arguments(Struct, frozen=True):
    """The arguments of the tool `file-report`."""

    report: Report


class Decide(Protocol):
    """Approve (True) or deny one report, with a reason."""

    def __call__(self, row: Row, report: Report) -> Awaitable[tuple[bool, str]]: ...


class Desk:
    """How many approvals the officer may give now: chaos hands them out so that something is always in flight."""

    def __init__(self, allowed: int | None = None) -> None:
        """None: as many as come."""
        self._allowed = allowed

    def let(self, more: int) -> None:
        if self._allowed is not None:
            self._allowed += more

    def open(self) -> None:
        self._allowed = None

    def take(self) -> None:
        if self._allowed:
            self._allowed -= 1

    @property
    def free(self) -> bool:
        return self._allowed is None or self._allowed > 0


class Officer:
    """Decides every approval once; `run` goes on until cancelled."""

    def __init__(self, client: Client, board: Board, decide: Decide, desk: Desk) -> None:
        self._client = client
        self._board = board
        self._decide = decide
        self._desk = desk
        self._done: set[str] = set()

    async def run(self) -> None:
        """Decide whatever waits, as far as the desk lets, until cancelled."""
        while True:
            for row in self._board.waiting_for_officer():
                if row.approval_id not in self._done and self._desk.free:
                    await self._settle(row, row.approval_id)
            await asyncio.sleep(POLL_SECONDS)

    async def _settle(self, row: Row, approval_id: str) -> None:
        try:
            report = await self._report(row, approval_id)
            if report is None:
                return
            for officer in OFFICERS[: row.quorum]:
                row.officer = officer
                approved, reason = await self._decide(row, report)
                if not approved:
                    await self._client.deny(approval_id, by=officer, roles=ROLES, reason=reason)
                    break
                await self._approve(row, approval_id, officer, reason)
        except (Conflict, NotFound):
            pass  # somebody else decided, or the case ended meanwhile
        except PermanentError:
            raise
        except WaypostError:
            return  # asked again in the next round
        self._done.add(approval_id)
        self._desk.take()

    async def _approve(self, row: Row, approval_id: str, officer: str, reason: str) -> None:
        if row.quorum == 1:
            await self._client.approve(approval_id, by=officer, roles=ROLES, reason=reason)
            return
        with suppress(Conflict):  # in an earlier round, of which we did not hear
            await self._client.approve(approval_id, by=officer, roles=ROLES, reason=reason)
        if officer == OFFICERS[0]:
            try:
                await self._client.approve(approval_id, by=officer, roles=ROLES, reason="for my colleague")
            except Conflict as error:
                self._board.say(row.case.id, f"{officer} approves a second time and is refused: {error}", "ask")

    async def _report(self, row: Row, approval_id: str) -> Report | None:
        """Exactly what the approval is bound to, as the platform has it; None while it is not listed."""
        for approval in await self._client.approvals(run_id=row.run_id):
            if approval.approval_id == approval_id and approval.args is not UNSET:
                return decode(Arguments, approval.args).report
        return None


async def approve_all(row: Row, report: Report) -> tuple[bool, str]:
    """The officer of an unattended demo: reads for a moment and approves."""
    del row
    await asyncio.sleep(THINKING_SECONDS)
    return True, f"seen: {len(report.reasons)} reasons"
