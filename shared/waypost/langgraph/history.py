"""Time travel: the checkpoints of any run, read from its log by a client, and a new run that begins at one of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.pregel import Pregel
from msgspec import UNSET, Raw

from waypost.langgraph.saver import LogSaver, read_only
from waypost.langgraph.thread import Thread
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.api import RunAnswer
from waypost_proto.codec import decode_union
from waypost_proto.errors import NotFound

if TYPE_CHECKING:
    from waypost.client import Client
    from waypost.langgraph.agent import LangGraphAgent

FORK = "waypost_fork"
"""The one field of the input of a run that begins at a checkpoint of another."""


class Fork(msgspec.Struct, frozen=True, kw_only=True):
    """Where such a run begins. `state` is a whole checkpoint, as `SaveCheckpoint.state` holds it."""

    run_id: str
    checkpoint: str
    state: Raw
    number: int = 0


class _Copy:
    """`Threads` of one thread in memory, whether it may be written or not."""

    def __init__(self, run_id: str, thread: Thread, *, writable: bool = False) -> None:
        self._run_id = run_id
        self._thread = thread
        self._writable = writable

    def find(self, thread_id: str) -> Thread | None:
        return self._thread if thread_id == self._run_id else None

    def open(self, thread_id: str) -> Thread:
        if not self._writable or thread_id != self._run_id:
            raise read_only(f"thread {thread_id!r}")
        return self._thread

    def names(self) -> Collection[str]:
        return (self._run_id,)

    def put(self, thread_id: str, item: cmd.SaveCheckpoint | cmd.SaveWrites) -> None:  # noqa: ARG002 - it is applied already
        if not self._writable:
            raise read_only(f"thread {thread_id!r}")

    async def stored(self, thread_id: str) -> None:
        """Nothing is."""


@dataclass(frozen=True, slots=True)
class Past:
    """A run's graph as it was: `graph.aget_state_history(config)`, `graph.aget_state({…checkpoint_id…})` and the like. It only reads."""

    graph: Pregel[Any, Any, Any, Any]
    config: RunnableConfig


async def past(client: Client, agent: LangGraphAgent, run_id: str) -> Past:
    """The checkpoints of a run, as they are now. Raises `NotFound` for a run that does not exist, or has no checkpoint yet."""
    thread = await _read(client, run_id, agent.serializer)
    graph = agent.compiled(LogSaver(_Copy(run_id, thread), serde=agent.serializer))
    return Past(graph, {"configurable": {"thread_id": run_id}})


async def fork(
    client: Client,
    agent: LangGraphAgent,
    run_id: str,
    checkpoint_id: str,
    *,
    update: Mapping[str, Any] | None = None,
    as_node: str | None = None,
    **options: Any,
) -> RunAnswer:
    """Start a new run of `agent` that goes on from a checkpoint of `run_id`, changed by `update` (`update_state`'s `values` and `as_node`).

    The other run is left as it is, and so is what its nodes have done after the checkpoint: the new run does it again. `options` are those
    of `Client.start`. What is in the state must be of types that may be read back from an input: LangGraph's and LangChain's own and plain
    values, or those that the agent's `serializer` allows. Raises `NotFound`, and what `Client.start` raises.
    """
    thread = await _read(client, run_id, agent.serializer)
    graph = agent.compiled(LogSaver(_Copy(run_id, thread, writable=True), serde=agent.serializer))
    config: RunnableConfig = {"configurable": {"thread_id": run_id, "checkpoint_ns": "", "checkpoint_id": checkpoint_id}}
    root = thread.namespaces.get("")
    if root is None or checkpoint_id not in root.checkpoints:
        raise NotFound(f"run {run_id} has no checkpoint {checkpoint_id!r}: `past(…)` lists those it has")
    if update is not None:
        changed = await graph.aupdate_state(config, dict(update), as_node=as_node)
        checkpoint_id = changed["configurable"]["checkpoint_id"]
    saver = LogSaver(_Copy(run_id, thread), serde=agent.serializer)
    found = saver.get_tuple({"configurable": {"thread_id": run_id, "checkpoint_ns": "", "checkpoint_id": checkpoint_id}})
    assert found is not None
    versions = {k: v for k, v in found.checkpoint["channel_versions"].items() if k in found.checkpoint["channel_values"]}
    metadata: dict[str, Any] = {**found.metadata, "source": "fork", "forked_from": run_id}
    whole = Thread(agent.serializer).checkpoint("", "", found.checkpoint, metadata, versions)
    assert isinstance(whole.state, Raw)
    beginning = Fork(run_id=run_id, checkpoint=checkpoint_id, state=whole.state, number=whole.number)
    return await client.start(agent.name, {FORK: beginning}, **options)


def fork_of(body: bytes) -> Fork | None:
    """The fork that a run's input says it begins with."""
    if FORK.encode() not in body[:64]:
        return None
    try:
        return msgspec.json.decode(body, type=dict[str, Fork]).get(FORK)
    except msgspec.DecodeError:
        return None


def serializer_of_forks(agent: LangGraphAgent) -> SerializerProtocol:
    """What a fork's state is read with: it comes from whoever may start runs, so only known types are made from it."""
    return agent.serializer if agent.own_serializer else JsonPlusSerializer(allowed_msgpack_modules=None)


def first_checkpoint(beginning: Fork, seen: int) -> cmd.SaveCheckpoint:
    """The checkpoint that such a run begins with, for its own log."""
    return cmd.SaveCheckpoint(
        seen=seen, checkpoint=beginning.checkpoint, number=beginning.number, source="fork", state=Raw(bytes(beginning.state))
    )


async def _read(client: Client, run_id: str, serializer: SerializerProtocol) -> Thread:
    thread = Thread(serializer)
    async for event in client.events(run_id):
        if event.type in ("checkpoint_saved", "writes_saved"):
            data: ev.AnyData = decode_union(ev.AnyData, event.data)
            assert isinstance(data, ev.CheckpointSaved | ev.WritesSaved)
            value, ref = (data.state, data.state_ref) if isinstance(data, ev.CheckpointSaved) else (data.writes, data.writes_ref)
            body = await client.payload(ref) if ref is not UNSET else b"{}" if value is UNSET else bytes(value)
            thread.fold(data, body)
    if not thread.namespaces:
        raise NotFound(f"run {run_id} has no checkpoint: it is no run of a graph, or has not begun")
    return thread


__all__ = ["FORK", "Fork", "Past", "first_checkpoint", "fork", "fork_of", "past", "serializer_of_forks"]
