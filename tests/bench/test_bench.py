"""The bench itself, on a few runs: both sides are measured by the same rule, and what is printed is what was found."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from tests.bench import floor, page, profiles, report, tape
from tests.bench.driver import Driver, Stalled
from tests.bench.measuring import measure
from tests.bench.plan import Plan, Report
from tests.bench.platform import Waypost, floor_beside, stream_positions

STEPS = 3


@pytest.mark.bench
@pytest.mark.slow
async def test_a_small_bench_from_beginning_to_end() -> None:
    plan = Plan(runs=6, in_flight=3, rounds=2, sequential=3, steps=2, idle_seconds=0.2, starts=1)

    found = await measure(plan, lambda _what, _done, _total: None)

    assert len(found.waypost) == len(found.floor) == plan.rounds
    assert set(found.waypost[0].per_step.cpu_ms) == set(found.floor[0].per_step.cpu_ms)
    assert set(found.idle.resident_mib) == {"coordinator", "worker", "gateway", "audit"}
    assert msgspec.json.decode(msgspec.json.encode(found), type=Report) == found
    assert f"steps/s, {plan.in_flight} runs in flight" in report.as_text(found)
    assert "Messages per step: 4" in report.as_markdown(found)


async def test_the_floor_moves_as_many_messages_and_rows_as_the_run_it_plays(platform: Waypost, driver: Driver) -> None:
    runs = 4
    before = await stream_positions(platform.nats.url, platform.side.prefix)
    recorded = await tape.record(platform.nats.url, platform.side.prefix, platform.postgres_url, STEPS, partial(driver.one, STEPS))
    after = await stream_positions(platform.nats.url, platform.side.prefix)
    async with floor_beside(platform, recorded) as side, Driver(platform.nats.url, side.prefix) as floor_driver:
        await floor_driver.in_flight(runs, STEPS, runs, lambda _done: None)
        played = await stream_positions(platform.nats.url, side.prefix)

    assert played == {name: runs * (after[name] - before[name]) for name in after}


async def test_a_run_that_does_not_complete_ends_the_bench(platform: Waypost) -> None:
    async with Driver(platform.nats.url, platform.side.prefix) as driver:
        with pytest.raises(Stalled, match="run_failed"):
            await driver.one("no number")  # type: ignore[arg-type]


def test_a_body_of_the_floor_carries_run_and_commit() -> None:
    run_id = "0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55"
    assert floor.marks(f"{run_id} 11".encode().ljust(300)) == (run_id, 11)


def test_profiles_are_folded_by_the_innermost_function() -> None:
    raw = "main (a.py:1);work (x/y/b.py:2) 3\nmain (a.py:1);other (x/y/b.py:9) 5\nmain (a.py:1);work (x/y/b.py:7) 4\n"
    assert profiles.shares(raw) == [("work (y/b.py)", 7 / 12), ("other (y/b.py)", 5 / 12)]


def test_percentiles_are_values_that_occurred() -> None:
    assert report.percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert report.percentile([3.0, 1.0, 2.0], 0.99) == 3.0


def test_the_figures_of_the_page_are_replaced_and_its_words_stay() -> None:
    text = f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n"
    assert page.replaced(text, "new") == f"before\n{page.BEGIN}\n\nnew\n\n{page.END}\nafter\n"
    with pytest.raises(ValueError, match="no place for figures"):
        page.replaced("before", "new")


def test_the_page_has_a_place_for_figures() -> None:
    assert page.replaced(page.PAGE.read_text(encoding="utf-8"), "new")
