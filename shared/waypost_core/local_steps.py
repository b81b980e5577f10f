"""Local steps: what their ends are in the log. Nothing is decided by them but what `advancing` counts."""

from __future__ import annotations

from waypost_proto import commands as cmd
from waypost_proto import events as ev


def finished(item: cmd.FinishStep) -> ev.StepCompleted | ev.StepFailed:
    """The event of a step that ended at the worker."""
    if item.error is not None:
        return ev.StepFailed(
            seen=item.seen,
            call_id=item.id,
            name=item.name,
            at=item.at,
            duration_seconds=item.duration_seconds,
            error=item.error,
            usage=item.usage,
            model=item.model,
            asked=item.asked,
        )
    return ev.StepCompleted(
        seen=item.seen,
        call_id=item.id,
        name=item.name,
        at=item.at,
        duration_seconds=item.duration_seconds,
        result=item.result,
        result_ref=item.result_ref,
        usage=item.usage,
        fingerprint=item.fingerprint,
        model=item.model,
        asked=item.asked,
    )
