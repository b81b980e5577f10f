"""`waypost runs explain`: what a run was asked, what it did, what it waited for, and why it ended; from its log alone."""

from __future__ import annotations

import sys
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from waypost_cli.connect import connected
from waypost_cli.options import AsJson
from waypost_cli.output import clean, print_json, say
from waypost_proto.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from waypost.client import Client
    from waypost_core.chronicle import Account, Chronicle
    from waypost_core.tracing import Capture
    from waypost_proto.events import Event

Content = Literal["none", "intent", "all"]
MAX_TREE = 1_000
"""Runs that `--children` explains at most."""


async def explain(
    run_id: str = "",
    /,
    *,
    children: Annotated[bool, Parameter(name="--children", help="Explain its child runs, and theirs, too.")] = False,
    markdown: Annotated[bool, Parameter(name="--markdown", help="Markdown instead of text: for a ticket or a review.")] = False,
    content: Annotated[Content | None, Parameter(help="What of contents to show; WAYPOST_TRACES_CONTENT, or all.")] = None,
    log: Annotated[str, Parameter(help="Read the events from this file (lines of `runs events --json`; - is standard input).")] = "",
    json: AsJson = False,
) -> None:
    """Tell a run: what was asked and by whom, each decision, tool, result, wait, retry, approval and pause, what it cost, why it ended.

    Of a run that goes on: what it waits for now, and what one can do. Everything comes from the run's log. Arguments and results pass the
    operator's redaction (WAYPOST_TRACES_HIDE_KEYS, WAYPOST_TRACES_REDACT), as in traces.
    """
    capture = _capture(content)
    if log:
        told = list(from_log(_lines(log), run_id, capture).values())
        accounts = [one.account() for one in (told if children or not run_id else told[:1])]
    elif not run_id:
        raise BadInput("name a run; `waypost runs list` shows them")
    else:
        async with connected() as client:
            accounts = await explained(client, run_id, capture, children=children)
    print_accounts(accounts, as_json=json, as_markdown=markdown, nested=children)


def print_accounts(accounts: list[Account], *, as_json: bool, as_markdown: bool, nested: bool) -> None:
    """All of them, the first one's children below it. JSON is one account, or with `nested` a list."""
    from waypost_core.chronicle import markdown, tell

    if as_json:
        print_json(accounts if nested else accounts[0])
        return
    now = datetime.now(UTC)
    for number, account in enumerate(accounts):
        if number:
            say("")
        text = markdown(account, now).removesuffix("\n") if as_markdown else "\n".join(tell(account, now))
        say("\n".join(map(clean, text.split("\n"))))


async def explained(client: Client, run_id: str, capture: Capture, *, children: bool) -> list[Account]:
    """The account of a run, and of what it started."""
    from waypost_core.chronicle import Chronicle
    from waypost_proto.ids import parse_run_id

    accounts: list[Account] = []
    todo = [run_id]
    while todo and len(accounts) < MAX_TREE:
        tale = Chronicle(parse_run_id(todo.pop(0)), capture)
        async with aclosing(client.events(tale.run_id)) as events:
            async for event in events:
                tale.feed(event)
        if not tale.seq:  # a child that was asked for and has not begun
            continue
        accounts.append(tale.account())
        if children:
            todo += [entry.child_run for entry in tale.entries if entry.child_run]
    return accounts


def from_log(lines: Iterable[bytes], run_id: str, capture: Capture) -> dict[str, Chronicle]:
    """The runs of a file of events, `run_id` first if given. Raises `BadInput` for a file that is no log of whole runs."""
    from waypost_core.chronicle import Chronicle
    from waypost_proto.codec import decode
    from waypost_proto.errors import BadMessage
    from waypost_proto.events import Event

    told: dict[str, Chronicle] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event: Event = decode(Event, line)
            told.setdefault(event.run_id, Chronicle(event.run_id, capture)).feed(event)
        except (BadMessage, ValueError) as error:
            raise BadInput(f"--log, line {number}: {error}; `waypost runs events RUN --json` writes such a file") from error
    if run_id and run_id not in told:
        raise BadInput(f"--log has no event of run {run_id}" if told else "--log has no events")
    if not told:
        raise BadInput("--log has no events; `waypost runs events RUN --json` writes such a file")
    return {run_id: told.pop(run_id), **told} if run_id else told


def _lines(path: str) -> list[bytes]:
    if path == "-":
        return sys.stdin.buffer.read().splitlines()
    try:
        return Path(path).expanduser().read_bytes().splitlines()
    except OSError as error:
        raise BadInput(f"--log: cannot read {path!r}: {error.strerror or error}") from error


def _capture(content: Content | None) -> Capture:
    """The operator's redaction; contents as asked for, else as WAYPOST_TRACES_CONTENT says where it is set, else all."""
    import os

    from waypost_io.trace_content import capture_of

    if content is None and os.environ.get("WAYPOST_TRACES_CONTENT", "").strip():
        return capture_of()
    return capture_of({**os.environ, "WAYPOST_TRACES_CONTENT": content or "all"})
