"""Defining tools, calling them plainly, and what the gateway does with them."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta, Struct

from waypost import NOT_DONE, Approval, Breaker, Rate, Retry, SecretMissing, ToolContext, remote_tool, tool
from waypost.options import rate_of
from waypost.tools import ResultInvalid, ResultNotEncodable
from waypost_proto.codec import decode
from waypost_proto.errors import BadInput, ContractError
from waypost_proto.values import Effect


class Case(Struct):
    id: str
    amount: Annotated[float, Meta(ge=0)] = 1.0


@tool(effect="read", retry=Retry(max_attempts=8), timeout=timedelta(seconds=10), concurrency=3)
async def core_banking(account: str, *, details: bool = False) -> dict[str, Any]:
    """Read an account.

    More is in the manual.
    """
    return {"account": account, "details": details}


async def find_report(ctx: ToolContext, case: Case, risk: float) -> Any:
    if case.id == "broken":
        raise ValueError("cannot know")
    return f"found {ctx.idempotency_key} {risk}" if case.id == "done" else NOT_DONE


@tool(effect="unsafe", reconcile=find_report)
async def file_report(ctx: ToolContext, case: Case, risk: float) -> str:
    return f"{ctx.idempotency_key}/{ctx.attempt}: {case.id} {risk}"


@tool(effect="idempotent")
def legacy(number: int) -> str:
    return f"{number} in {threading.current_thread().name}"


# -- definition


def test_a_tool_is_named_after_its_function() -> None:
    assert (core_banking.name, core_banking.effect, legacy.name) == ("core-banking", Effect.READ, "legacy")
    assert tool(effect="read", name="other")(lambda: None).name == "other"


def test_the_definition_says_everything_the_coordinator_needs() -> None:
    made = core_banking.definition("b1")
    assert (made.name, made.effect, made.build, made.description) == ("core-banking", "read", "b1", "Read an account.")
    assert (made.timeout_seconds, made.retry.max_attempts, made.concurrency, made.reconcile) == (10.0, 8, 3, False)
    schema = decode(dict, made.args_schema)
    (arguments,) = schema["$defs"].values()
    assert arguments["required"] == ["account"]
    assert arguments["properties"]["details"] == {"type": "boolean", "default": False}
    assert arguments["additionalProperties"] is False
    assert decode(dict, made.result_schema) == {"type": "object"}
    assert file_report.definition().reconcile


@pytest.mark.parametrize(
    ("define", "message"),
    [
        (lambda: tool(core_banking.function), "a tool must say what running it does"),
        (tool, "@tool\\(effect='read'\\)"),
        (lambda: tool(effect="write"), "use 'read', 'idempotent' or 'unsafe'"),  # type: ignore[arg-type]
        (lambda: tool(effect="read", reconcile=find_report), "reconcile= is for unsafe tools"),
        (lambda: tool(effect="read", timeout="10"), "timeout is '10': give seconds as a number, or a timedelta"),  # type: ignore[arg-type]
        (lambda: tool(effect="read")(3), "@tool needs a function"),  # type: ignore[call-overload]
        (lambda: tool(effect="read")(_star).definition(), "has no name in JSON"),
        (lambda: tool(effect="read")(_unresolved).definition(), "the annotation 'Nowhere' cannot be resolved"),
        (lambda: tool(effect="read")(_odd_type).definition(), "cannot be described as JSON|JSON cannot carry"),
    ],
)
def test_what_is_wrong_with_a_definition_is_said(define: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        define()


def _star(*numbers: int) -> None: ...


def _unresolved(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def _odd_type(x: dict[tuple[int, Any], threading.Lock]) -> None: ...


def test_rates_breakers_labels_and_limits_are_announced() -> None:
    @tool(effect="read", rate="600/min", breaker=Breaker(failures=3), taint=("web", "mail", "web"), max_result_bytes=10, settle=1.5)
    async def look() -> None: ...

    made = look.definition()
    assert (made.rate, made.breaker) == (Rate(count=600, seconds=60.0), Breaker(failures=3))
    assert (made.taint, made.max_result_bytes, made.settle_seconds) == (("mail", "web"), 10, 1.5)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/s", Rate(count=10)),
        (" 5 / 10 s ", Rate(count=5, seconds=10.0)),
        ("1000/hour", Rate(count=1000, seconds=3600.0)),
        ("2/days", Rate(count=2, seconds=86400.0)),
    ],
)
def test_a_rate_can_be_written_as_people_say_it(text: str, rate: Rate) -> None:
    assert rate_of(text) == rate


@pytest.mark.parametrize(
    "options",
    [
        {"rate": "ten/s"},
        {"rate": "0/s"},
        {"rate": "5/0s"},
        {"rate": 5},
        {"rate": Rate(count=0)},
        {"breaker": Breaker(failures=0)},
        {"breaker": Breaker(open_seconds=0)},
        {"max_result_bytes": 0},
        {"max_result_bytes": 17 * 1024 * 1024},
    ],
)
def test_rates_breakers_and_sizes_must_make_sense(options: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(options)) if "breaker" not in options else "reaker"):
        tool(effect="read", **options)


def test_a_taint_label_is_a_plain_word() -> None:
    with pytest.raises(BadInput, match="taint label 'The Web'"):
        tool(effect="read", taint="The Web")


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": -1.0}, {"timeout": float("inf")}, {"concurrency": 0}])
def test_limits_must_make_sense(options: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        tool(effect="read", **options)


def test_a_bad_name_is_refused() -> None:
    with pytest.raises(BadInput, match="tool name 'No Good' is not allowed"):
        tool(effect="read", name="No Good")(lambda: None)


def test_types_of_the_surrounding_function_can_be_named() -> None:
    class Local(Struct):
        x: int

    @tool(effect="read")
    async def local(value: Local) -> Local:
        return value

    assert b'"x"' in bytes(local.definition().args_schema)


# -- what the context offers


def test_secrets_are_asked_for_by_name_and_never_shown() -> None:
    ctx = ToolContext(secrets={"bank-token": "hunter2hunter2"})
    assert ctx.secret("bank-token") == "hunter2hunter2"
    assert "hunter2" not in repr(ctx)
    with pytest.raises(SecretMissing, match="WAYPOST_SECRET_OTHER_ONE"):
        ctx.secret("other-one")


def test_a_tool_can_label_what_it_returns() -> None:
    ctx = ToolContext()
    ctx.mark("web", "pii")
    assert ctx.marks == {"web", "pii"}
    with pytest.raises(BadInput):
        ctx.mark("A B")


async def test_a_result_that_is_not_what_the_annotation_says_is_refused() -> None:
    @tool(effect="read")
    async def count() -> int:
        return "many"  # type: ignore[return-value]

    with pytest.raises(ResultInvalid, match="the result of tool 'count' does not fit: Expected `int`, got `str`"):
        await count.invoke(ToolContext(), b"{}")


# -- plain calls


async def test_tools_can_be_called_plainly() -> None:
    assert await core_banking("a", details=True) == {"account": "a", "details": True}
    assert await file_report(Case("c"), 0.5) == "test-key/1: c 0.5"
    plain: Any = file_report
    assert await plain(ToolContext(idempotency_key="k", attempt=2), Case("c"), 0.5) == "k/2: c 0.5"
    assert threading.current_thread().name in await legacy(3)


def test_using_makes_a_variant() -> None:
    gate = Approval(role="officer")
    variant = file_report.using(approval=gate).using(timeout=3)
    assert (variant.options.approval, variant.options.timeout_seconds, variant.options.retry) == (gate, 3.0, None)
    assert file_report.options.approval is None
    assert variant.name == "file-report"
    assert variant.bind(Case("c"), 1.0) == file_report.bind(Case("c"), 1.0)


# -- the gateway's side


def test_arguments_are_bound_by_name_in_a_stable_order() -> None:
    assert file_report.bind(Case("c"), risk=0.5) == b'{"case":{"id":"c","amount":1.0},"risk":0.5}'
    assert core_banking.bind("a") == b'{"account":"a","details":false}'

    @tool(effect="read")
    async def sets(names: set[str], more: dict[str, int]) -> None: ...

    assert sets.bind({"b", "a", "c"}, {"y": 1, "x": 2}) == b'{"more":{"x":2,"y":1},"names":["a","b","c"]}'


async def test_invoke_decodes_runs_and_encodes() -> None:
    ctx = ToolContext(idempotency_key="k", attempt=3)
    assert await file_report.invoke(ctx, b'{"case":{"id":"c"},"risk":1}') == b'"k/3: c 1.0"'
    assert await core_banking.invoke(ctx, b'{"account":"a"}') == b'{"account":"a","details":false}'
    assert threading.current_thread().name.encode() not in await legacy.invoke(ctx, b'{"number":4}')


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (b'{"case":{"id":1},"risk":1}', r"an argument of tool 'file-report' does not fit: Expected `str`, got `int` at \$\.case\.id: 1"),
        (b'{"case":{"id":"c","amount":-2},"risk":1}', r"Expected `float` >= 0.0 at \$\.case\.amount: -2"),
        (b'{"case":{"id":"c"}}', "missing required field `risk`"),
        (b'{"case":{"id":"c"},"risk":1,"rsik":2}', "unknown field `rsik`"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{", "truncated"),
        (b'{"case":{"id":"\xff"},"risk":1}', "does not fit"),
    ],
)
async def test_bad_arguments_are_refused_before_anything_runs(args: bytes, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        await file_report.invoke(ToolContext(), args)


async def test_a_result_that_is_not_json_says_so_after_the_fact() -> None:
    @tool(effect="unsafe")
    async def odd() -> Any:
        return {"when": object()}

    with pytest.raises(ResultNotEncodable, match="the result of tool 'odd' cannot be written as JSON"):
        await odd.invoke(ToolContext(), b"{}")


async def test_reconcile_answers_or_raises() -> None:
    ctx = ToolContext(idempotency_key="k")
    assert await file_report.ask_reconcile(ctx, b'{"case":{"id":"done"},"risk":1}') == b'"found k 1.0"'
    assert await file_report.ask_reconcile(ctx, b'{"case":{"id":"other"},"risk":1}') is NOT_DONE
    with pytest.raises(ValueError, match="cannot know"):
        await file_report.ask_reconcile(ctx, b'{"case":{"id":"broken"},"risk":1}')
    with pytest.raises(ContractError, match="no reconcile hook"):
        await core_banking.ask_reconcile(ctx, b'{"account":"a"}')


async def test_a_remote_tool_has_no_code_here() -> None:
    elsewhere = remote_tool("elsewhere", Case, str)
    assert elsewhere.bind(Case("c")) == b'{"id":"c","amount":1.0}'
    assert elsewhere.returns is str
    bad: Any = elsewhere
    with pytest.raises(TypeError, match="call it with one"):
        bad.bind("c", 1)
    with pytest.raises(ContractError, match="its code lives elsewhere"):
        await elsewhere.invoke(ToolContext(), b"{}")


async def test_defaults_that_are_containers_are_not_shared() -> None:
    @tool(effect="read")
    async def collects(item: int, seen: list[int] = []) -> list[int]:  # noqa: B006 - that is what is tested
        seen.append(item)
        return seen

    assert await collects.invoke(ToolContext(), b'{"item":1}') == b"[1]"
    assert await collects.invoke(ToolContext(), b'{"item":2}') == b"[2]"


def test_lone_surrogates_and_huge_numbers_are_refused() -> None:
    @tool(effect="read")
    async def anything(value: Any) -> None: ...

    for value in ("\ud800", {"deep": {1, "mixed", None}}, msgspec):
        with pytest.raises(BadInput, match="cannot be written as JSON"):
            anything.bind(value)
