"""`waypost runs events` and `watch`: a run as it happens."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from msgspec import UNSET

from waypost_cli.connect import connected
from waypost_cli.event_lines import line_of
from waypost_cli.exits import FAILED
from waypost_cli.options import AsJson, some
from waypost_cli.output import console, note, print_json_line, say
from waypost_cli.tokens_shown import show_tokens
from waypost_proto.api import RunView
from waypost_proto.errors import BadInput
from waypost_proto.events import Event
from waypost_proto.values import RunStatus

if TYPE_CHECKING:
    from waypost.client import Client
    from waypost_cli.watched import Board, Screen


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
    *run_id: str,
    tokens: Annotated[
        bool, Parameter(name=["--tokens", "-t"], help="What models and graphs write, as it arrives, instead of the tree.")
    ] = False,
    plain: Annotated[bool, Parameter(name="--plain", help="A line an event instead of the tree, on a terminal too.")] = False,
    children: Annotated[bool, Parameter(name="--children", negative="--no-children", help="Follow child runs too (the default).")] = True,
    json: AsJson = False,
) -> int:
    """Follow runs live until they end: a tree of what they do and wait for, with their children; then each result.

    Without a terminal it is a line an event; with --json one event (or, with --tokens, one item) a line. Lost connections are outlived.
    Exit 1 if a run fails or is cancelled.
    """
    runs = some(run_id)
    async with connected() as client:
        if tokens:
            if len(runs) > 1:
                raise BadInput("--tokens follows one run at a time")
            return await show_tokens(client, runs[0], as_json=json)
        if json:
            board = await follow(client, runs, _JsonScreen(), children=children)
            done = all(board.runs[one].status == RunStatus.COMPLETED for one in board.roots)
            return 0 if done else FAILED
        codes = [
            await finished(client, view, as_json=False, named=len(runs) > 1)
            for view in await follow_to_end(client, runs, quiet=False, plain=plain, children=children)
        ]
    return max(codes)


class _JsonScreen:
    """Every event as a line of JSON."""

    def event(self, event: Event) -> None:
        print_json_line(event)

    def changed(self) -> None:
        """Trouble is for people."""


async def follow(client: Client, runs: Sequence[str], screen: Screen, *, children: bool = True, board: Board | None = None) -> Board:
    """Follow runs to their end, showing them on `screen`; what is known of them then. Raises `NotFound`, `Unreachable`."""
    from waypost_cli.watched import Board, Follower
    from waypost_io.trace_content import capture_of

    if board is None:
        board = Board(list(runs), capture_of({**os.environ, "WAYPOST_TRACES_CONTENT": "all"}), children=children)
    await Follower(client, board, screen.event, screen.changed).run()
    return board


async def follow_to_end(client: Client, runs: Sequence[str], *, quiet: bool, plain: bool = False, children: bool = True) -> list[RunView]:
    """Show runs on standard error until they have ended: as a tree on a terminal, as lines elsewhere; how each ended."""
    from waypost_cli.watched import Board, LineScreen, TreeScreen
    from waypost_io.trace_content import capture_of

    err = console(to_stderr=True)
    board = Board(list(runs), capture_of({**os.environ, "WAYPOST_TRACES_CONTENT": "all"}), children=children and not quiet)
    if quiet:
        await follow(client, runs, _Silence(), board=board)
    elif plain or not err.is_terminal:
        await follow(client, runs, LineScreen(err, board), board=board)
    else:
        tree = TreeScreen(err, board)
        async with tree.shown():
            await follow(client, runs, tree, board=board)
    return [await client.get(one) for one in board.roots]


class _Silence:
    """Shows nothing."""

    def event(self, event: Event) -> None:
        """Nothing."""

    def changed(self) -> None:
        """Nothing."""


async def finished(client: Client, view: RunView, *, as_json: bool, named: bool = False) -> int:
    """Print the outcome of a run that has ended: its result on standard output (`named`: after its id); the exit code."""
    result: Any = None
    if view.result_ref is not UNSET:
        result = await client.payload(view.result_ref)
    elif view.result is not UNSET:
        result = bytes(view.result)
    if as_json:
        print_json_line(view)
    elif view.status == RunStatus.COMPLETED:
        say(f"{f'{view.run_id}  ' if named else ''}{result.decode() if result is not None else 'null'}")
    else:
        why = f": {view.error.type}: {view.error.message}" if view.error is not None else ""
        note(f"waypost: run {view.run_id} {view.status}{why}")
    return 0 if view.status == RunStatus.COMPLETED else FAILED
