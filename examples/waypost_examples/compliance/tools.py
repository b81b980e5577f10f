"""The desk's tools: the one place that touches other departments' systems. A gateway hosts this module.

Where they are is in the JSON file that `DESK_ADDRESSES_FILE` names: see `Addresses`.
"""

from __future__ import annotations

import os
from pathlib import Path

import asyncpg
import msgspec

from waypost import NOT_DONE, DoNotRetry, NotExecuted, Retry, RetryLater, ToolContext, tool
from waypost.tool_context import NotDone
from waypost_examples.compliance import wire
from waypost_examples.compliance.model import Account, Customer, Freeze, Frozen, Hit, Owner, Receipt, Report

ADDRESSES_FILE = "DESK_ADDRESSES_FILE"
PATIENT = Retry(max_attempts=20, initial_seconds=0.2, factor=2.0, max_seconds=2.0)
"""A department may be away for half a minute; a case waits for it rather than failing."""
TIMEOUT_SECONDS = 1.0


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """Where the departments' systems are: a Postgres URL and three HTTP base URLs."""

    core_banking: str
    kyc: str
    sanctions: str
    regulator: str


def addresses() -> Addresses:
    """Read at each call, so that a department may move. Raises `DoNotRetry` without the variable, `OSError` without the file."""
    path = os.environ.get(ADDRESSES_FILE, "")
    if not path:
        names = ", ".join(Addresses.__struct_fields__)
        raise DoNotRetry(f"{ADDRESSES_FILE} is not set: it names a JSON file with the addresses of {names} (`waypost demo` writes one)")
    return msgspec.json.decode(Path(path).read_bytes(), type=Addresses)


@tool(effect="read", retry=PATIENT, timeout=TIMEOUT_SECONDS)
async def core_banking(account: str) -> Account:
    """The account and its holder, from the core banking database."""
    connection = await asyncpg.connect(addresses().core_banking)
    try:
        row = await connection.fetchrow("SELECT customer, holder, opened, monthly_average FROM look_up($1)", account)
    finally:
        # Not `close`: after a time-out it would wait for a database that is asleep.
        connection.terminate()
    if row is None:
        raise DoNotRetry(f"core banking has no account {account!r}; check the account in the file")
    return Account(account=account, **row)


@tool(effect="read", retry=PATIENT, timeout=TIMEOUT_SECONDS)
async def kyc(customer: str) -> Customer:
    """What KYC knows of a customer."""
    answer = await wire.get(addresses().kyc, "customers", customer)
    if answer.status != 200:
        raise _error("KYC", answer)
    return answer.read(Customer)


@tool(effect="read", retry=PATIENT, timeout=TIMEOUT_SECONDS)
async def sanctions(name: str) -> list[Hit]:
    """The sanctions list entries that a name resembles."""
    answer = await wire.get(addresses().sanctions, "screen", name)
    if answer.status != 200:
        raise _error("sanctions", answer)
    return answer.read(list[Hit])


@tool(effect="read", retry=PATIENT, timeout=TIMEOUT_SECONDS)
async def registry(company: str) -> Owner:
    """The registered owner of a company."""
    answer = await wire.get(addresses().kyc, "owners", company)
    if answer.status != 200:
        raise _error("the registry", answer)
    return answer.read(Owner)


async def find_report(ctx: ToolContext, report: Report) -> Receipt | NotDone:  # noqa: ARG001 - a hook takes the tool's arguments
    """Did the report arrive? Raises when the regulator cannot say."""
    answer = await wire.get(addresses().regulator, "reports", ctx.idempotency_key)
    match answer.status:
        case 200:
            return answer.read(Receipt)
        case 404:
            return NOT_DONE
        case _:
            raise _error("the regulator", answer)


@tool(effect="unsafe", reconcile=find_report, retry=PATIENT, timeout=TIMEOUT_SECONDS)
async def file_report(ctx: ToolContext, report: Report) -> Receipt:
    """File a report at the regulator, once. A lost answer leaves the call in doubt; `find_report` settles it."""
    try:
        answer = await wire.post(
            addresses().regulator, "reports", body=msgspec.json.encode(report), headers={"Idempotency-Key": ctx.idempotency_key}
        )
    except wire.Unsent as error:
        raise NotExecuted(str(error)) from error
    match answer.status:
        case 201:
            return answer.read(Receipt)
        case 503:
            raise NotExecuted("the regulator's intake is closed", retry_after=answer.retry_after)
        case status if 400 <= status < 500:
            raise DoNotRetry(f"the regulator refused the report ({status}): {_reason(answer)}")
        case _:
            raise _error("the regulator", answer)


@tool(effect="unsafe", retry=PATIENT, timeout=TIMEOUT_SECONDS)
async def freeze_account(ctx: ToolContext, order: Freeze) -> Frozen:
    """Order the freezing office to freeze an account, once. It can only be asked by telephone: a lost answer is for a person to settle."""
    try:
        answer = await wire.post(
            addresses().sanctions, "freezes", body=msgspec.json.encode(order), headers={"Idempotency-Key": ctx.idempotency_key}
        )
    except wire.Unsent as error:
        raise NotExecuted(str(error)) from error
    if answer.status != 201:
        raise _error("the freezing office", answer)
    return answer.read(Frozen)


def _error(who: str, answer: wire.Response) -> Exception:
    """The error that says what may be done about an answer without a result."""
    text = _reason(answer)
    if answer.status == 503 and answer.retry_after is not None:
        return RetryLater(f"{who} is unavailable: {text}", retry_after=answer.retry_after)
    if answer.status == 404:
        return DoNotRetry(f"{who} knows nothing of it: {text}")
    return ConnectionError(f"{who} answered {answer.status}: {text}")


def _reason(answer: wire.Response) -> str:
    """What the service says is wrong: the member `error`, or the beginning of whatever it sent."""
    try:
        return msgspec.json.decode(answer.body, type=dict[str, str])["error"]
    except (msgspec.DecodeError, KeyError):
        return answer.body[:200].decode(errors="replace")
