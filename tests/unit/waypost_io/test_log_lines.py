"""What a line looks like: the trace of the run it is about, and the quick way that says the same."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from waypost_io import logs
from waypost_io.logs import FastLog

RUN = "01890000-0000-7000-8000-00000000000a"
TRACE = "0189000000007000800000000000000a"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, direct = root.handlers[:], root.level, FastLog.direct
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    FastLog.direct = direct


def configured(**environment: str) -> io.StringIO:
    out = io.StringIO()
    logs.configure("coordinator", environment={"WAYPOST_LOG_FORMAT": "json", **environment}, stream=out)
    return out


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_about_a_run_has_its_trace() -> None:
    out = configured()
    structlog.get_logger().info("something", run_id=RUN, agent="clerk")
    structlog.get_logger().info("else", run_id="no run id")
    structlog.get_logger().info("nothing")
    assert [line.get("trace_id") for line in lines(out)] == [TRACE, None, None]


async def test_what_is_bound_to_a_task_is_on_its_lines_and_on_no_others() -> None:
    out = configured()

    async def one() -> None:
        structlog.contextvars.bind_contextvars(run_id=RUN, agent="clerk", step="0:1")
        structlog.get_logger().info("inside")

    await asyncio.create_task(one())
    structlog.get_logger().info("outside")
    inside, outside = lines(out)
    assert (inside["run_id"], inside["agent"], inside["step"], inside["trace_id"]) == (RUN, "clerk", "0:1", TRACE)
    assert "run_id" not in outside


def test_the_quick_way_writes_the_same_line() -> None:
    out = configured()
    fields = {"run_id": RUN, "agent": "clerk", "step": "0:1", "seconds": 0.5, "cost_usd": None, "intent": "see nats://u:p@h é"}
    structlog.get_logger().info("reasoning_step", **fields)
    FastLog().info("reasoning_step", **fields)
    slow, quick = lines(out)
    assert len(str(quick.pop("timestamp"))) == len(str(slow.pop("timestamp")))
    assert quick == slow
    assert quick["intent"] == "see nats://***@h é"
    assert list(json.loads(out.getvalue().splitlines()[1]))[:4] == ["timestamp", "level", "service", "event"]


def test_the_quick_way_keeps_to_the_level_and_the_format() -> None:
    out = configured(WAYPOST_LOG_LEVEL="warning")
    FastLog().info("reasoning_step", run_id=RUN)
    assert out.getvalue() == ""
    out = configured(WAYPOST_LOG_FORMAT="console")
    FastLog().info("reasoning_step", run_id=RUN)
    assert "reasoning_step" in out.getvalue()
    assert not out.getvalue().startswith("{")
