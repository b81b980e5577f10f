"""The gateway's answers about a call, as mailbox messages. Pure: builds messages and their ids, sends nothing."""

from __future__ import annotations

import zlib
from typing import Literal

from msgspec import UNSET, Raw, structs

from waypost_core.policy import RequireApproval
from waypost_io.bus.ports import Delivery
from waypost_proto.codec import decode_union, encode
from waypost_proto.mailbox import (
    AnyToolMail,
    ToolDeferred,
    ToolFailed,
    ToolNeedsApproval,
    ToolNotDone,
    ToolRefused,
    ToolSucceeded,
    ToolUncertain,
    ToolUnknown,
)
from waypost_proto.tools import ToolCall
from waypost_proto.values import BlobRef, Failure

Via = Literal["call", "reconcile"]


class Answers:
    """Builds the answers of one gateway."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway

    def succeeded(self, call: ToolCall, result: bytes | BlobRef, *, duration_seconds: float, taint: tuple[str, ...] = ()) -> ToolSucceeded:
        """The tool returned `result`, given inline or by reference."""
        return self._succeeded(call, result, via="call", duration_seconds=duration_seconds, taint=taint)

    def reconciled(self, call: ToolCall, result: bytes | BlobRef, *, taint: tuple[str, ...] = ()) -> ToolSucceeded:
        """The hook says that it took effect, with `result`."""
        return self._succeeded(call, result, via="reconcile", duration_seconds=0.0, taint=taint)

    def failed(
        self,
        call: ToolCall,
        error: Failure,
        *,
        retryable: bool,
        retry_after_seconds: float | None = None,
        kinds: tuple[str, ...] = (),
        duration_seconds: float = 0.0,
    ) -> ToolFailed:
        """The attempt failed without an unsafe effect."""
        return ToolFailed(
            run_id=call.run_id,
            call_id=call.call_id,
            attempt=call.attempt,
            gateway=self._gateway,
            call_digest=call.args_digest,
            error=error,
            retryable=retryable,
            retry_after_seconds=retry_after_seconds,
            duration_seconds=duration_seconds,
            kinds=kinds,
        )

    def uncertain(self, call: ToolCall, error: Failure, *, settle_seconds: float) -> ToolUncertain:
        """It may have taken effect; not before `settle_seconds` from now may it be reconciled."""
        return ToolUncertain(
            run_id=call.run_id,
            call_id=call.call_id,
            attempt=call.attempt,
            gateway=self._gateway,
            call_digest=call.args_digest,
            error=error,
            settle_seconds=max(0.0, settle_seconds),
        )

    def not_done(self, call: ToolCall) -> ToolNotDone:
        """The hook says that it surely did not take effect."""
        return ToolNotDone(
            run_id=call.run_id, call_id=call.call_id, attempt=call.attempt, gateway=self._gateway, call_digest=call.args_digest
        )

    def unknown(self, call: ToolCall, error: Failure) -> ToolUnknown:
        """The hook cannot tell."""
        return ToolUnknown(
            run_id=call.run_id, call_id=call.call_id, attempt=call.attempt, gateway=self._gateway, call_digest=call.args_digest, error=error
        )

    def refused(self, call: ToolCall, error: Failure) -> ToolRefused:
        """It was not started."""
        return ToolRefused(
            run_id=call.run_id, call_id=call.call_id, attempt=call.attempt, gateway=self._gateway, call_digest=call.args_digest, error=error
        )

    def deferred(self, call: ToolCall, message: str, *, retry_after_seconds: float) -> ToolDeferred:
        """It was not started because the tool's breaker is open; the same attempt may be sent again."""
        return ToolDeferred(
            run_id=call.run_id,
            call_id=call.call_id,
            attempt=call.attempt,
            gateway=self._gateway,
            why="breaker",
            message=message,
            retry_after_seconds=retry_after_seconds,
        )

    def needs_approval(self, call: ToolCall, asked: RequireApproval, version: str) -> ToolNeedsApproval:
        """It was not started: the policy wants people to approve it."""
        return ToolNeedsApproval(
            run_id=call.run_id,
            call_id=call.call_id,
            attempt=call.attempt,
            gateway=self._gateway,
            tool=call.tool,
            args_digest=call.args_digest,
            rule=asked.rule,
            policy_version=version,
            role=asked.role,
            quorum=asked.quorum,
            expires_seconds=asked.expires_seconds,
            on_expiry=asked.on_expiry,
            escalate_to=asked.escalate_to,
            separate=asked.separate,
            reason=asked.reason,
        )

    def repeated(self, call: ToolCall, stored: bytes) -> AnyToolMail:
        """A stored answer for this message: of this attempt, and a success says that the ledger knew it.

        Raises `BadMessage` when the stored bytes are not an answer.
        """
        answer: AnyToolMail = decode_union(AnyToolMail, stored)
        answer = structs.replace(answer, attempt=call.attempt)
        if isinstance(answer, ToolSucceeded) and answer.via == "call":
            return structs.replace(answer, via="ledger")
        return answer

    def _succeeded(
        self, call: ToolCall, result: bytes | BlobRef, *, via: Via, duration_seconds: float, taint: tuple[str, ...]
    ) -> ToolSucceeded:
        return ToolSucceeded(
            run_id=call.run_id,
            call_id=call.call_id,
            attempt=call.attempt,
            gateway=self._gateway,
            call_digest=call.args_digest,
            via=via,
            duration_seconds=duration_seconds,
            result=UNSET if isinstance(result, BlobRef) else Raw(result),
            result_ref=result if isinstance(result, BlobRef) else UNSET,
            taint=taint,
        )


def message_id(call: ToolCall, origin: Delivery, body: bytes) -> str:
    """The `Nats-Msg-Id` of this answer to this message: answering a redelivery is a duplicate, answering another message is not.

    The message's place and time in its stream tell messages apart: a reconcile request may come twice with all its fields the same. The
    body counts too: a redelivery may be answered differently (in doubt, then known), and the duplicate window must not swallow that.
    """
    place = f"{origin.stream_seq}-{int(origin.timestamp * 1e6)}"
    return f"{call.run_id}.{call.call_id}.{call.attempt}.{call.mode}.{place}.{zlib.crc32(body):08x}"


def encoded(answer: AnyToolMail) -> bytes:
    """As it is stored in the ledger and published."""
    return encode(answer)
