"""What steps and tools report: added up exactly, from threads too, and only where there is something to report for."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from waypost import ToolContext, Usage, report
from waypost.execution.effects import LocalEffect, prepare_step
from waypost.metering import Meter
from waypost_proto import usage as wire
from waypost_proto.errors import ContractError
from waypost_proto.ids import CallId


def test_amounts_add_up_exactly() -> None:
    meter = Meter()
    assert meter.usage is None, "nothing said is not nothing used"
    for _ in range(3):
        meter.add(tokens=2, cost_usd=0.1)
    meter.add(cost_usd=Decimal("0.05"))
    assert meter.usage == wire.Usage(tokens=6, cost_micros=350_000)


def test_wrong_amounts_are_refused() -> None:
    for wrong in ({"tokens": -1}, {"tokens": 1.5}, {"tokens": True}, {"cost_usd": -0.1}, {"cost_usd": float("nan")}):
        with pytest.raises(ValueError, match=r"token|dollars"):
            Usage(**wrong)  # type: ignore[arg-type]


def test_a_tool_reports_to_its_context() -> None:
    ctx = ToolContext()
    ctx.spent(tokens=5)
    ctx.spent(cost_usd="0.000001")
    assert ctx.meter.usage == wire.Usage(tokens=5, cost_micros=1)


def test_there_is_nothing_to_report_for_elsewhere() -> None:
    with pytest.raises(ContractError, match=r"waypost\.report"):
        report(tokens=1)


async def test_a_step_reports_also_from_its_thread() -> None:
    def plain() -> int:
        report(tokens=4, cost_usd="0.01", output="the same words as always")
        return 1

    async def other() -> int:
        report(tokens=9)
        return 2

    effects = [LocalEffect(CallId(f"0:{n}"), "s", prepare_step(f, (), None)[2], None) for n, f in enumerate((plain, other))]
    assert await asyncio.gather(*(asyncio.create_task(effect.run()) for effect in effects)) == [b"1", b"2"]
    assert effects[0].meter.usage == wire.Usage(tokens=4, cost_micros=10_000)
    assert len(effects[0].meter.fingerprint) == 16
    assert effects[1].meter.usage == wire.Usage(tokens=9)
