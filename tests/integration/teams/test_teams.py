"""Each team does what its example says, offline."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from waypost.client import Client
from waypost_examples.teams.research import SHELVES


async def result(client: Client, agent: str, value: Any) -> tuple[Any, str]:
    run = await client.start(agent, value)
    return await client.result(run.run_id, timeout=60), run.run_id


async def events_of(client: Client, run_id: str, kind: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(event.data) async for event in client.events(run_id) if event.type == kind]


async def test_researchers_work_at_the_same_time(client: Client) -> None:
    report, run_id = await result(client, "research-lead", "Why record results?")
    assert [finding["topic"] for finding in report["findings"]] == list(SHELVES)
    assert SHELVES["durability"][0] in report["summary"]
    children = await events_of(client, run_id, "child_requested")
    assert [child["call_id"] for child in children] == ["m1.1", "m1.2", "m1.3"]
    assert {child["because"] for child in children} == {"m1"}
    finished = await events_of(client, run_id, "child_completed")
    assert all(child["taint"] == ["library"] for child in finished), "what they read outside is known to be from outside"


async def test_a_pipeline(client: Client) -> None:
    text, run_id = await result(client, "article", "logs")
    assert text.startswith("Edited: ")
    assert [child["child_agent"] for child in await events_of(client, run_id, "child_requested")] == ["outliner", "writer", "editor"]


@pytest.mark.parametrize(
    ("said", "who", "answer"),
    [
        ("C-7 asks about an invoice", "accounts", "Your account: invoice 4711 over 120.00 EUR, due, not paid."),
        ("my screen is dark", "technician", "Have you tried turning it off and on again? (my screen is dark)"),
    ],
)
async def test_a_handoff(client: Client, said: str, who: str, answer: str) -> None:
    found, run_id = await result(client, "front-desk", said)
    assert found == answer
    (child,) = await events_of(client, run_id, "child_requested")
    assert child["child_agent"] == who
    given, *_ = await events_of(client, child["child_run_id"], "run_started")
    if who == "technician":
        assert given["input"]["waypost_handoff"]["conversation"] == [{"role": "user", "text": said}]
    else:
        assert given["input"] == said


async def test_a_vote(client: Client) -> None:
    verdict, _ = await result(client, "jury", "More tea?")
    assert verdict["choice"] == "yes"
    assert len(verdict["votes"]) == 5


async def test_a_debate(client: Client) -> None:
    ruling, run_id = await result(client, "debate", "tabs or spaces")
    assert ruling == {"winner": "skeptic", "reason": "4 points were made"}
    shown = await events_of(client, run_id, "state_changed")
    assert [len(state["value"]["said"]) for state in shown] == [1, 2, 3, 4]


async def test_a_thousand_children(client: Client) -> None:
    """Shown, not judged by the clock of a busy machine: docs/teams.md says what it is on a quiet one."""
    began = time.monotonic()
    counted, _ = await result(client, "census", 1_000)
    print(f"1,000 children in {time.monotonic() - began:.1f} s")
    assert counted == {"counted": 1_000, "failed": 0, "letters": sum(len(f"name-{number}") for number in range(1_000))}
