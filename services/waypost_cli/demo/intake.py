"""Hands the cases in and follows their runs. The idempotency key is the case, so handing one in twice is one run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from waypost.client import Client
from waypost_cli.demo.board import Board
from waypost_examples.compliance.cases import deadline_of
from waypost_examples.compliance.model import Case
from waypost_proto.errors import NotFound, PermanentError, WaypostError

AGENT = "compliance"
LABEL = "demo"
POLL_SECONDS = 0.25
ANSWER_SECONDS = 1.5
"""An answer that takes longer was lost with whoever was to give it."""
PAUSE_SECONDS = 0.5
"""Between tries while nobody accepts."""


class Intake:
    """Submits and follows; every method goes on until it is done, however long the platform is away."""

    def __init__(self, client: Client, board: Board, *, key_prefix: str = "") -> None:
        """`key_prefix`: in front of the case in the idempotency key, where other demos ran on the same servers."""
        self._client = client
        self._board = board
        self._key_prefix = key_prefix

    async def submit(self, cases: Sequence[Case]) -> None:
        """Hand these cases in, one after the other; each is accepted (committed) before the next."""
        for case in cases:
            await self._submit(case)

    async def follow(self, case: Case) -> None:
        """Bring the board up to date with the case's run and its children until all have ended. The case must have been submitted."""
        row = self._board.rows[case.id]
        while not row.ended or any(not child.ended for child in row.children.values()):
            await self._catch_up(case.id, row.run_id, row.last_seq)
            for child in [child for child in row.children.values() if not child.ended]:
                with suppress(NotFound):  # its parent has asked for it, and it is not started yet
                    await self._catch_up(case.id, child.run_id, child.last_seq)
            await asyncio.sleep(POLL_SECONDS)

    async def _catch_up(self, case: str, run_id: str, after: int) -> None:
        try:
            # asks rather than follows: what NATS should have carried may be gone, and the view must not lag behind a strike
            async with asyncio.timeout(ANSWER_SECONDS):
                async for event in self._client.events(run_id, after=after):
                    self._board.apply(case, event)
        except PermanentError:
            raise
        except (WaypostError, TimeoutError):
            pass  # struck, or in the middle of it

    async def _submit(self, case: Case) -> None:
        while True:
            try:
                answer = await self._client.start(
                    AGENT,
                    case,
                    idempotency_key=f"{self._key_prefix}{case.id}",
                    correlation_id=case.id,
                    deadline=deadline_of(case),
                    labels={LABEL: case.id, "account": case.account},
                )
            except PermanentError:
                raise
            except WaypostError as error:
                self._board.say(case.id, f"not accepted yet: {error}", "bad")
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                self._board.submitted(case.id, answer.run_id)
                return
