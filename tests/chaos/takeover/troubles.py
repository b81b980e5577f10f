"""What is done to the fleet, one function each; every one returns when what it began is over."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.chaos.takeover.fleet import SERVICES, Fleet, Member

Act = Callable[[Fleet], Awaitable[None]]

STOPPED_SECONDS = 7.0
"""How long a process is paused: longer than every lease and silence."""
AFTER_SECONDS = 7.0
"""How long is looked after a kill, a goodbye, or the last restart of a roll."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """`what` is done to `whom`; a roll is over when its `act` is, anything else is looked at for `AFTER_SECONDS`."""

    what: str
    whom: str
    act: Act


async def nothing(_fleet: Fleet) -> None:
    """For comparison: what a quiet fleet looks like on this machine."""
    await asyncio.sleep(AFTER_SECONDS)


def kill(service: str) -> Act:
    async def act(fleet: Fleet) -> None:
        victim = fleet.of(service)[0]
        victim.send(signal.SIGKILL)
        fleet.remove(victim)
        await victim.ended()
        await asyncio.sleep(AFTER_SECONDS)

    return act


def pause(service: str) -> Act:
    async def act(fleet: Fleet) -> None:
        victim = fleet.of(service)[0]
        victim.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(STOPPED_SECONDS)
        finally:
            victim.send(signal.SIGCONT)
        await asyncio.sleep(AFTER_SECONDS)

    return act


def leave(service: str) -> Act:
    async def act(fleet: Fleet) -> None:
        victim = fleet.of(service)[0]
        victim.send(signal.SIGTERM)
        await _orderly(fleet, victim)
        await asyncio.sleep(AFTER_SECONDS)

    return act


async def roll_new_first(fleet: Fleet) -> None:
    """Each process in turn: its successor is ready before it is asked to end."""
    for service in SERVICES:
        for old in fleet.of(service):
            await fleet.start(service)
            old.send(signal.SIGTERM)
            await _orderly(fleet, old)
    await asyncio.sleep(AFTER_SECONDS)


async def roll_old_first(fleet: Fleet) -> None:
    """Each process in turn: asked to end, and replaced when it has."""
    for service in SERVICES:
        for old in fleet.of(service):
            old.send(signal.SIGTERM)
            await _orderly(fleet, old)
            await fleet.start(service)
    await asyncio.sleep(AFTER_SECONDS)


async def _orderly(fleet: Fleet, member: Member) -> None:
    code = await member.ended()
    fleet.remove(member)
    assert code == 0, f"{member.name} ended with {code} after SIGTERM: {fleet.log(member)}"


TROUBLES = [
    Trouble("nothing", "", nothing),
    *(
        Trouble(what, service, make(service))
        for what, make in (("kill -9", kill), ("SIGSTOP", pause), ("SIGTERM", leave))
        for service in SERVICES
    ),
    Trouble("rolling restart, new process first", "all", roll_new_first),
    Trouble("rolling restart, old process first", "all", roll_old_first),
]
