"""What a row of `approvals` holds besides its columns: written with the row, read by the API. Nothing decides by it."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Raw, UnsetType

from waypost_io.store.ports import ApprovalRow
from waypost_proto.codec import decode
from waypost_proto.values import Value


class ApprovalDetails(Value, frozen=True, kw_only=True):
    """JSON in `approvals.details`. Unknown fields are ignored, so that two versions may read each other's."""

    kind: Literal["approval", "question"] = "approval"
    quorum: int = 1
    given: list[str] = []
    rule: str = ""
    question: str = ""
    answer_schema: Raw | UnsetType = UNSET
    replaces: str = ""
    edited_by: str = ""
    starter: str = ""
    """Who started the run and may therefore not approve; "" when nobody knows, or when a policy does not mind."""


def details_of(row: ApprovalRow) -> ApprovalDetails:
    """The details of a row; the defaults for one that an older version wrote."""
    return decode(ApprovalDetails, row.details) if row.details else ApprovalDetails()
