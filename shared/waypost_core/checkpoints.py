"""Checkpoints of graphs on the log: kept as they come. Nothing is decided by them, and the folded state does not hold them. Pure."""

from __future__ import annotations

from waypost_proto import commands as cmd
from waypost_proto import events as ev


def saved(item: cmd.SaveCheckpoint | cmd.SaveWrites) -> ev.CheckpointSaved | ev.WritesSaved:
    """The event of an item. It is no step: it takes nothing from any limit."""
    if isinstance(item, cmd.SaveCheckpoint):
        return ev.CheckpointSaved(
            seen=item.seen,
            checkpoint=item.checkpoint,
            namespace=item.namespace,
            parent=item.parent,
            number=item.number,
            source=item.source,
            state=item.state,
            state_ref=item.state_ref,
        )
    return ev.WritesSaved(
        seen=item.seen,
        checkpoint=item.checkpoint,
        namespace=item.namespace,
        task=item.task,
        writes=item.writes,
        writes_ref=item.writes_ref,
    )


__all__ = ["saved"]
