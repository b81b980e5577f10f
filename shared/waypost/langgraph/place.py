"""Where in a graph a call comes from: which task asks, under a name that is the same when the task runs again. Public API only."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, NamedTuple

from langgraph.config import get_config
from langgraph.runtime import get_runtime


class Place(NamedTuple):
    """`task` names the task for ever, `task_id` is LangGraph's id of it in this execution; both "" outside of tasks.

    `anchor` is the checkpoint (namespace and id) that the task's id follows from, in a subgraph; it must be in the log before what the
    task asks for: otherwise the graph would make another one when it runs again, and the task would be another.
    """

    task: str = ""
    task_id: str = ""
    attempt: int = 1
    anchor: tuple[str, str] | None = None


def here(namespaces: Container[str], metadata: Mapping[str, Any] | None = None) -> Place:
    """The task that the current code belongs to. `namespaces` are those of graphs whose checkpoints are kept.

    A namespace is `node:task|node:task…`. Ids of tasks follow from checkpoints, so they stay the same where checkpoints are kept; in
    a subgraph without (`checkpointer=False`) the node's name and the step stand for them.
    """
    if not metadata or "langgraph_checkpoint_ns" not in metadata:
        try:
            metadata = get_config().get("metadata", {})
        except RuntimeError:
            return Place()
    namespace = str(metadata.get("langgraph_checkpoint_ns", ""))
    if not namespace:
        return Place()
    segments = namespace.split("|")
    known = [
        segment if at == 0 or "|".join(segments[:at]) in namespaces else segment.partition(":")[0] for at, segment in enumerate(segments)
    ]
    if known[-1] != segments[-1]:
        known[-1] += f"@{metadata.get('langgraph_step', 0)}"
    return Place("|".join(known), segments[-1].rpartition(":")[2], _attempt(), _anchor("|".join(segments[:-1])))


def _anchor(namespace: str) -> tuple[str, str] | None:
    try:
        known = get_config()["configurable"].get("checkpoint_map", {})
    except (RuntimeError, KeyError):
        return None
    return (namespace, known[namespace]) if namespace and namespace in known else None


def _attempt() -> int:
    try:
        info = get_runtime().execution_info
    except (RuntimeError, KeyError):
        return 1
    return info.node_attempt if info is not None else 1


__all__ = ["Place", "here"]
