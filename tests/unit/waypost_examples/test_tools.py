"""The desk's tools against the real legacy services: which failure they report for which fault."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from waypost import NOT_DONE, DoNotRetry, NotExecuted, RetryLater, ToolContext
from waypost_examples.compliance import tools
from waypost_examples.compliance.legacy import kyc, regulator, sanctions
from waypost_examples.compliance.legacy.faults import FaultKind, FaultPlan
from waypost_examples.compliance.legacy.http import Answer, Handler, Request, serve
from waypost_examples.compliance.model import Customer, Receipt, Report

Serving = Callable[[str, Handler], Awaitable[None]]


@pytest.fixture
async def serving(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Serving]:
    """Start a service and tell the tools where it is; the others are nowhere."""
    servers = []
    known = dict.fromkeys(tools.Addresses.__struct_fields__, "http://127.0.0.1:1")
    path = tmp_path / "desk.json"
    path.write_bytes(msgspec.json.encode(known))
    monkeypatch.setenv(tools.ADDRESSES_FILE, str(path))

    async def start(name: str, handler: Handler) -> None:
        server = await serve(handler, "127.0.0.1", 0)
        servers.append(server)
        known[name] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        path.write_bytes(msgspec.json.encode(known))

    yield start
    for server in servers:
        server.close()


def key_with(plan: FaultPlan, kind: FaultKind, prefix: str = "k") -> str:
    return next(
        f"{prefix}{n}" for n in range(10_000) if plan.fault(f"{prefix}{n}", 1) is kind and plan.fault(f"{prefix}{n}", 2) is FaultKind.NONE
    )


def report(case: str) -> Report:
    return Report(case=case, account="A", kind="routine_summary", total=Decimal(1), risk=0.1, reasons=[], transactions=[])


def answering(status: int, value: object) -> Handler:
    async def handler(request: Request) -> Answer:
        return Answer(status, value)

    return handler


def test_only_filing_is_unsafe() -> None:
    effects = {tool.name: tool.effect.value for tool in (tools.core_banking, tools.kyc, tools.sanctions, tools.file_report)}
    assert effects == {"core-banking": "read", "kyc": "read", "sanctions": "read", "file-report": "unsafe"}
    assert tools.file_report.has_reconcile
    assert tools.freeze_account.effect.value == "unsafe"
    assert not tools.freeze_account.has_reconcile


async def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tools.ADDRESSES_FILE, raising=False)
    with pytest.raises(DoNotRetry, match="DESK_ADDRESSES_FILE is not set"):
        await tools.kyc("K")


async def test_a_file_that_is_not_there_yet_may_come(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(tools.ADDRESSES_FILE, str(tmp_path / "later.json"))
    with pytest.raises(FileNotFoundError):
        await tools.kyc("K")


async def test_sanctions_passes_the_time_to_wait_on(serving: Serving) -> None:
    await serving("sanctions", sanctions.Sanctions(0))
    name = key_with(sanctions.plan(0), FaultKind.UNAVAILABLE)
    with pytest.raises(RetryLater) as raised:
        await tools.sanctions(name)
    assert raised.value.retry_after == sanctions.RETRY_AFTER_SECONDS
    assert await tools.sanctions(name) == []


async def test_kyc_is_tried_again_after_a_hang_up_and_not_for_a_stranger(serving: Serving, tmp_path: Path) -> None:
    customer = key_with(kyc.plan(0), FaultKind.LOST)
    kyc.populate(tmp_path / "kyc", [Customer(customer=customer, status="verified", reviewed=date(2025, 1, 1), exposed=False)])
    await serving("kyc", kyc.Kyc(tmp_path / "kyc", 0, usual_seconds=0))
    with pytest.raises(ConnectionError):
        await tools.kyc(customer)
    assert (await tools.kyc(customer)).customer == customer
    with pytest.raises(DoNotRetry, match="nothing of it"):
        await tools.kyc(key_with(kyc.plan(0), FaultKind.NONE, "stranger"))


async def test_a_service_that_is_not_there_may_be_tried_again(serving: Serving) -> None:
    with pytest.raises(ConnectionError):
        await tools.sanctions("X")


async def test_a_report_is_filed_under_the_key_of_its_call(serving: Serving, tmp_path: Path) -> None:
    service = regulator.Regulator(tmp_path / "r", 0)
    await serving("regulator", service)
    ctx = ToolContext(idempotency_key="run/0:1")
    posts, asks = regulator.plan(0), regulator.asking_plan(0)
    case = next(f"C{n}" for n in range(999) if posts.fault(f"C{n}", 1) is asks.fault(f"C{n}", 1) is FaultKind.NONE)
    assert await tools.find_report(ctx, report(case)) is NOT_DONE
    receipt = await tools.file_report(ctx, report(case))
    assert await tools.find_report(ctx, report(case)) == receipt == Receipt(report_id="R-00001")
    assert service.counts().by_key == {ctx.idempotency_key: 1}
    service.close()


async def test_a_closed_intake_surely_took_nothing(serving: Serving, tmp_path: Path) -> None:
    service = regulator.Regulator(tmp_path / "r", 0)
    await serving("regulator", service)
    with pytest.raises(NotExecuted) as raised:
        await tools.file_report(report(key_with(regulator.plan(0), FaultKind.UNAVAILABLE)))
    assert raised.value.retry_after == regulator.RETRY_AFTER_SECONDS
    service.close()


async def test_a_regulator_that_is_not_there_surely_took_nothing(serving: Serving) -> None:
    with pytest.raises(NotExecuted, match="cannot be reached"):
        await tools.file_report(report("C"))


async def test_a_broken_connection_leaves_it_open(serving: Serving, tmp_path: Path) -> None:
    service = regulator.Regulator(tmp_path / "r", 0)
    await serving("regulator", service)
    with pytest.raises(ConnectionError):
        await tools.file_report(report(key_with(regulator.plan(0), FaultKind.LOST)))
    service.close()


@pytest.mark.parametrize(("status", "error"), [(422, DoNotRetry), (400, DoNotRetry), (500, ConnectionError)])
async def test_what_other_answers_to_a_report_mean(serving: Serving, status: int, error: type[Exception]) -> None:
    await serving("regulator", answering(status, {"error": "no"}))
    with pytest.raises(error, match=str(status)):
        await tools.file_report(report("C"))


@pytest.mark.parametrize(("status", "error"), [(503, ConnectionError), (500, ConnectionError)])
async def test_a_hook_that_cannot_know_raises(serving: Serving, status: int, error: type[Exception]) -> None:
    await serving("regulator", answering(status, {}))
    with pytest.raises(error):
        await tools.find_report(ToolContext(), report("C"))
