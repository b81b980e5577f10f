"""The one module that reaches into nats-py's private parts; `tests/conformance/bus/test_wire.py` fails when they change.

Six things cannot be had from nats-py 2.16 in public:

- **Synchronous queueing.** `Client.publish` is a coroutine that may flush inline and swallows cancellation when buffers are full.
  `write` appends a finished frame to the same buffer, so order with nats-py's own commands is kept, and all that one turn of the loop
  queued goes to the socket at once. (Straight to the transport, each frame would be a system call: a third more CPU, measured.)
- **Synchronous delivery.** A subscription of nats-py costs a queue, a `Msg` and a task switch per message. A *sink* is a plain
  function that the reader calls with the raw parts, and `_parser` finds them without a coroutine each.
- **A flush that flushes.** nats-py writes the PING of `flush` straight to the socket, ahead of what is queued (probed: of 238
  subscriptions 8 were not there yet after `subscribe` and `flush`).
- **A flush that can be given up.** The PONG of a flush that timed out or was cancelled, when it comes after all, makes nats-py's reader
  raise and end; the connection is deaf until the pings notice.
- **No TLS, no password.** nats-py upgrades to TLS only when the server asks for it, so whoever sits between can take it away.
- **Endless life.** nats-py closes for good on any `-ERR` it does not know (expired credentials, authentication timeout under
  load). Here everything but a permission error leads to a reconnect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from nats import errors
from nats.aio.client import DEFAULT_FLUSH_TIMEOUT, Client
from nats.aio.subscription import Subscription

from waypost_io.bus._parser import QuickParser

log = structlog.get_logger(__name__)

SOON_SECONDS = 0.002
"""How long an ack waits for company: a write is a system call here and a wake-up of the server, and a step has four acks."""

Sink = Callable[[bytes, bytes, bytes, bytes | None], None]
"""Called with subject, reply, body and raw header block of each message. Must not block; what it raises is logged."""


class Wire(Client):
    """nats-py's connection with synchronous writes and sinks. Owns no policy: `_connection` decides what is written and when."""

    def __init__(self, *, require_tls: bool = False) -> None:
        super().__init__()
        self._ps = QuickParser(self, self._deliver)
        self._require_tls = require_tls
        self._sinks: dict[int, Sink] = {}
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._turns = asyncio.get_running_loop()

    @property
    def unsent_bytes(self) -> int:
        """What is queued and not handed to the socket yet."""
        return self._pending_data_size

    def write(self, frame: bytes) -> None:
        """Queue a finished frame. Only while connected: what is queued when the connection breaks is lost (`drop_unsent`)."""
        self._pending.append(frame)
        self._pending_data_size += len(frame)
        if not self._scheduled:
            self._scheduled = True
            self._turns.call_soon(self._end_of_turn)

    def write_soon(self, frame: bytes) -> None:
        """Queue a frame that nobody waits for: it goes with the next one that somebody does, or after `SOON_SECONDS`."""
        self._pending.append(frame)
        self._pending_data_size += len(frame)
        if not self._scheduled and self._timer is None:
            self._timer = self._turns.call_later(SOON_SECONDS, self._time_is_up)

    def _end_of_turn(self) -> None:
        self._scheduled = False
        self.push()

    def _time_is_up(self) -> None:
        self._timer = None
        self.push()

    def push(self) -> None:
        """Hand everything queued to the socket, nats-py's own commands too, in the order in which they were queued."""
        if self._pending and self._transport is not None and self.is_connected:
            frames, self._pending = self._pending, []
            self._pending_data_size = 0
            try:
                self._transport.writelines(frames)
            except (OSError, RuntimeError) as error:  # the transport is closed: the reader notices that too, and reconnects
                log.debug("bus.write_failed", error=str(error))

    async def flush(self, timeout: int = DEFAULT_FLUSH_TIMEOUT) -> None:  # noqa: ASYNC109 - nats-py's signature
        """Hand everything queued to the socket, then wait for the server's answer to a PING behind it."""
        self.push()
        await super().flush(timeout)

    def drop_unsent(self) -> None:
        """Forget queued frames. After a reconnect they would overtake what has to be sent again before them."""
        self._pending.clear()
        self._pending_data_size = 0

    async def add_sink(self, subject: str, sink: Sink) -> Subscription:
        """Subscribe `sink`. The subscription survives reconnects; remove it with `remove_sink`."""
        subscription = await self.subscribe(subject)
        self._sinks[subscription._id] = sink
        return subscription

    async def remove_sink(self, subscription: Subscription) -> None:
        """Undo `add_sink`, also while disconnected. Idempotent."""
        self._sinks.pop(subscription._id, None)
        if subscription._id not in self._subs or self.is_closed:
            return
        self._remove_sub(subscription._id)
        if self.is_connected:
            await self._send_unsubscribe(subscription._id)

    async def last_messages(self, subscription: Subscription, timeout_seconds: float) -> None:
        """End a sink's subscription at the server; return when all that the server had sent before has gone to the sink, or in time.

        `remove_sink` is to follow.
        """
        if not self.is_connected:
            return
        try:
            await self._send_unsubscribe(subscription._id)
            await self.flush(timeout=timeout_seconds)  # type: ignore[arg-type]
        except (errors.Error, OSError, TimeoutError) as error:
            log.debug("bus.last_messages_unknown", error=str(error))

    async def end(self) -> None:
        """Close, and make sure that no attempt to reconnect outlives it. Idempotent."""
        await self.close()
        if self._reconnection_task is not None:
            await end_task(self._reconnection_task)
        if not self.is_closed:
            await self.close()

    def _deliver(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> bool:
        sink = self._sinks.get(sid)
        if sink is None:
            return False
        try:
            sink(subject, reply, data, headers)
        except Exception:  # a bug in one sink must not end the connection's reader
            log.exception("bus.sink_failed", subject=subject.decode(errors="replace"))
        return True

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        if not self._deliver(sid, subject, reply, data, headers):
            await super()._process_msg(sid, subject, reply, data, headers)  # type: ignore[arg-type]  # it is None without headers

    async def _process_pong(self) -> None:
        """Its own, with one difference: nobody may wait for this answer any more."""
        if self._pongs:
            waiting = self._pongs.pop(0)
            if not waiting.done():
                waiting.set_result(True)
            self._pongs_received += 1
            self._pings_outstanding = 0

    def _connect_command(self) -> bytes:
        """Called when TLS is up or was not asked for, just before the credentials go out."""
        if self._require_tls and not self._server_info.get("tls_required"):
            raise errors.Error("the server offers no TLS, but tls:// or WAYPOST_NATS_CA asks for it")
        return super()._connect_command()

    async def _process_err(self, err_msg: str) -> None:
        error = errors.Error(f"nats: {err_msg.strip(chr(39))}")
        self._err = error
        await self._error_cb(error)
        if "permissions violation" not in err_msg:
            await self._process_op_err(error)


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancel until it is over: on Python 3.11 `asyncio.wait_for`, which nats-py connects with, can swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.1)
