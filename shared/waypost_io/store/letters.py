"""How both adapters show a dead letter."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol

from waypost_proto.api import DeadView


class DeadRow(Protocol):
    """A row of dead by column name."""

    def __getitem__(self, key: str, /) -> Any: ...


EXCERPT_BYTES = 200
"""How much of a body a list shows."""


def mended(text: str) -> str:
    """`text` without what Postgres cannot hold (NUL, lone surrogates), each replaced by U+FFFD."""
    return text.replace("\0", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def view(row: DeadRow) -> DeadView:
    """A `DeadView` of a row: `at` Unix seconds, `excerpt` the first bytes."""
    return DeadView(
        dead_id=row["dead_id"],
        origin=row["origin"],
        reason=row["reason"],
        at=datetime.fromtimestamp(row["at"], UTC).isoformat().replace("+00:00", "Z"),
        size=row["size"],
        excerpt=bytes(row["excerpt"]).decode("utf-8", "replace"),
        run_id=row["run_id"],
    )
