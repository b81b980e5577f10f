"""Dead letters: `dead.list`, `dead.show`, `dead.redrive`, `dead.discard`. They are rows, so a wiped broker keeps them."""

from __future__ import annotations

from waypost_coordinator.api.exchange import bounded, read
from waypost_coordinator.api.ports import Api
from waypost_io.bus.ports import Message
from waypost_proto.api import DeadDetail, DeadList, DeadPage, DeadRef, DeadView
from waypost_proto.subjects import Subjects

MAX_DEAD = 500
SHOWN_BYTES = 256 * 1024
"""What `dead.show` carries of a body: base64 makes a third more of it, and the answer is one message."""
_STORED_MAIL_TOKENS = 6


async def list_dead(api: Api, message: Message) -> DeadPage:
    """`dead.list`: oldest first, after an id."""
    request = read(DeadList, message.body)
    limit = bounded(request.limit, MAX_DEAD)
    found = await api.store.dead.list(after=request.after, limit=limit)
    return DeadPage(dead=found, next_after=found[-1].dead_id if len(found) == limit else None)


async def show(api: Api, message: Message) -> DeadDetail:
    """`dead.show`: one dead letter with the first `SHOWN_BYTES` of its original bytes. Raises `NotFound`."""
    request = read(DeadRef, message.body)
    view, subject, body, headers = await api.store.dead.get(request.dead_id)
    return DeadDetail(view=view, subject=subject, headers=headers, body=body[:SHOWN_BYTES])


async def redrive(api: Api, message: Message) -> DeadView:
    """`dead.redrive`: publish the original bytes to the original subject, then remove the row. Raises `NotFound`.

    Idempotent by the dead letter's id (it is the message id): a repeat after a lost answer publishes nothing new within the
    stream's duplicate window, and whoever handles the message tolerates a second delivery after it.
    """
    request = read(DeadRef, message.body)
    view, subject, body, headers = await api.store.dead.get(request.dead_id)
    kept = {name: value for name, value in headers.items() if not name.lower().startswith("nats-")}
    await api.bus.publish(as_published(api.subjects, subject), body, headers=kept, msg_id=f"redrive-{view.dead_id}")
    await api.store.dead.remove(view.dead_id)
    return view


async def discard(api: Api, message: Message) -> DeadView:
    """`dead.discard`: remove it for good. Raises `NotFound`."""
    request = read(DeadRef, message.body)
    view, _, _, _ = await api.store.dead.get(request.dead_id)
    await api.store.dead.remove(request.dead_id)
    return view


def as_published(subjects: Subjects, stored: str) -> str:
    """The subject a message was published to: the mailbox stream put a partition into it, which its senders never name."""
    tokens = stored.split(".")
    if len(tokens) == _STORED_MAIL_TOKENS and tokens[:2] == [subjects.prefix, "mailbox"] and tokens[2].isdigit():
        del tokens[2]
    return ".".join(tokens)
