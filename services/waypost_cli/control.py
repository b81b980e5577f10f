"""`waypost runs pause|resume|cancel|signal|resolve`: each answers after the commit."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter
from msgspec import UNSET

from waypost_cli.connect import connected
from waypost_cli.options import NO_NEW_LIMITS, AsJson, By, JsonText, NewLimits, Reason, parse_json, some, who
from waypost_cli.output import print_json, say
from waypost_proto.api import RunAnswer


async def pause(*run_id: str, reason: Reason = "", by: By = "", json: AsJson = False) -> None:
    """Hold runs where they are. Once this returns nothing queued takes effect until they are resumed."""
    async with connected() as client:
        for one in some(run_id):
            _print(await client.pause(one, reason=reason, by=who(by)), "paused already", as_json=json)


async def resume(
    run_id: str,
    /,
    *,
    limits: NewLimits = NO_NEW_LIMITS,
    instruction: Annotated[str, Parameter(help="What the agent is to do differently: its code is given this first.")] = "",
    tools: Annotated[
        Literal["recorded", "deny", "live"] | None, Parameter(help="Of a fork: how its calls are answered from here on.")
    ] = None,
    by: By = "",
    json: AsJson = False,
) -> None:
    """Go on exactly where a run was paused: with new limits (`--max-steps 80`), more of them (`--max-steps +20`), or an instruction.

    Limits hold for the run and all its children together.
    """
    budget, extra = limits.budgets()
    async with connected() as client:
        answer = await client.resume(run_id, budget=budget, extra=extra, instruction=instruction, tools=tools, by=who(by))
        _print(answer, "was not paused", as_json=json)


async def cancel(*run_id: str, reason: Reason = "", by: By = "", json: AsJson = False) -> None:
    """End runs and their children. Once this returns nothing queued takes effect; a call that had started is still settled."""
    async with connected() as client:
        for one in some(run_id):
            _print(await client.cancel(one, reason=reason, by=who(by)), "cancelled already", as_json=json)


async def signal(
    run_id: str,
    name: str,
    /,
    *,
    payload: JsonText = "null",
    by: By = "",
    json: AsJson = False,
) -> None:
    """Hand something from outside to a run, which gets it where it awaits the signal NAME."""
    value = parse_json("--payload", payload)
    async with connected() as client:
        _print(await client.signal(run_id, name, value, by=who(by)), "received already", as_json=json)


async def resolve(
    run_id: str,
    call_id: str,
    outcome: Literal["completed", "not_done", "failed"],
    /,
    *,
    result: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="With 'completed': the call's result as JSON, @FILE, or -.")
    ] = None,
    reason: Reason = "",
    by: By = "",
    json: AsJson = False,
) -> None:
    """Settle a tool call that is in doubt. Find out first whether it took effect; Waypost does not guess.

    OUTCOME: completed (it took effect, with --result), not_done (it surely did not: it is tried again), failed (give it up).
    """
    value = parse_json("--result", result) if result is not None else UNSET
    async with connected() as client:
        answer = await client.resolve(run_id, call_id, outcome, result=value, reason=reason, by=who(by))
    _print(answer, "resolved already", as_json=json)


def _print(answer: RunAnswer, duplicate: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    say(f"{answer.run_id}  {answer.status}{f'  ({duplicate})' if answer.duplicate else ''}")
