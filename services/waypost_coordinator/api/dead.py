"""Dead letters: `dead.list`, `dead.show`, `dead.redrive`, `dead.discard`. They are rows, so a wiped broker keeps them."""

from __future__ import annotations

import contextlib

from waypost_coordinator.api.exchange import bounded, read
from waypost_coordinator.api.ports import Api
from waypost_io.bus.ports import Message
from waypost_proto.api import DeadDetail, DeadList, DeadPage, DeadRef, DeadView
from waypost_proto.errors import BadInput, NotFound
from waypost_proto.ids import parse_run_id
from waypost_proto.subjects import Subjects

MAX_DEAD = 500
MAX_LOOKS = 20
"""Pages that are read for one of a caller who may see few of them; what is left comes with the next page."""
SHOWN_BYTES = 256 * 1024
"""What `dead.show` carries of a body: base64 makes a third more of it, and the answer is one message."""
_STORED_MAIL_TOKENS = 6


async def list_dead(api: Api, message: Message) -> DeadPage:
    """`dead.list`: oldest first, after an id."""
    request = read(DeadList, message.body)
    limit = bounded(request.limit, MAX_DEAD)
    found: list[DeadView] = []
    after: int | None = request.after
    for _ in range(MAX_LOOKS):
        page = await api.store.dead.list(after=after or 0, limit=limit)
        found += [view for view in page if await _theirs(api, view)]
        after = page[-1].dead_id if len(page) == limit else None
        if after is None or len(found) >= limit:
            break
    if len(found) > limit:
        found, after = found[:limit], found[limit - 1].dead_id
    return DeadPage(dead=found, next_after=after)


async def show(api: Api, message: Message) -> DeadDetail:
    """`dead.show`: one dead letter with the first `SHOWN_BYTES` of its original bytes. Raises `NotFound`."""
    request = read(DeadRef, message.body)
    view, subject, body, headers = await _existing(api, request.dead_id)
    return DeadDetail(view=view, subject=subject, headers=headers, body=body[:SHOWN_BYTES])


async def redrive(api: Api, message: Message) -> DeadView:
    """`dead.redrive`: publish the original bytes to the original subject, then remove the row. Raises `NotFound`.

    Idempotent by the dead letter's id (it is the message id): a repeat after a lost answer publishes nothing new within the
    stream's duplicate window, and whoever handles the message tolerates a second delivery after it.
    """
    request = read(DeadRef, message.body)
    view, subject, body, headers = await _existing(api, request.dead_id)
    kept = {name: value for name, value in headers.items() if not name.lower().startswith("nats-")}
    await api.bus.publish(as_published(api.subjects, subject), body, headers=kept, msg_id=f"redrive-{view.dead_id}")
    await api.store.dead.remove(view.dead_id)
    return view


async def discard(api: Api, message: Message) -> DeadView:
    """`dead.discard`: remove it for good. Raises `NotFound`."""
    request = read(DeadRef, message.body)
    view, _, _, _ = await _existing(api, request.dead_id)
    await api.store.dead.remove(request.dead_id)
    return view


async def _existing(api: Api, dead_id: int) -> tuple[DeadView, str, bytes, dict[str, str]]:
    """The dead letter. Raises `NotFound`, in the same words for one that is not the caller's."""
    found = await api.store.dead.get(dead_id)
    if not await _theirs(api, found[0]):
        raise NotFound(f"no dead letter {dead_id}; `waypost dead list` shows those there are")
    return found


async def _theirs(api: Api, view: DeadView) -> bool:
    """Whether it is of a run of the caller's. What belongs to no run is the installation's own."""
    if api.caller.bound_to is None and not api.caller.agents:
        return True
    of_run = None
    if view.run_id is not None:
        with contextlib.suppress(BadInput):  # a dead letter may name anything
            of_run = await api.belongings.of(api.store.reads, parse_run_id(view.run_id))
    return api.caller.of_the_house if of_run is None else api.caller.sees(*of_run)


def as_published(subjects: Subjects, stored: str) -> str:
    """The subject a message was published to: the mailbox stream put a partition into it, which its senders never name."""
    tokens = stored.split(".")
    if len(tokens) == _STORED_MAIL_TOKENS and tokens[:2] == [subjects.prefix, "mailbox"] and tokens[2].isdigit():
        del tokens[2]
    return ".".join(tokens)
