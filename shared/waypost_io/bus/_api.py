"""Administration of JetStream by its JSON API: streams and consumers as they must be. Owns no state.

Everything here is idempotent: creating what is there compares it, deleting what is not there is done.
Requests and error codes: nats-server `server/jetstream_api.go`, `server/errors.json`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from waypost_io.bus._connection import Connection, NobodyListens
from waypost_io.bus.ports import ConsumerLoad, ConsumerSpec, StreamLoad, StreamMark, StreamSpec
from waypost_proto.errors import Misconfigured, NotFound, TransientError, Unreachable
from waypost_proto.registry import ConsumerAsked, ConsumerTold

API_SECONDS = 5.0
"""How long one administrative request may take."""

_STREAM_NOT_FOUND, _CONSUMER_NOT_FOUND = 10059, 10014
_STREAM_DIFFERS, _CONSUMER_DIFFERS = 10058, 10148
_NOT_ENABLED = (10039, 10076)
"""JSNotEnabledForAccount, JSNotEnabled: they say 503 like what passes by itself, and do not."""
_CONSUMER_STORE = 10012
"""JSConsumerCreateErrF: the server could not make the consumer's files. What a caller asks wrongly has codes of its own."""
_STORAGE_STAYS = "storage type can not be updated"
"""What a server says of a consumer that lies elsewhere (err 10012). It serves as it is, so it is left there."""
_NO_ROOM = ("no space left", "error creating store")
"""In what a server says whose disk is full."""
MAX_CONSUMER_PAGES = 16
"""Of 256 consumers each, of which `load` tells."""
_FIXED = ("storage", "retention")
"""Settings of a stream that the server cannot change in place (err 10052)."""


class _Error(Struct, frozen=True):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _StreamState(Struct, frozen=True):
    last_seq: int = 0
    subjects: dict[str, int] | None = None
    messages: int = 0
    bytes: int = 0


class _ConsumerFilter(Struct, frozen=True):
    filter_subject: str = ""


class _ConsumerInfo(Struct, frozen=True):
    name: str = ""
    config: _ConsumerFilter = _ConsumerFilter()
    num_pending: int = 0
    num_ack_pending: int = 0


class _Reply(Struct, frozen=True):
    """What is read of any answer."""

    error: _Error | None = None
    config: dict[str, Any] = {}
    created: str = ""
    state: _StreamState = _StreamState()
    purged: int = 0
    total: int = 0
    consumers: list[_ConsumerInfo] | None = None


class JetStreamApi:
    """The administrative requests of one connection. Each raises `Unreachable` when JetStream does not answer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # -- streams

    async def ensure_stream(self, spec: StreamSpec) -> StreamMark:
        """See `Bus.ensure_stream`."""
        wanted = stream_config(spec)
        reply = await self._ask(f"STREAM.CREATE.{spec.name}", wanted)
        if reply.error is not None and reply.error.err_code == _STREAM_DIFFERS:
            reply = await self._update_stream(spec.name, wanted)
        if reply.error is not None:
            raise _refused(f"stream {spec.name!r}", reply.error)
        return _mark(spec.name, reply)

    async def _update_stream(self, name: str, wanted: dict[str, Any]) -> _Reply:
        found = await self._ask(f"STREAM.INFO.{name}", None)
        if found.error is not None:
            return found
        different = {key: (found.config.get(key), value) for key, value in wanted.items() if found.config.get(key) != value}
        fixed = [f"{key} is {different[key][0]!r} and must be {different[key][1]!r}" for key in _FIXED if key in different]
        if fixed:
            raise Misconfigured(
                f"stream {name!r} exists with settings that cannot be changed in place: {'; '.join(fixed)}. "
                "Move its messages elsewhere and delete it, or use another prefix"
            )
        return await self._ask(f"STREAM.UPDATE.{name}", {**found.config, **wanted})

    async def stream_mark(self, name: str) -> StreamMark | None:
        """See `Bus.stream_mark`."""
        reply = await self._ask(f"STREAM.INFO.{name}", None)
        if reply.error is None:
            return _mark(name, reply)
        if reply.error.err_code == _STREAM_NOT_FOUND:
            return None
        raise _refused(f"stream {name!r}", reply.error)

    async def purge(self, stream: str, subject: str | None) -> int:
        """See `Bus.purge`."""
        reply = await self._ask(f"STREAM.PURGE.{stream}", {} if subject is None else {"filter": subject})
        if reply.error is None:
            return reply.purged
        if reply.error.err_code == _STREAM_NOT_FOUND:
            return 0
        raise _refused(f"purge of {stream!r}", reply.error)

    async def subjects(self, stream: str, subject: str) -> dict[str, int]:
        """See `Bus.subjects`. The server answers with so many at a time (100,000 in 2.15)."""
        found: dict[str, int] = {}
        while True:
            reply = await self._ask(f"STREAM.INFO.{stream}", {"subjects_filter": subject, "offset": len(found)})
            if reply.error is not None and reply.error.err_code != _STREAM_NOT_FOUND:
                raise _refused(f"subjects of {stream!r}", reply.error)
            page = reply.state.subjects or {}
            found |= page
            if not page or len(found) >= reply.total:
                return found

    async def load(self, stream: str) -> StreamLoad | None:
        """See `Bus.load`."""
        reply = await self._ask(f"STREAM.INFO.{stream}", None)
        if reply.error is not None:
            if reply.error.err_code == _STREAM_NOT_FOUND:
                return None
            raise _refused(f"stream {stream!r}", reply.error)
        found: list[_ConsumerInfo] = []
        for _ in range(MAX_CONSUMER_PAGES):
            page = await self._ask(f"CONSUMER.LIST.{stream}", {"offset": len(found)})
            if page.error is not None and page.error.err_code != _STREAM_NOT_FOUND:
                raise _refused(f"consumers of {stream!r}", page.error)
            found += page.consumers or []
            if not page.consumers or len(found) >= page.total:
                break
        return StreamLoad(
            name=stream,
            messages=reply.state.messages,
            bytes=reply.state.bytes,
            max_bytes=max(reply.config.get("max_bytes", 0), 0),
            consumers=tuple(
                ConsumerLoad(name=one.name, filter_subject=one.config.filter_subject, pending=one.num_pending, unacked=one.num_ack_pending)
                for one in found
            ),
        )

    # -- consumers

    async def ensure_consumer(self, spec: ConsumerSpec) -> None:
        """See `Bus.ensure_consumer`."""
        if self._connection.tuning.consumers_subject:
            if await self._asked(spec.stream, spec.name, ack_wait_seconds=spec.ack_wait_seconds) is None:
                raise NotFound(f"stream {spec.stream!r} does not exist: consumer {spec.name!r} cannot be made")
            return
        path = f"CONSUMER.CREATE.{spec.stream}.{spec.name}.{spec.filter_subject}"
        wanted = consumer_config(spec)
        reply = await self._ask(path, {"stream_name": spec.stream, "config": wanted, "action": "create"})
        if reply.error is not None and reply.error.err_code == _CONSUMER_DIFFERS:
            reply = await self._ask(path, {"stream_name": spec.stream, "config": wanted, "action": "update"})
            if reply.error is not None and _STORAGE_STAYS in reply.error.description:  # made before this version, or by another worker
                wanted["mem_storage"] = not wanted["mem_storage"]
                reply = await self._ask(path, {"stream_name": spec.stream, "config": wanted, "action": "update"})
        if reply.error is None:
            return
        if reply.error.err_code == _STREAM_NOT_FOUND:
            raise NotFound(f"stream {spec.stream!r} does not exist: consumer {spec.name!r} cannot be made")
        raise _refused(f"consumer {spec.name!r} of stream {spec.stream!r} (filter {spec.filter_subject!r})", reply.error)

    async def delete_consumer(self, stream: str, name: str) -> None:
        """See `Bus.delete_consumer`. In an account of our own nothing is deleted: what nobody pulls goes by itself."""
        if self._connection.tuning.consumers_subject:
            return
        reply = await self._ask(f"CONSUMER.DELETE.{stream}.{name}", None)
        if reply.error is not None and reply.error.err_code not in (_STREAM_NOT_FOUND, _CONSUMER_NOT_FOUND):
            raise _refused(f"consumer {name!r} of stream {stream!r}", reply.error)

    async def consumer_created(self, stream: str, name: str) -> str | None:
        """When the consumer was created, as the server prints it: its identity. None when it or its stream does not exist."""
        if self._connection.tuning.consumers_subject:
            return await self._asked(stream, name)
        reply = await self._ask(f"CONSUMER.INFO.{stream}.{name}", None)
        if reply.error is None:
            return reply.created
        if reply.error.err_code in (_STREAM_NOT_FOUND, _CONSUMER_NOT_FOUND):
            return None
        raise TransientError(f"consumer {name!r} of stream {stream!r}: {_text(reply.error)}")

    async def _asked(self, stream: str, name: str, *, ack_wait_seconds: float | None = None) -> str | None:
        """The creation time of a consumer, from a coordinator; with `ack_wait_seconds` it makes it where it is not there."""
        request = ConsumerAsked(stream=stream, name=name, ack_wait_seconds=ack_wait_seconds)
        subject = self._connection.tuning.consumers_subject
        answer = await self._connection.request(subject, msgspec.json.encode(request), timeout_seconds=API_SECONDS)
        try:
            told = msgspec.json.decode(answer.body, type=ConsumerTold)
        except msgspec.DecodeError as error:
            raise TransientError(f"unreadable answer on {subject}: {answer.body[:80]!r}: {error}") from error
        if told.error:
            raise (TransientError if told.retry else Misconfigured)(f"consumer {name!r} of stream {stream!r}: {told.error}")
        return told.created

    async def _ask(self, path: str, body: dict[str, Any] | None) -> _Reply:
        subject = f"$JS.API.{path}"
        try:
            answer = await self._connection.request(
                subject, b"" if body is None else msgspec.json.encode(body), timeout_seconds=API_SECONDS
            )
        except NobodyListens as error:
            raise Unreachable(
                f"NATS at {self._connection.url} has no JetStream: start nats-server with -js, and check the account"
            ) from error
        try:
            return msgspec.json.decode(answer.body, type=_Reply)
        except msgspec.DecodeError as error:
            raise TransientError(f"unreadable answer on {subject}: {answer.body[:80]!r}: {error}") from error


def stream_config(spec: StreamSpec) -> dict[str, Any]:
    """The settings of a stream that Waypost states; the server's defaults and an operator's additions stay."""
    return {
        "name": spec.name,
        "subjects": list(spec.subjects),
        "retention": "workqueue" if spec.retention == "work_queue" else "limits",
        "storage": spec.storage,
        "max_bytes": spec.max_bytes,
        "max_age": int(spec.max_age_seconds * 1e9),
        "max_msg_size": spec.max_message_bytes,
        "discard": spec.discard,
        "num_replicas": spec.replicas,
        "duplicate_window": int(spec.duplicate_window_seconds * 1e9),
        "allow_msg_ttl": spec.allow_message_ttl,
        "allow_batched": spec.allow_groups,
        "subject_transform": None if spec.transform is None else {"src": spec.transform[0], "dest": spec.transform[1]},
    }


def consumer_config(spec: ConsumerSpec) -> dict[str, Any]:
    """A durable pull consumer: explicit acks, every message, delivered until acked."""
    config: dict[str, Any] = {
        "durable_name": spec.name,
        "filter_subject": spec.filter_subject,
        "deliver_policy": "new" if spec.new_only else "all",
        "ack_policy": "explicit",
        "replay_policy": "instant",
        "max_deliver": -1,
        "ack_wait": int(spec.ack_wait_seconds * 1e9),
        "max_ack_pending": spec.max_ack_pending,
        "mem_storage": spec.storage == "memory",
    }
    if spec.inactive_seconds:
        config["inactive_threshold"] = int(spec.inactive_seconds * 1e9)
    return config


def _mark(name: str, reply: _Reply) -> StreamMark:
    return StreamMark(name=name, created=reply.created, last_seq=reply.state.last_seq)


def _text(error: _Error) -> str:
    return f"{error.description} (err_code {error.err_code})"


def _refused(what: str, error: _Error) -> Exception:
    if error.err_code == _STREAM_NOT_FOUND:
        return NotFound(f"{what}: {_text(error)}")
    passes = error.code == 503 and error.err_code not in _NOT_ENABLED
    if passes or error.err_code == _CONSUMER_STORE or any(words in error.description for words in _NO_ROOM):
        return TransientError(f"{what}: {_text(error)}")
    return Misconfigured(f"the server refuses {what}: {_text(error)}")
