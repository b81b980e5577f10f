"""`waypost dead list|show|redrive|discard`: what could not be processed, kept until someone decides."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from waypost_cli.connect import connected
from waypost_cli.options import AsJson
from waypost_cli.output import ago, print_facts, print_json, print_table, say
from waypost_proto.api import DeadDetail, DeadList, DeadPage, DeadRef, DeadView
from waypost_proto.errors import BadInput

_PAGE = 200


async def list_dead(*, limit: Annotated[int, Parameter(help="At most so many; 100 if not given.")] = 100, json: AsJson = False) -> None:
    """List messages that could not be processed, oldest first, each with its reason."""
    found: list[DeadView] = []
    after: int | None = 0
    async with connected() as client:
        while after is not None and len(found) < limit:
            request = DeadList(after=after, limit=min(_PAGE, limit - len(found)))
            page = await client.call("dead.list", request, DeadPage)
            found += page.dead
            after = page.next_after
    if json:
        print_json(found)
        return
    rows = ([str(d.dead_id), d.origin, ago(d.at), str(d.size), d.run_id or "", d.reason, d.excerpt] for d in found)
    print_table(["ID", "FROM", "WHEN", "BYTES", "RUN", "REASON", "BEGINS"], rows, empty="no dead letters")


async def show(
    dead_id: int,
    /,
    *,
    raw: Annotated[bool, Parameter(name="--raw", help="Print the original bytes and nothing else.")] = False,
    json: AsJson = False,
) -> None:
    """Show one dead letter: where it came from, why it failed, its headers and its original bytes."""
    async with connected() as client:
        found = await client.call("dead.show", DeadRef(dead_id=dead_id), DeadDetail)
    if raw:
        sys.stdout.buffer.write(found.body)
        return
    if json:
        print_json(found)
        return
    headers = [(f"  {name}", value) for name, value in sorted(found.headers.items())]
    print_facts(
        [
            ("id", str(found.view.dead_id)),
            ("subject", found.subject),
            ("reason", found.view.reason),
            ("when", f"{found.view.at} ({ago(found.view.at)})"),
            ("run", found.view.run_id or ""),
            ("bytes", str(found.view.size)),
            *headers,
        ]
    )
    say(found.body.decode("utf-8", "replace"))


async def redrive(*dead_id: int, json: AsJson = False) -> None:
    """Publish the original bytes to the original subject again, then remove the dead letters. Mend the cause first."""
    await _settle("dead.redrive", "published again", dead_id, as_json=json)


async def discard(*dead_id: int, json: AsJson = False) -> None:
    """Remove dead letters for good."""
    await _settle("dead.discard", "discarded", dead_id, as_json=json)


async def _settle(endpoint: str, done: str, dead_ids: tuple[int, ...], *, as_json: bool) -> None:
    if not dead_ids:
        raise BadInput("name at least one dead letter by its id; `waypost dead list` shows them")
    async with connected() as client:
        for dead_id in dead_ids:
            view = await client.call(endpoint, DeadRef(dead_id=dead_id), DeadView)
            if as_json:
                print_json(view)
            else:
                say(f"{dead_id}  {done}")
