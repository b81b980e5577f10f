"""The legacy services over real sockets: what they answer, how they fail, and what the desk's HTTP client makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from waypost_examples.compliance import wire
from waypost_examples.compliance.legacy import kyc, regulator, sanctions
from waypost_examples.compliance.legacy.faults import FaultKind, FaultPlan
from waypost_examples.compliance.legacy.http import Answer, Handler, Request, serve
from waypost_examples.compliance.model import Customer, Freeze, Frozen, Hit, Owner, Receipt, Report

NEVER = 3600.0
"""A service that is slow for so long does not answer within any test."""


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    server = await serve(handler, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def key_with(plan: FaultPlan, kind: FaultKind, then: FaultKind = FaultKind.NONE) -> str:
    """A key whose first request has this fault and whose second has the other."""
    return next(f"k{n}" for n in range(10_000) if plan.fault(f"k{n}", 1) is kind and plan.fault(f"k{n}", 2) is then)


async def gives_up(asking: Awaitable[object]) -> bool:
    """Whether no answer comes (the bound only decides how long the test waits for silence)."""
    try:
        async with asyncio.timeout(0.2):
            await asking
    except TimeoutError:
        return True
    return False


# -- sanctions


def test_a_name_is_screened_by_the_words_it_shares() -> None:
    entries = [("Orion Shipping Lines", "A"), ("Ivan Morozov", "B")]
    assert sanctions.screen("ivan MOROZOV", entries) == [Hit(name="ivan MOROZOV", entry="Ivan Morozov", sanctions_list="B", score=1.0)]
    assert [hit.score for hit in sanctions.screen("Orion Shipping Supplies", entries)] == [0.5]
    assert sanctions.screen("Ivan Petrov Sidorov", entries) == []


async def test_sanctions_asks_to_come_back_later_and_then_answers() -> None:
    name = key_with(sanctions.plan(0), FaultKind.UNAVAILABLE)
    async with serving(sanctions.Sanctions(0)) as url:
        first = await wire.get(url, "screen", name)
        second = await wire.get(url, "screen", name)
    assert (first.status, first.retry_after) == (503, sanctions.RETRY_AFTER_SECONDS)
    assert (second.status, second.read(list[Hit])) == (200, [])


async def test_sanctions_is_silent_at_times() -> None:
    name = key_with(sanctions.plan(0), FaultKind.SLOW)
    async with serving(sanctions.Sanctions(0, slow_seconds=NEVER)) as url:
        assert await gives_up(wire.get(url, "screen", name))
        assert (await wire.get(url, "screen", name)).status == 200


async def test_a_name_with_spaces_and_slashes_arrives_whole() -> None:
    async with serving(sanctions.Sanctions(seed=_seed_without_fault("Ivan Petrovich Morozov"))) as url:
        answer = await wire.get(url, "screen", "Ivan Petrovich Morozov")
        assert answer.read(list[Hit])[0].score == 1.0
        assert (await wire.get(url, "screen", "a/b ü?")).status in (200, 503)
        assert (await wire.get(url, "nothing")).status == 404


def _seed_without_fault(key: str) -> int:
    return next(seed for seed in range(100) if sanctions.plan(seed).fault(key, 1) is FaultKind.NONE)


# -- KYC


@pytest.fixture
def customers(tmp_path: Path) -> Callable[..., Path]:
    def make(*ids: str) -> Path:
        file = tmp_path / "kyc.sqlite"
        kyc.populate(file, [Customer(customer=i, status="verified", reviewed=date(2025, 1, 2), exposed=True) for i in ids])
        return file

    return make


async def test_kyc_answers_from_its_file(customers: Callable[..., Path]) -> None:
    known = key_with(kyc.plan(0), FaultKind.NONE)
    unknown = key_with(FaultPlan(service="kyc", seed=0, shares=kyc.plan(0).shares), FaultKind.NONE) + "-x"
    file = customers(known)
    customers(known)
    async with serving(kyc.Kyc(file, seed=0, usual_seconds=0, slow_seconds=0)) as url:
        answer = await wire.get(url, "customers", known)
        assert answer.read(Customer) == Customer(customer=known, status="verified", reviewed=date(2025, 1, 2), exposed=True)
        for _ in range(2):  # a hang-up or a slow answer may come first
            try:
                missing = await wire.get(url, "customers", unknown)
            except ConnectionError:
                continue
        assert missing.status == 404


async def test_kyc_hangs_up_at_times(customers: Callable[..., Path]) -> None:
    customer = key_with(kyc.plan(0), FaultKind.LOST)
    async with serving(kyc.Kyc(customers(customer), seed=0, usual_seconds=0)) as url:
        with pytest.raises(ConnectionError, match="broke the connection") as raised:
            await wire.get(url, "customers", customer)
        assert not isinstance(raised.value, wire.Unsent)
        assert (await wire.get(url, "customers", customer)).status == 200


# -- the regulator


def report(case: str) -> Report:
    return Report(case=case, account="A", kind="routine_summary", total=Decimal("1.50"), risk=0.1, reasons=[], transactions=["T"])


async def file_at(url: str, case: str, key: str) -> wire.Response:
    return await wire.post(url, "reports", body=msgspec.json.encode(report(case)), headers={"Idempotency-Key": key})


@asynccontextmanager
async def regulator_at(file: Path) -> AsyncIterator[tuple[str, regulator.Regulator]]:
    service = regulator.Regulator(file, seed=0, slow_seconds=NEVER)
    try:
        async with serving(service) as url:
            yield url, service
    finally:
        service.close()


POSTS = regulator.plan(0)
ASKS = regulator.asking_plan(0)


def case_with(asks: FaultPlan, kind: FaultKind) -> str:
    """A case whose report is taken at once and whose first question has this fault."""
    cases = (f"C{n}" for n in range(10_000))
    return next(case for case in cases if POSTS.fault(case, 1) is FaultKind.NONE and asks.fault(case, 1) is kind)


async def test_a_report_is_stored_and_can_be_asked_for_by_its_key(tmp_path: Path) -> None:
    case, key = case_with(ASKS, FaultKind.NONE), "run/0:1"
    async with regulator_at(tmp_path / "r.sqlite") as (url, service):
        filed = await file_at(url, case, key)
        asked = await wire.get(url, "reports", key)
        assert (filed.status, filed.read(Receipt)) == (201, Receipt(report_id="R-00001"))
        assert asked.read(Receipt) == Receipt(report_id="R-00001")
        assert service.counts() == regulator.Counts(total=1, by_case={case: 1}, by_key={key: 1})
    async with regulator_at(tmp_path / "r.sqlite") as (url, _):
        counts = (await wire.get(url, "counts")).read(regulator.Counts)
    assert counts.by_case == {case: 1}


async def test_a_duplicate_is_counted_and_not_dropped(tmp_path: Path) -> None:
    case = key_with(POSTS, FaultKind.NONE)
    async with regulator_at(tmp_path / "r.sqlite") as (url, service):
        await file_at(url, case, "k")
        await file_at(url, case, "k")
        assert service.counts() == regulator.Counts(total=2, by_case={case: 2}, by_key={"k": 2})


@pytest.mark.parametrize(("fault", "stored"), [(FaultKind.LATE, 1), (FaultKind.LOST, 0), (FaultKind.UNAVAILABLE, 0)])
async def test_each_fault_leaves_what_it_says(tmp_path: Path, fault: FaultKind, stored: int) -> None:
    case = key_with(POSTS, fault)
    async with regulator_at(tmp_path / "r.sqlite") as (url, service):
        match fault:
            case FaultKind.LATE:
                assert await gives_up(file_at(url, case, "k"))
            case FaultKind.LOST:
                with pytest.raises(ConnectionError):
                    await file_at(url, case, "k")
            case _:
                answer = await file_at(url, case, "k")
                assert (answer.status, answer.retry_after) == (503, regulator.RETRY_AFTER_SECONDS)
        assert service.counts().total == stored


async def test_asking_for_a_report_that_never_came_is_404_and_for_another_may_fail_first(tmp_path: Path) -> None:
    async with regulator_at(tmp_path / "r.sqlite") as (url, _):
        assert (await wire.get(url, "reports", "never")).status == 404
        await file_at(url, case_with(ASKS, FaultKind.UNAVAILABLE), "k")
        assert (await wire.get(url, "reports", "k")).status == 503
        assert (await wire.get(url, "reports", "k")).status == 200


@pytest.mark.parametrize(
    ("headers", "body", "status"), [({}, b"{}", 400), ({"Idempotency-Key": "k"}, b"{}", 422), ({"Idempotency-Key": "k"}, b"x", 422)]
)
async def test_what_is_not_a_report_is_refused(tmp_path: Path, headers: dict[str, str], body: bytes, status: int) -> None:
    async with regulator_at(tmp_path / "r.sqlite") as (url, service):
        assert (await wire.post(url, "reports", body=body, headers=headers)).status == status
        assert service.counts().total == 0


# -- the client and the server


async def test_a_service_that_is_not_there_saw_nothing() -> None:
    async with serving(_never_asked) as url:
        pass
    with pytest.raises(wire.Unsent, match="cannot be reached"):
        await wire.get(url, "x")


@pytest.mark.parametrize(
    "sent", [b"GET /\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
async def test_the_server_refuses_what_is_not_http(sent: bytes) -> None:
    async with serving(_never_asked) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(sent)
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_the_client_says_when_an_answer_is_not_http() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"hello\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    async with server:
        with pytest.raises(ConnectionError, match="not HTTP"):
            await wire.get(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "x")


async def _never_asked(request: Request) -> Answer:
    raise AssertionError(f"unexpected {request}")


async def test_the_register_knows_owners_and_some_own_each_other(tmp_path: Path) -> None:
    async with serving(kyc.Kyc(tmp_path / "kyc.sqlite", 0)) as url:
        chain = ["Isla Verde Holdings"]
        for _ in range(2):
            owner = (await wire.get(url, "owners", chain[-1])).read(Owner).owner
            assert owner is not None
            chain.append(owner)
        assert chain[0] == chain[2]
        assert (await wire.get(url, "owners", "Nobody Ltd")).read(Owner).owner is None


async def test_the_freezing_office_takes_an_order_though_its_answer_is_lost_and_keeps_duplicates() -> None:
    plan = sanctions.freezing_plan(0)
    late, prompt = key_with(plan, FaultKind.LATE), key_with(plan, FaultKind.NONE)
    async with serving(sanctions.Sanctions(0, slow_seconds=NEVER)) as url:

        async def order(account: str) -> wire.Response:
            body = msgspec.json.encode(Freeze(account=account, name="X"))
            return await wire.post(url, "freezes", body=body, headers={})

        assert await gives_up(order(late))
        assert (await order(prompt)).read(Frozen).order == "F-002"
        assert (await order(prompt)).status == 201
        book = (await wire.get(url, "freezes")).read(list[sanctions.Entry])
        assert [entry.account for entry in book] == [late, prompt, prompt]
        assert (await wire.post(url, "freezes", body=b"{}", headers={})).status == 422
