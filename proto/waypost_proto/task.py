"""The task: what anyone may publish to `waypost.tasks.<agent>`. Unknown fields are refused here, and only here.

Everything else on the wire ignores unknown fields so that old and new services can talk; a task comes from a
person, and a misspelt `"budgt"` that is silently ignored would cost them money.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated

from msgspec import Meta, Raw, Struct

from waypost_proto.codec import check_text, decode
from waypost_proto.errors import BadInput
from waypost_proto.ids import parse_run_id
from waypost_proto.limits import MAX_KEY_CHARS, MAX_LABEL_CHARS, MAX_LABELS, MAX_MESSAGE_BYTES
from waypost_proto.values import AtLeastOne, Budget, Dollars, Positive

Key = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_CHARS)]
Label = Annotated[str, Meta(max_length=MAX_LABEL_CHARS)]

_DURATION = re.compile(
    r"P(?=.)(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=.)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
_SECONDS = {"weeks": 604_800, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}


class TaskBudget(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`Budget` as a task states it: unknown limits are refused."""

    max_steps: AtLeastOne | None = None
    max_tokens: AtLeastOne | None = None
    max_cost_usd: Dollars | None = None
    max_seconds: Positive | None = None
    max_repeats: AtLeastOne | None = None

    def limits(self) -> Budget:
        return Budget(**{f: getattr(self, f) for f in self.__struct_fields__})


class Task(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One request to run an agent. `deadline` is an RFC 3339 time or an ISO 8601 duration from acceptance."""

    input: Raw
    run_id: str | None = None
    idempotency_key: Key | None = None
    correlation_id: Key | None = None
    budget: TaskBudget | None = None
    deadline: str | None = None
    labels: Annotated[dict[Label, Label], Meta(max_length=MAX_LABELS)] = {}


def parse_task(body: bytes, *, limit: int = MAX_MESSAGE_BYTES) -> Task:
    """Check and decode a task. Raises `BadMessage`, `TooLarge` or `BadInput`, each saying what is wrong."""
    check_text(body, limit=limit)
    task = decode(Task, body)
    check_texts(idempotency_key=task.idempotency_key, correlation_id=task.correlation_id, labels=task.labels)
    if task.run_id is not None:
        parse_run_id(task.run_id)
    if task.deadline is not None:
        parse_deadline(task.deadline, now=0.0)
    return task


def check_texts(*, idempotency_key: str | None, correlation_id: str | None, labels: Mapping[str, str]) -> None:
    """Refuse text that a database cannot hold (NUL, lone surrogates), naming the field. Raises `BadInput`."""
    texts = {"idempotency_key": idempotency_key, "correlation_id": correlation_id}
    texts |= {f"label {key!r}": key + value for key, value in labels.items()}
    for name, text in texts.items():
        if text is not None and ("\x00" in text or any("\ud800" <= char <= "\udfff" for char in text)):
            raise BadInput(f"{name} is {text!r}: the database cannot hold NUL characters or lone surrogates; leave them out")


def parse_deadline(text: str, *, now: float) -> float:
    """A deadline as Unix seconds: an RFC 3339 time as it is, an ISO 8601 duration (`PT30M`) added to `now`.

    Years and months are refused: their length depends on the calendar. Raises `BadInput`.
    """
    match = _DURATION.fullmatch(text)
    if match is not None:
        return now + sum(float(amount) * _SECONDS[unit] for unit, amount in match.groupdict().items() if amount)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"deadline {text!r} is neither an RFC 3339 time (2026-12-01T17:00:00Z) nor an ISO 8601 duration (PT30M)") from error
    if moment.tzinfo is None:
        raise BadInput(f"deadline {text!r} has no time zone: add 'Z' or an offset such as +01:00")
    return moment.timestamp()


@lru_cache(maxsize=256)
def format_time(unix_seconds: float) -> str:
    """RFC 3339 in UTC with microseconds, as in `recorded_at`."""
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: str) -> float:
    """The inverse of `format_time`."""
    return datetime.fromisoformat(text).timestamp()
