"""Strikes: each victim once, in order, with work handed in before and time to come back after."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.waypost_cli_demo import story
from waypost_cli.demo import chaos
from waypost_cli.demo.chaos import STRIKES, Chaos, waves
from waypost_cli.demo.officer import Desk
from waypost_examples.compliance.model import Case


class Struck:
    """Remembers the blows."""

    def __init__(self) -> None:
        self.log: list[str] = []

    async def kill(self, name: str) -> None:
        self.log.append(f"kill {name}")

    async def wipe_nats(self) -> None:
        self.log.append("wipe nats")

    async def recovered(self, name: str, seconds: float) -> None:
        self.log.append(f"{name} back")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaos, "FILING_SECONDS", 0.0)
    monkeypatch.setattr(chaos, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr(chaos, "SETTLE_SECONDS", 0.0)


async def test_every_service_the_servers_and_the_files_are_struck_with_cases_left_for_the_last() -> None:
    victims = Struck()
    board = story.board(*(f"C-{n}" for n in range(12)))

    async def submit(cases: list[Case]) -> None:
        victims.log.append(f"{len(cases)} in")

    desk = Desk(0)
    strikes = Chaos(victims, board, desk, submit)
    await strikes.run([row.case for row in board.rows.values()])
    blows = [line for line in victims.log if line.startswith(("kill", "wipe"))]
    assert blows == ["kill worker", "kill gateway", "wipe nats", "kill coordinator", "kill audit", "kill nats", "kill postgres"]
    assert victims.log[0] == "6 in"
    assert victims.log[victims.log.index("kill postgres") - 1].endswith(" in")
    assert [name for name, _ in strikes.toll.strikes][2] == "nats wiped"
    assert "back after" in str(strikes.toll)
    assert desk.free
    assert sum(line.tone == "chaos" for line in board.feed) == 2 * len(STRIKES)


async def test_what_does_not_come_back_ends_it() -> None:
    class Gone(Struck):
        async def recovered(self, name: str, seconds: float) -> None:
            raise RuntimeError(f"{name} is gone")

    async def submit(cases: list[Case]) -> None:
        pass

    with pytest.raises(RuntimeError, match="worker is gone"):
        await Chaos(Gone(), story.board(), Desk(0), submit).run([story.case()])


@given(st.integers(0, 60), st.integers(2, 9))
def test_waves_hand_in_every_case_once_and_in_order(count: int, strikes: int) -> None:
    cases = [story.case(f"C-{n}") for n in range(count)]
    found = waves(cases, strikes)
    assert len(found) == strikes
    assert [case for wave in found for case in wave] == cases
    assert not count or found[0]


def test_the_officer_s_desk_hands_out_approvals() -> None:
    desk = Desk(0)
    assert not desk.free
    desk.let(2)
    assert desk.free
    desk.take()
    desk.take()
    assert not desk.free
    desk.open()
    desk.take()
    assert desk.free
