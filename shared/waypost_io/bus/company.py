"""Publishes to one stream that are asked for in the same turn of the loop, with one confirmation.

A worker that is given ten activations in one message answers ten runs in one turn, and a gateway finishes many quick calls in one.
Confirmed one by one, each answer costs the server and this process another message, and the server stores them one by one (ADR 0186). When
the group fails, its messages are published again one by one under the same ids, so that one that cannot be stored holds up no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from waypost_io.bus.ports import GROUP_MOST, Bus, Outbound, PubAck

Join = Callable[[Sequence[tuple[Outbound, str]]], Sequence[Outbound]]
"""Makes fewer messages of those of a turn, each given with whom it may share one (see `Company.publish`)."""
_Waiting = tuple[Outbound, str, "asyncio.Future[PubAck]"]


def _each(messages: Sequence[tuple[Outbound, str]]) -> Sequence[Outbound]:
    return [message for message, _ in messages]


class Company:
    """Of one bus and one stream; make it inside a running loop. A `msg_id` is required: what may be stored twice cannot be repeated."""

    def __init__(self, bus: Bus, join: Join = _each) -> None:
        self._bus = bus
        self._join = join
        self._loop = asyncio.get_running_loop()
        self._turn: list[_Waiting] = []
        self._groups: set[asyncio.Future[PubAck]] = set()

    def publish(self, subject: str, body: bytes, *, msg_id: str, shares: str = "") -> Awaitable[PubAck]:
        """Queued by the end of this turn, in order. Raises as `Bus.publish` does; the ack's sequence is that of the last of its company.

        What has the same `shares`, other than "", may be joined.
        """
        future: asyncio.Future[PubAck] = self._loop.create_future()
        if not self._turn:
            self._plan()
        self._turn.append((Outbound(subject, body, msg_id), shares, future))
        return future

    def _plan(self) -> None:
        self._loop.call_soon(self._send)  # simulations wait longer here, so that more comes together

    def _send(self) -> None:
        turn, self._turn = self._turn, []
        if len(turn) == 1:
            (message, _, future), *_ = turn
            self._alone(message, future)
            return
        for start in range(0, len(turn), GROUP_MOST):
            some = turn[start : start + GROUP_MOST]
            sent = self._bus.publish_group(self._join([(message, shares) for message, shares, _ in some]))
            self._groups.add(confirmation := asyncio.ensure_future(sent))
            confirmation.add_done_callback(partial(self._confirmed, some))

    def _confirmed(self, some: list[_Waiting], confirmation: asyncio.Future[PubAck]) -> None:
        self._groups.discard(confirmation)
        if confirmation.cancelled() or confirmation.exception() is not None:
            for message, _, future in some:
                self._alone(message, future)
            return
        ack = confirmation.result()
        for *_, future in some:
            if not future.done():
                future.set_result(ack)

    def _alone(self, message: Outbound, future: asyncio.Future[PubAck]) -> None:
        if not future.done():
            single = asyncio.ensure_future(self._bus.publish(message.subject, message.body, msg_id=message.msg_id))
            single.add_done_callback(partial(_passed_on, future))


def _passed_on(future: asyncio.Future[PubAck], single: asyncio.Future[PubAck]) -> None:
    if future.done():
        return
    if single.cancelled():
        future.cancel()
    elif (error := single.exception()) is not None:
        future.set_exception(error)
        future.exception()  # marks it as seen: who drops the awaitable gets no warning
    else:
        future.set_result(single.result())
