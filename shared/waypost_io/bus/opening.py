"""A bus by a process's settings: credentials, certificates, its own inboxes, and whom it asks for consumers. Opens nothing itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from waypost_io.bus.jetstream import BusTuning, JetStreamBus
from waypost_io.settings import Settings


def bus_of(settings: Settings, name: str, *, url: str | None = None, tuning: BusTuning | None = None) -> JetStreamBus:
    """The bus of this process. `name` is what NATS shows; `url` overrides the settings'.

    With `WAYPOST_NATS_POOL` the process runs in an account of its own, may neither make nor look at consumers, and asks a coordinator.
    """
    tuned = tuning or BusTuning()
    if settings.nats_inbox:
        tuned = replace(tuned, inbox_prefix=settings.nats_inbox)
    if settings.nats_pool:
        tuned = replace(tuned, consumers_subject=settings.subjects.consumer())
    return JetStreamBus(url or settings.nats_url, creds=_text(settings.nats_creds), ca=_text(settings.nats_ca), name=name, tuning=tuned)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
