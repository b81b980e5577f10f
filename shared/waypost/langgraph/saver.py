"""LangGraph's checkpointer over runs' logs: reads from the fold of a thread, writes items to it. Public LangGraph API only.

A thread is a run. Where threads come from and where items go is the port's affair: a run that executes, the log of one that is over, or
memory for a test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from typing import Any, Protocol, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from waypost.langgraph.thread import Saved, Thread
from waypost_proto import commands as cmd
from waypost_proto.errors import ContractError


class Threads(Protocol):
    """What a saver needs of whoever keeps the logs. `put` may be called from any thread, the others too."""

    def find(self, thread_id: str) -> Thread | None:
        """The thread, or None if there is none."""
        ...

    def open(self, thread_id: str) -> Thread:
        """The thread, made if there is none. Raises `ContractError` where none can be made."""
        ...

    def names(self) -> Collection[str]:
        """All threads."""
        ...

    def put(self, thread_id: str, item: cmd.SaveCheckpoint | cmd.SaveWrites) -> None:
        """See `BaseCheckpointSaver.put`."""
        """Record an item that was applied to the thread. Raises `ContractError` where nothing can be recorded."""
        ...

    async def stored(self, thread_id: str) -> None:
        """Return when everything that was put is stored, if the thread waits for that."""
        ...


class LogSaver(BaseCheckpointSaver[int]):
    """See the module. The synchronous methods do not wait for the store."""

    def __init__(self, threads: Threads, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=serde)
        self.threads = threads

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> LogSaver:  # noqa: ARG002 - threads have their serializer
        """Itself: what may be read back is decided by the serializer that the threads were made with."""
        return self

    # -- reading

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See `BaseCheckpointSaver.get_tuple`."""
        thread_id, namespace, checkpoint_id = _place(config)
        thread = self.threads.find(thread_id)
        space = thread.namespaces.get(namespace) if thread is not None else None
        if thread is None or space is None:
            return None
        saved = space.checkpoints.get(checkpoint_id or space.newest)
        return None if saved is None else _tuple(thread, thread_id, namespace, saved)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """See `BaseCheckpointSaver.list`."""
        wanted = config["configurable"] if config else {}
        until = get_checkpoint_id(before) if before else None
        names = [wanted["thread_id"]] if "thread_id" in wanted else list(self.threads.names())
        left = limit
        for thread_id in names:
            thread = self.threads.find(thread_id)
            for namespace, saved in thread.each() if thread is not None else ():
                if left is not None and left <= 0:
                    return
                if (
                    wanted.get("checkpoint_ns") not in (None, namespace)
                    or wanted.get("checkpoint_id") not in (None, "", saved.id)
                    or (until and saved.id >= until)
                    or any(saved.metadata.get(key) != value for key, value in (filter or {}).items())
                ):
                    continue
                left = None if left is None else left - 1
                assert thread is not None
                yield _tuple(thread, thread_id, namespace, saved)

    # -- writing

    def put(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        thread_id, namespace, parent = _place(config)
        thread = self.threads.open(thread_id)
        described: dict[str, Any] = dict(get_checkpoint_metadata(config, metadata))
        with thread.lock:
            self.threads.put(thread_id, thread.checkpoint(namespace, parent, checkpoint, described, new_versions))
        return _config(thread_id, namespace, checkpoint["id"])

    def put_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """See `BaseCheckpointSaver.put_writes`."""
        thread_id, namespace, checkpoint_id = _place(config)
        thread = self.threads.open(thread_id)
        numbered = [(WRITES_IDX_MAP.get(channel, index), channel, value) for index, (channel, value) in enumerate(writes)]
        with thread.lock:
            item = thread.task_writes(namespace, checkpoint_id, task_id, task_path, numbered)
            if item is not None:
                self.threads.put(thread_id, item)

    # -- taking back (not within runs)

    def delete_thread(self, thread_id: str) -> None:
        """See `BaseCheckpointSaver.delete_thread`."""
        self._forget(thread_id, lambda _namespace, _saved: True)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """See `BaseCheckpointSaver.delete_for_runs`."""
        gone = set(run_ids)
        for thread_id in list(self.threads.names()):
            self._forget(thread_id, lambda _namespace, saved: saved.metadata.get("run_id") in gone)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """What channels that keep only their changes (`DeltaChannel`) need stays, so nothing before a kept checkpoint's chain goes."""
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"strategy={strategy!r}: use 'keep_latest' or 'delete'")
        for thread_id in thread_ids:
            thread = self.threads.find(thread_id)
            if thread is None:
                continue
            newest = {name: space.newest for name, space in thread.namespaces.items()} if strategy == "keep_latest" else {}
            self._forget(thread_id, lambda namespace, saved, kept=newest: kept.get(namespace) != saved.id)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """See `BaseCheckpointSaver.copy_thread`."""
        source = self.threads.find(source_thread_id)
        if source is None:
            return
        target = self.threads.open(target_thread_id)
        for namespace, saved in sorted(source.each(), key=lambda pair: pair[1].id):
            found = _tuple(source, source_thread_id, namespace, saved)
            with target.lock:
                versions = {k: v for k, v in saved.versions.items() if k in found.checkpoint["channel_values"]}
                item = target.checkpoint(namespace, saved.parent, found.checkpoint, saved.metadata, versions)
                self.threads.put(target_thread_id, item)
            for write in source.writes_of(namespace, saved.id):
                with target.lock:
                    made = target.task_writes(
                        namespace, saved.id, write.task, write.path, [(write.index, write.channel, source.load(write))]
                    )
                    if made is not None:
                        self.threads.put(target_thread_id, made)

    def _forget(self, thread_id: str, wanted: Any) -> None:
        thread = self.threads.find(thread_id)
        if thread is None:
            return
        for namespace, saved in list(thread.each()):
            if wanted(namespace, saved):
                self.threads.put(thread_id, thread.forget(namespace, saved.id))

    # -- the same for coroutines

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See `BaseCheckpointSaver.aget_tuple`."""
        return self.get_tuple(config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """See `BaseCheckpointSaver.alist`."""
        for found in self.list(config, filter=filter, before=before, limit=limit):
            yield found

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        """See `BaseCheckpointSaver.aput`. Returns when the checkpoint is stored."""
        saved = self.put(config, checkpoint, metadata, new_versions)
        await self.threads.stored(config["configurable"]["thread_id"])
        return saved

    async def aput_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """See `BaseCheckpointSaver.aput_writes`."""
        self.put_writes(config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """See `BaseCheckpointSaver.adelete_thread`."""
        self.delete_thread(thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """See `BaseCheckpointSaver.adelete_for_runs`."""
        self.delete_for_runs(run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """See `BaseCheckpointSaver.acopy_thread`."""
        self.copy_thread(source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """See `BaseCheckpointSaver.aprune`."""
        self.prune(thread_ids, strategy=strategy)


def read_only(what: str) -> ContractError:
    """The error of a saver that only reads."""
    return ContractError(f"{what}: this saver only reads. A new run is started with `waypost.langgraph.fork(…)`")


def _place(config: RunnableConfig) -> tuple[str, str, str]:
    found = config["configurable"]
    return str(found["thread_id"]), found.get("checkpoint_ns") or "", get_checkpoint_id(config) or ""


def _config(thread_id: str, namespace: str, checkpoint_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}}


def _tuple(thread: Thread, thread_id: str, namespace: str, saved: Saved) -> CheckpointTuple:
    checkpoint = Checkpoint(
        v=saved.state.v,
        id=saved.id,
        ts=saved.state.ts,
        channel_values=thread.channel_values(namespace, saved),
        channel_versions=dict(saved.versions),
        versions_seen={node: dict(versions) for node, versions in saved.seen.items()},
        updated_channels=saved.state.updated,
    )
    return CheckpointTuple(
        config=_config(thread_id, namespace, saved.id),
        checkpoint=checkpoint,
        metadata=cast("CheckpointMetadata", saved.metadata),
        parent_config=_config(thread_id, namespace, saved.parent) if saved.parent else None,
        pending_writes=[(write.task, write.channel, thread.load(write)) for write in thread.writes_of(namespace, saved.id)],
    )


__all__ = ["LogSaver", "Threads", "read_only"]
