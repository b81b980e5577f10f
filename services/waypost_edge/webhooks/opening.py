"""Webhooks by the settings. Here, because the rest needs the extra `waypost[http]`, and who has no webhooks does not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from waypost_edge.metrics import Metrics
from waypost_io.bus.ports import Bus
from waypost_proto.errors import Misconfigured
from waypost_proto.subjects import Subjects

if TYPE_CHECKING:
    from waypost_edge.webhooks.courier import Courier
    from waypost_edge.webhooks.subscriptions import Subscription


def subscriptions(path: Path | None) -> list[Subscription]:
    """Those in the file; none without one. Raises `Misconfigured`."""
    if path is None:
        return []
    try:
        import httpx2  # noqa: F401  # its absence is said when the edge starts, not at the first event
    except ImportError as error:
        raise Misconfigured("WAYPOST_WEBHOOKS_FILE needs httpx2: pip install 'waypost[edge,http]'") from error
    from waypost_edge.webhooks.subscriptions import read_subscriptions

    return read_subscriptions(path)


def couriers(webhooks: list[Subscription], bus: Bus, subjects: Subjects, metrics: Metrics) -> list[Courier]:
    """One for each subscription."""
    if not webhooks:
        return []
    from waypost_edge.webhooks.courier import Courier

    return [Courier(bus, subjects, webhook, metrics) for webhook in webhooks]
