"""One connection to NATS that never gives up, and what hangs on it: state, hooks, core messages and requests.

Owns connecting, the up/down state and the order of what is sent around a reconnect. Knows nothing of JetStream.

Around a reconnect: whatever nats-py had queued is dropped, `on_down` hooks run; once the server answers again, `on_up` hooks
run in the order of registration (unconfirmed publishes are sent again before anything new), then held core messages go out.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import structlog
from nats import errors
from nats.aio.subscription import Subscription as NatsSubscription

from waypost_io.bus._frames import NO_RESPONDERS, STATUS_HEADER, decode_headers, encode_headers, publish_frame
from waypost_io.bus._wire import Sink, Wire, end_task
from waypost_io.bus.ports import Headers, Message
from waypost_proto.errors import Misconfigured, Unreachable
from waypost_proto.limits import MAX_MESSAGE_BYTES

_REFUSED = "authorization"
"""In what the server says to wrong or expired credentials."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BusTuning:
    """Limits and intervals of a bus connection; the defaults suit every service of Waypost."""

    max_message_bytes: int = MAX_MESSAGE_BYTES
    """Body plus headers of what this connection sends; the server's own limit holds besides."""
    connect_seconds: float = 3.0
    """How long entering the bus tries to reach a server before it raises `Unreachable`."""
    ping_seconds: float = 5.0
    """A silent server is noticed after two to three of these."""
    reconnect_seconds: float = 0.2
    """Pause between attempts to reconnect; up to a quarter more, so that a fleet does not return in step."""
    publish_timeout_seconds: float = 5.0
    """A publish that is not confirmed for so long raises `PublishTimeout`."""
    max_in_flight: int = 4_096
    """Publishes sent and not confirmed; below the server's own queue per stream (10,000)."""
    max_in_flight_bytes: int = 16 * 1024 * 1024
    max_queued: int = 200_000
    """Publishes waiting for their turn; past it they fail at once."""
    held_messages: int = 10_000
    """Core messages kept while disconnected; the newest are dropped past it."""
    pull_expires_seconds: float = 2.5
    """An idle puller asks again this often. A process that is paused (SIGSTOP, a frozen machine) is still given messages for so long, and
    each of them waits for the ack wait: shorter than that, or one message could be given to the same process twice."""
    pull_heartbeat_seconds: float = 1.2
    """How often the server says that it still holds a pull request; two missed ones lead to a check."""
    inbox_prefix: str = "_INBOX"
    """Root of the reply subjects; permissions can tell services apart by it."""
    consumers_subject: str = ""
    """Whom to ask for consumers instead of JetStream, which does not answer other accounts; "": JetStream."""


def redact(url: str) -> str:
    """The URL without user and password, for messages and logs; several are separated by commas."""
    return ",".join(_redact_one(part.strip()) for part in url.split(","))


def _redact_one(url: str) -> str:
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


class Connection:
    """A NATS connection. `open` once, `close` any number of times."""

    def __init__(self, url: str, *, creds: str | None, ca: str | None, name: str, tuning: BusTuning) -> None:
        self.url = redact(url)
        self.tuning = tuning
        self.wire = Wire(require_tls=ca is not None or "tls://" in url)
        self.limit = MAX_MESSAGE_BYTES
        self.generation = 0
        """Rises with every reconnect."""
        self._servers = [part.strip() for part in url.split(",")]
        self._creds, self._ca, self._name = creds, ca, name
        self._up = False
        self._closing = False
        self._came_up = asyncio.Event()
        self._on_down: list[Callable[[], None]] = []
        self._on_up: list[Callable[[], None]] = []
        self._held: deque[bytes] = deque()
        self._dropped = 0
        self._last_error = ""
        self._next_token = 0
        self._requests: dict[int, asyncio.Future[Message]] = {}
        self._inbox = ""

    # -- life

    async def open(self) -> None:
        """Connect. Raises `Unreachable` with one line (no password in it), or `Misconfigured` for bad credentials, URL or certificate."""
        connecting = asyncio.get_running_loop().create_task(self._connect(self._tls()), name="connect to NATS")
        try:
            await asyncio.wait_for(asyncio.shield(connecting), self.tuning.connect_seconds)
        except (TimeoutError, OSError, errors.Error) as error:
            reason = self._last_error or str(error) or f"it did not answer within {self.tuning.connect_seconds:g} s"
            if _REFUSED in reason.lower():  # waiting does not mend it
                raise Misconfigured(f"NATS at {self.url} refuses us: {reason}; check WAYPOST_NATS_CREDS, or user and password") from error
            raise Unreachable(f"cannot reach NATS at {self.url}: {reason}; is it running, and is WAYPOST_NATS_URL right?") from error
        finally:
            if not connecting.done() or connecting.cancelled() or connecting.exception() is not None:
                await end_task(connecting)
                await self._give_up()
        self.limit = min(self.tuning.max_message_bytes, self.wire.max_payload)
        self._inbox = self.wire.new_inbox()
        await self.wire.add_sink(f"{self._inbox}.*", self._answered)
        self._mark_up()

    async def _connect(self, tls: ssl.SSLContext | None) -> None:
        tuning = self.tuning
        pause = tuning.reconnect_seconds * (1 + random.random() / 4)  # noqa: S311 - it spreads load and guards nothing
        await self.wire.connect(
            self._servers,
            name=self._name,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=pause,  # type: ignore[arg-type]  # nats-py only sleeps for it
            connect_timeout=2,
            ping_interval=tuning.ping_seconds,  # type: ignore[arg-type]
            max_outstanding_pings=2,
            error_cb=self._errored,
            disconnected_cb=self._went_down,
            reconnected_cb=self._came_back,
            closed_cb=self._closed,
            **_login(self._creds),
            tls=tls,
            inbox_prefix=tuning.inbox_prefix,
        )

    async def close(self) -> None:
        """Hand what is queued to the server (within a bound) and close. Idempotent."""
        if self._closing:
            return
        self._closing = True
        self._up = False
        self._fail_requests("the connection is being closed")
        if self.wire.is_connected:
            try:
                await self.wire.flush(timeout=2)
            except (errors.Error, OSError, TimeoutError) as error:
                log.warning("bus.flush_at_close_failed", error=str(error))
        await self._give_up()

    async def _give_up(self) -> None:
        self._closing = True
        try:
            await self.wire.end()
        except (errors.Error, OSError) as error:
            log.debug("bus.close_failed", error=str(error))

    def _tls(self) -> ssl.SSLContext | None:
        if self._ca is None:
            return None
        try:
            return ssl.create_default_context(cafile=self._ca)
        except OSError as error:
            raise Misconfigured(f"WAYPOST_NATS_CA={self._ca!r} is not a readable certificate file: {error}") from error

    # -- state

    @property
    def up(self) -> bool:
        """Frames can be written now. False from the moment the connection breaks until the hooks of the reconnect run."""
        return self._up and self.wire.is_connected

    def on_down(self, hook: Callable[[], None]) -> None:
        self._on_down.append(hook)

    def on_up(self, hook: Callable[[], None]) -> None:
        self._on_up.append(hook)

    def remove_hooks(self, down: Callable[[], None], up: Callable[[], None]) -> None:
        """Undo `on_down` and `on_up`. Idempotent."""
        self._on_down = [hook for hook in self._on_down if hook != down]
        self._on_up = [hook for hook in self._on_up if hook != up]

    async def wait_up(self, timeout_seconds: float) -> None:
        """Return once connected. Raises `Unreachable` after the time limit."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while not self.up:
                    if self._closing:
                        raise Unreachable(f"the connection to NATS at {self.url} is closed")
                    self._came_up.clear()
                    await self._came_up.wait()
        except TimeoutError:
            raise Unreachable(
                f"no connection to NATS at {self.url} for {timeout_seconds:g} s: {self._last_error or 'it does not answer'}"
            ) from None

    async def _errored(self, error: Exception) -> None:
        text = str(error) or type(error).__name__
        if text != self._last_error or self._up:
            # before the first connection the caller gets it as `Unreachable`: one clear line is enough
            (log.warning if self._inbox else log.debug)("bus.error", server=self.url, error=text)
        if _REFUSED not in self._last_error.lower():  # the resets that follow a refusal say less
            self._last_error = text

    async def _went_down(self) -> None:
        if self._closing:
            return
        self._up = False
        self.wire.drop_unsent()
        log.warning("bus.disconnected", server=self.url)
        self._fail_requests("the connection was lost before the answer came")
        self._run(self._on_down)

    async def _came_back(self) -> None:
        if self._closing:
            return
        self.generation += 1
        log.info("bus.reconnected", server=self.url, generation=self.generation)
        self._mark_up()

    async def _closed(self) -> None:
        if not self._closing:
            log.error("bus.closed_by_client", server=self.url, error=self._last_error)

    def _mark_up(self) -> None:
        self._up = True
        self._last_error = ""
        self._run(self._on_up)
        while self._held:
            self.wire.write(self._held.popleft())
        if self._dropped:
            log.warning("bus.core_messages_dropped", count=self._dropped)
            self._dropped = 0
        self._came_up.set()

    def _run(self, hooks: list[Callable[[], None]]) -> None:
        for hook in list(hooks):
            try:
                hook()
            except Exception:  # a callback that raises would leave nats-py reconnecting for ever (py#204)
                log.exception("bus.hook_failed")

    # -- core messages

    def send(self, subject: str, body: bytes, headers: Headers | None, reply: str) -> None:
        """Fire and forget; held within a bound while disconnected. Raises `TooLarge` or `BadInput`."""
        frame = publish_frame(subject, reply, encode_headers(headers), body, limit=self.limit)
        if self.up:
            self.wire.write(frame)
        elif len(self._held) < self.tuning.held_messages and not self._closing:
            self._held.append(frame)
        else:
            self._dropped += 1

    async def request(self, subject: str, body: bytes, headers: Headers | None = None, *, timeout_seconds: float) -> Message:
        """Ask and wait, through a reconnect if need be. Raises `Unreachable` when no answer comes or nobody listens."""
        started = asyncio.get_running_loop().time()
        if not self.up:
            await self.wait_up(timeout_seconds)
        self._next_token += 1
        token = self._next_token
        frame = publish_frame(subject, f"{self._inbox}.{token}", encode_headers(headers), body, limit=self.limit)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._requests[token] = answer
        self.wire.write(frame)
        try:
            async with asyncio.timeout_at(started + timeout_seconds):
                message = await answer
        except TimeoutError:
            raise Unreachable(f"no answer on {subject!r} within {timeout_seconds:g} s") from None
        finally:
            self._requests.pop(token, None)
        if message.headers.get(STATUS_HEADER) == NO_RESPONDERS:
            raise NobodyListens(f"nobody listens on {subject!r}")
        return message

    def _answered(self, subject: bytes, reply: bytes, body: bytes, headers: bytes | None) -> None:
        answer = self._requests.get(int(subject.rpartition(b".")[2]))
        if answer is not None and not answer.done():
            answer.set_result(Message(subject.decode(), body, decode_headers(headers), reply.decode()))

    def _fail_requests(self, why: str) -> None:
        for answer in self._requests.values():
            if not answer.done():
                answer.set_exception(Unreachable(f"NATS at {self.url}: {why}"))

    async def flush(self, timeout_seconds: float) -> None:
        """Wait until the server has read everything written so far. Raises `Unreachable`."""
        started = asyncio.get_running_loop().time()
        await self.wait_up(timeout_seconds)
        left = max(0.1, started + timeout_seconds - asyncio.get_running_loop().time())
        try:
            await self.wire.flush(timeout=left)  # type: ignore[arg-type]  # it takes fractions
        except (errors.Error, OSError) as error:
            raise Unreachable(f"NATS at {self.url} did not answer a flush within {timeout_seconds:g} s") from error

    # -- subscriptions

    async def subscriptions_known(self, timeout_seconds: float) -> None:
        """Wait until the server knows of every subscription made so far. Raises `Unreachable`.

        Goes on through a reconnect, which makes them again: the answer to a flush before it never comes.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_seconds
        while True:
            lost: asyncio.Future[None] = loop.create_future()

            def went_down(lost: asyncio.Future[None] = lost) -> None:
                if not lost.done():
                    lost.set_result(None)

            self.on_down(went_down)
            flushing = loop.create_task(self.flush(max(0.1, until - loop.time())), name="flush subscriptions")
            try:
                await asyncio.wait((flushing, lost), return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._on_down.remove(went_down)
                if not flushing.done():
                    await end_task(flushing)
            if not flushing.cancelled():
                return flushing.result()

    async def add_sink(self, subject: str, sink: Sink) -> NatsSubscription:
        return await self.wire.add_sink(subject, sink)

    def new_inbox(self) -> str:
        return self.wire.new_inbox()


class NobodyListens(Unreachable):
    """NATS said at once that no one is subscribed to the subject of a request."""


def _login(creds: str | None) -> dict[str, Any]:
    """nats-py's options for a credentials file: a JWT with its key (`.creds`), or the seed of an nkey alone."""
    if creds is None:
        return {}
    try:
        seed = Path(creds).expanduser().read_text(encoding="utf-8").strip().startswith("SU")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"WAYPOST_NATS_CREDS={creds!r} cannot be read: {error}") from error
    return {"nkeys_seed": creds} if seed else {"user_credentials": creds}
