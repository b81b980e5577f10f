"""`scale` on a few runs: every part measures what it says, and its table says what holds."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import msgspec
import pytest

from tests.bench import machine, scale
from tests.bench.platform import temporary_folder
from tests.bench.scale_crowd import Crowd
from tests.bench.scale_idle import waiting
from tests.bench.scale_plan import ScalePlan, ScaleReport, amount, ratio
from tests.bench.scale_recovery import recovery
from tests.bench.scale_rounds import along_a_run, over_store_size
from tests.bench.scale_rows import fill
from tests.bench.scale_stack import new_database, running_servers, running_stack

SMALL = ScalePlan(
    steps=6,
    finished=20,
    waiting=4,
    recover=4,
    parallel=2,
    rounds=1,
    window=2,
    store_runs=4,
    store_steps=2,
    idle_seconds=0.1,
    settle_seconds=0.0,
)


async def test_a_store_is_filled_with_whole_runs_that_a_coordinator_goes_on_beside() -> None:
    async with temporary_folder() as folder, running_servers(folder) as servers:
        async with running_stack(servers, "source") as stack, Crowd(stack, "run_completed") as crowd:
            [template] = await crowd.start("clerk", [1])
            url = await new_database(servers, "target")
            await fill(stack.postgres_url, url, template, SMALL.finished, lambda _what, _done, _of: None)
        async with running_stack(servers, "target", url) as stack, Crowd(stack, "run_completed") as crowd:
            await crowd.start("clerk", [2])
        connection = await asyncpg.connect(url)
        try:
            runs, ended = await connection.fetchrow("SELECT count(*), count(*) FILTER (WHERE status = 'completed') FROM runs") or (0, 0)
            gaps = await connection.fetchval(
                "SELECT count(*) FROM runs r WHERE seq <> (SELECT count(*) FROM events e WHERE e.run_id = r.run_id)"
            )
        finally:
            await connection.close()

    assert (runs, ended, gaps) == (SMALL.finished + 1, SMALL.finished + 1, 0)


@pytest.mark.slow
async def test_early_and_late_steps_and_waiting_runs_are_measured() -> None:
    async with temporary_folder() as folder, running_servers(folder) as servers:
        walked = await along_a_run(servers, SMALL, lambda _what, _done, _of: None)
        waited = await waiting(servers, SMALL, lambda _what, _done, _of: None)

    assert {figure.what for figure in walked if figure.limit} == {"CPU ms a step, all of them", "ms a step"}
    assert all(figure.judged > 0 for figure in walked if figure.limit)
    assert next(figure.judged for figure in waited if figure.what == "rows of runs; a run") == 1.0


@pytest.mark.slow
async def test_an_empty_and_a_full_store_are_measured() -> None:
    async with temporary_folder() as folder, running_servers(folder) as servers:
        found = await over_store_size(servers, SMALL, lambda _what, _done, _of: None)

    assert [figure.limit for figure in found if figure.limit] == [1.1, 1.1]
    assert all(figure.judged > 0 for figure in found if figure.limit)


@pytest.mark.crash
@pytest.mark.slow
async def test_every_run_goes_on_after_everything_was_killed() -> None:
    async with temporary_folder() as folder, running_servers(folder) as servers:
        found = await recovery(servers, SMALL, lambda _what, _done, _of: None)

    assert [figure.large for figure in found] == [SMALL.recover] * 3


def test_the_table_says_what_holds(tmp_path: Path) -> None:
    figures = [ratio("a", "twice", 1.0, 2.0, 1.2), ratio("a", "same", 2.0, 2.0, 1.2), amount("b", "shown", 0.0, 3.0, 3.0)]
    report = ScaleReport(plan=SMALL, machine=machine.describe(), figures=figures)

    lines = [line for line in scale.as_text(report).splitlines() if line.strip()]

    assert [line.rstrip().endswith("DOES NOT HOLD") for line in lines if "twice" in line] == [True]
    assert [line.rstrip().endswith("  holds") for line in lines if "same" in line] == [True]
    assert msgspec.json.decode(msgspec.json.encode(report), type=ScaleReport) == report
