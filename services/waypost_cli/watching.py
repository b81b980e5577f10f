"""`waypost runs events` and `watch`: a run as it happens."""

from __future__ import annotations

from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from msgspec import UNSET

from waypost_cli.connect import connected
from waypost_cli.event_lines import line_of
from waypost_cli.exits import FAILED
from waypost_cli.options import AsJson
from waypost_cli.output import console, note, print_json_line, say
from waypost_cli.tokens_shown import show_tokens
from waypost_proto.api import RunView
from waypost_proto.values import RunStatus

if TYPE_CHECKING:
    from waypost.client import Client


async def events(
    run_id: str,
    /,
    *,
    after: Annotated[int, Parameter(help="Only events with a larger number.")] = 0,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], help="Go on until the run ends.")] = False,
    json: AsJson = False,
) -> None:
    """Print the events of a run, oldest first; with --json one stored event a line."""
    async with connected() as client, aclosing(client.events(run_id, after=after, follow=follow)) as stream:
        async for event in stream:
            if json:
                print_json_line(event)
            else:
                say(line_of(event))


async def watch(
    run_id: str,
    /,
    *,
    tokens: Annotated[
        bool, Parameter(name=["--tokens", "-t"], help="What models and graphs write, as it arrives, instead of the events.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Follow a run live until it ends: each event as it happens, and what the run waits for.

    With --json one event (or, with --tokens, one item) a line. Exit 1 if the run fails or is cancelled.
    """
    async with connected() as client:
        if tokens:
            return await show_tokens(client, run_id, as_json=json)
        if json:
            await events_to_stdout(client, run_id)
            view = await client.get(run_id)
        else:
            view = await follow_to_end(client, run_id, quiet=False)
            return await finished(client, view, as_json=False)
    return 0 if view.status == RunStatus.COMPLETED else FAILED


async def events_to_stdout(client: Client, run_id: str) -> None:
    """Every event as a line of JSON until the run has ended."""
    async with aclosing(client.events(run_id, follow=True)) as stream:
        async for event in stream:
            print_json_line(event)


async def follow_to_end(client: Client, run_id: str, *, quiet: bool) -> RunView:
    """Show events on standard error until the run has ended, and on a terminal a last line with what it waits for."""
    screen = console(to_stderr=True)
    live: Any = nullcontext() if quiet or not screen.is_terminal else screen.status("")
    with live as status:
        async with aclosing(client.events(run_id, follow=True)) as stream:
            async for event in stream:
                if quiet:
                    continue
                screen.print(line_of(event), markup=False)
                if status is not None and event.type in _WORTH_A_LOOK:
                    view = await client.get(run_id)
                    status.update(f"{view.status}: {view.waiting_for}" if view.waiting_for else view.status)
    return await client.get(run_id)


_WORTH_A_LOOK = frozenset(
    {
        "run_started",
        "run_advanced",
        "tool_call_requested",
        "tool_attempt_failed",
        "tool_call_in_doubt",
        "approval_requested",
        "approval_granted",
        "child_requested",
        "signal_awaited",
        "timer_started",
        "run_paused",
        "run_resumed",
        "run_ending",
    }
)
"""Events after which what a run waits for is likely to have changed."""


async def finished(client: Client, view: RunView, *, as_json: bool) -> int:
    """Print the outcome of a run that has ended: its result on standard output; the exit code."""
    result: Any = None
    if view.result_ref is not UNSET:
        result = await client.payload(view.result_ref)
    elif view.result is not UNSET:
        result = bytes(view.result)
    if as_json:
        print_json_line(view)
    elif view.status == RunStatus.COMPLETED:
        say(result.decode() if result is not None else "null")
    else:
        why = f": {view.error.type}: {view.error.message}" if view.error is not None else ""
        note(f"waypost: run {view.run_id} {view.status}{why}")
    return 0 if view.status == RunStatus.COMPLETED else FAILED
