"""The comparison with the peer: its reports from made-up figures, and the whole of it, small, where the peer is installed."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from tests.bench import page
from tests.bench.gauges import Use
from tests.bench.peer import charts, command, environment, report
from tests.bench.peer.contenders import AGENT, FLOOR, LANGGRAPH, SPREAD, STRICT, WAYPOST
from tests.bench.peer.measuring import compare
from tests.bench.peer.plan import Cell, Level, PeerPlan, PeerReport, Side
from tests.bench.plan import Machine

LEVELS = (Level(at_once=1, runs=2), Level(at_once=64, runs=4))


def cell(steps_per_second: float, cpu_ms: dict[str, float]) -> Cell:
    use = Use(cpu_ms=cpu_ms, nats_messages=0, nats_disk_bytes=0, wal_bytes=5_000, transactions=1)
    return Cell(steps_per_second=steps_per_second, latencies_ms=[10.0, 20.0, 30.0], per_step=use, load=1.5)


def side(name: str, *speeds: float) -> Side:
    cpu_ms = {"worker": 1.0, "postgres": 0.5}
    return Side(name=name, cells={level.at_once: [cell(speed, cpu_ms) for speed in speeds] for level in LEVELS}, resident_mib={"one": 50})


def made_up(*sides: Side) -> PeerReport:
    machine = Machine(date="today", cpu="a CPU", cores=2, memory_gib=4, system="Linux", versions={"waypost": "1"})
    return PeerReport(plan=PeerPlan(rounds=3, levels=LEVELS), machine=machine, sides=list(sides), seconds=9)


@pytest.fixture
def found() -> PeerReport:
    return made_up(side(WAYPOST, 100, 900, 400), side(LANGGRAPH, 50, 100, 100), side(SPREAD, 100, 300, 400))


def test_medians_are_of_rounds_and_ratios_of_neighbours(found: PeerReport) -> None:
    table = {row[0]: row[1:] for row in report.rows(found)}

    # 4 is the median of 2, 9 and 4; dividing the medians gives 4 too, but for the other side 1 of 1, 3 and 1 against 1.33
    assert table["steps/s, 64 in flight"] == ("400", "100", "300", "4.00", "1.00")
    assert table["CPU ms per step, all of them, 64 in flight"][:3] == ("1.50", "1.50", "1.50")
    assert table["CPU ms per step, own processes, one run at a time"][0] == "1.00"


def test_what_was_measured_less_often_is_compared_with_the_same_rounds_and_named() -> None:
    found = made_up(side(WAYPOST, 100, 900, 400), side(LANGGRAPH, 50))

    assert report.ratio(found, LANGGRAPH, 64, report.steps_per_second) == 2.0
    assert "Waypost through LangGraph: 2.00 of its steps/s" in report.as_text(found)
    assert "Too slow to be measured in every round: LangGraph, one run at a time (1)" in report.as_text(found)


def test_a_side_that_did_not_take_part_has_no_ratio(found: PeerReport) -> None:
    assert report.ratio(found, FLOOR, 64, report.steps_per_second) is None


def test_reports_survive_json(found: PeerReport) -> None:
    assert msgspec.json.decode(msgspec.json.encode(found), type=PeerReport) == found


def test_charts_are_well_formed_and_bars_as_long_as_their_values(found: PeerReport) -> None:
    steps, *others = charts.charts(found)
    for chart in others:
        ET.fromstring(charts.svg(chart))
    rects = ET.fromstring(charts.svg(steps)).iter("{http://www.w3.org/2000/svg}rect")
    heights = {
        fill: float(rect.get("height", "0")) for rect in rects if (fill := rect.get("fill")) in charts.COLOURS.values()
    }  # the last of a colour is a bar of the last group
    assert heights[charts.COLOURS[WAYPOST]] == pytest.approx(4 * heights[charts.COLOURS[LANGGRAPH]], rel=0.01)


def test_the_page_has_a_place_for_the_peer(found: PeerReport, tmp_path: Path) -> None:
    copy = tmp_path / "benchmarks.md"
    copy.write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")

    command.write_docs(found, copy, tmp_path)

    assert "| steps/s, 64 in flight | 400 |" in copy.read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.glob("*.svg")} == {"peer-steps.svg", "peer-latency.svg", "peer-cpu.svg"}


def test_the_environment_is_pinned() -> None:
    """Another file of versions is another environment: no old one is taken for it."""
    pins = [line for line in environment.CONSTRAINTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert all("==" in pin for pin in pins)
    assert {"langgraph", "langgraph-checkpoint-postgres", "psycopg"} <= {pin.partition("==")[0] for pin in pins}


@pytest.mark.bench
@pytest.mark.slow
async def test_a_small_comparison_from_beginning_to_end() -> None:
    python = environment.python()
    if python is None:
        pytest.skip("the peer is not installed; `python -m tests.bench peer` does that")
    plan = PeerPlan(rounds=1, steps=2, levels=(Level(at_once=1, runs=2), Level(at_once=8, runs=9)))

    found = await compare(plan, python, lambda _what, _done, _total: None)

    assert [side.name for side in found.sides] == [WAYPOST, LANGGRAPH, SPREAD, AGENT, FLOOR, STRICT]
    assert all(len(side.cells[8][0].latencies_ms) == 9 for side in found.sides)
    assert "nats" not in found.sides[1].cells[8][0].per_step.cpu_ms
    assert found.machine.versions["langgraph"].startswith("1.2.")
