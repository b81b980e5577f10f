"""Things that happen at the lending desk, for tests and pictures to look at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import nats as nats_client

from tests.browser.platform import Platform
from tests.browser.rude import HOSTILE
from tests.waiting import wait_until
from waypost import Budget
from waypost_proto.api import DeadList, DeadPage, RunView

NAMES = ("Meridian", "Halcyon", "Osprey", "Juniper", "Kestrel", "Larkspur", "Tamarisk", "Bramble", "Cypress", "Foxglove")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenes:
    """Run ids by what is to be seen in them."""

    finished: str
    approval: str
    question: str
    doubt: str
    paused: str
    waiting: str
    hostile: str


async def reaches(desk: Platform, run_id: str, what: Callable[[RunView], bool], seconds: float = 60) -> RunView:
    """Wait until a run's view is as wanted."""
    last: RunView | None = None

    async def look() -> RunView | None:
        nonlocal last
        last = await desk.client.get(run_id)
        return last if what(last) else None

    found = await wait_until(look, seconds=seconds, message=lambda: f"run is {last}")
    assert found is not None
    return found


def has_status(*statuses: str) -> Callable[[RunView], bool]:
    return lambda view: view.status in statuses


async def finished(desk: Platform, name: str = "Meridian", amount: int = 48_000, pace: float = 0.3) -> str:
    """A run of the underwriter from its start to its end, an officer's approval in between."""
    run = await desk.client.start(
        "underwriter",
        {"applicant": name, "amount": amount, "purpose": "machinery", "pace": pace},
        labels={"customer": name.lower(), "desk": "north"},
    )
    await reaches(desk, run.run_id, has_status("waiting_approval"))
    for approval in await desk.client.approvals(run_id=run.run_id):
        await desk.client.approve(approval.approval_id, by="ann", roles=["officer"], reason="checked against the file")
    await reaches(desk, run.run_id, has_status("completed"))
    return run.run_id


async def doubt(desk: Platform) -> str:
    """A run with a call in doubt."""
    run = await desk.client.start("courier", "7 Quay Street", labels={"desk": "post"})
    await reaches(desk, run.run_id, lambda view: any(call.state == "doubt" for call in view.open_calls))
    return run.run_id


async def paused(desk: Platform) -> str:
    """A run that reached its budget."""
    run = await desk.client.start("looper", 9, labels={"desk": "archive"})
    await reaches(desk, run.run_id, has_status("paused"))
    return run.run_id


async def question(desk: Platform, name: str = "Halcyon") -> str:
    """A run that asks a person for terms."""
    run = await desk.client.start("payments", name, labels={"customer": name.lower(), "desk": "north"})
    await reaches(desk, run.run_id, has_status("waiting_approval"))
    return run.run_id


async def hostile(desk: Platform) -> str:
    """A run that says what browsers should not believe, in every place there is."""
    run = await desk.client.start("hostile", HOSTILE, labels={"<b>x</b>": HOSTILE[:100]}, budget=Budget(max_steps=50))
    await reaches(desk, run.run_id, has_status("waiting_approval"))
    return run.run_id


async def dead_letter(desk: Platform, priority: bytes = b'"<script>high</script>"') -> int:
    """A task that is no task, which the intake refuses."""
    connection = await nats_client.connect(desk.supervisor.nats_url)
    try:
        before = {each.dead_id for each in (await desk.client.call("dead.list", DeadList(limit=500), DeadPage)).dead}
        await connection.jetstream().publish(
            "waypost.tasks.underwriter", b'{"input": {"applicant": "Osprey"}, "prioritty": ' + priority + b"}"
        )

        async def arrived() -> int:
            found = (await desk.client.call("dead.list", DeadList(limit=500), DeadPage)).dead
            return next((each.dead_id for each in found if each.dead_id not in before), 0)

        return await wait_until(arrived)
    finally:
        await connection.close()


async def everything(desk: Platform, *, extra: int = 6, rude: bool = True) -> Scenes:
    """A little of everything, and some runs more for the list. `rude`: and what browsers should not believe."""
    others = [finished(desk, name, 10_000 + 3_500 * number, 0.05) for number, name in enumerate(NAMES[2 : 2 + extra])]
    done, doubtful, held, asked, *_ = await asyncio.gather(finished(desk, pace=1.0), doubt(desk), paused(desk), question(desk), *others)
    bad = await hostile(desk) if rude else ""
    waiting = await desk.client.start("sleeper", 0.2, labels={"desk": "post"})
    gate = await desk.client.start(
        "underwriter", {"applicant": "Kestrel", "amount": 72_000, "purpose": "a new kiln", "pace": 0.2}, labels={"customer": "kestrel"}
    )
    await reaches(desk, gate.run_id, has_status("waiting_approval"))
    await dead_letter(desk, b'"<script>high</script>"' if rude else b'"high"')
    return Scenes(finished=done, approval=gate.run_id, question=asked, doubt=doubtful, paused=held, waiting=waiting.run_id, hostile=bad)
