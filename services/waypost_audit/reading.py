"""Whether the log that is there can be appended to: its tree, and that it agrees with its own newest head."""

from __future__ import annotations

from waypost_core.audit.growing import GrowingTree
from waypost_core.audit.heads import parse_head
from waypost_core.audit.notes import BadNote
from waypost_io.audit.tree import read_root, read_tree
from waypost_io.store.ports import Audit, HeadRow
from waypost_proto.errors import NotFound, PermanentError


class LogBroken(PermanentError):
    """The audit log contradicts what was signed over it: it was changed, cut off, or restored from an old copy."""


async def begin(audit: Audit, size: int) -> tuple[GrowingTree, HeadRow | None]:
    """The tree of `size` leaves and the newest head. Raises `LogBroken`, `TransientError`."""
    newest = await audit.newest_head()
    try:
        tree = await read_tree(audit, size)
        if newest is not None:
            await _check(audit, size, newest)
    except NotFound as error:
        raise LogBroken(str(error)) from error
    return tree, newest


async def _check(audit: Audit, size: int, newest: HeadRow) -> None:
    try:
        head, _ = parse_head(newest.note)
    except BadNote as error:
        raise LogBroken(f"the newest head cannot be read: {error}") from error
    if head.size != newest.size:
        raise LogBroken(f"the newest head is of {head.size} leaves and was stored as one of {newest.size}")
    if head.size > size:
        raise LogBroken(f"the newest head covers {head.size} leaves, the log has {size}: its end is missing")
    if await read_root(audit, head.size) != head.root:
        raise LogBroken(f"the log's first {head.size} leaves have another root than the head that was signed over them")
