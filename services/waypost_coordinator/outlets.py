"""Which ways out supervisor notices have, by the settings."""

from __future__ import annotations

from waypost_coordinator.apprise_outlet import AppriseOutlet
from waypost_coordinator.webhook import Outlet, Webhook
from waypost_io.settings import CoordinatorSettings


def outlets(settings: CoordinatorSettings) -> list[Outlet]:
    """None, a webhook, Apprise, or both. Raises `Misconfigured`."""
    found: list[Outlet] = []
    if settings.supervisor_webhook_url:
        found.append(Webhook(settings.supervisor_webhook_url, settings.supervisor_webhook_secret))
    if settings.supervisor_apprise_urls_secret:
        found.append(AppriseOutlet(settings.supervisor_apprise_urls_secret))
    return found
