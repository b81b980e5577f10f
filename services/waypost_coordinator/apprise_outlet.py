"""Notices by Apprise: mail, chat and a hundred other services, each an address of its own. Needs the extra `waypost[apprise]`."""

from __future__ import annotations

import importlib
from typing import Any

from waypost_proto.errors import Misconfigured
from waypost_proto.notices import Notice


class AppriseOutlet:
    """`urls`: Apprise addresses, separated by spaces. Raises `Misconfigured` without the extra, or for an address that is none."""

    name = "apprise"

    def __init__(self, urls: str) -> None:
        try:
            apprise: Any = importlib.import_module("apprise")
        except ImportError as error:
            hint = "WAYPOST_SUPERVISOR_APPRISE_URLS is set and Apprise is not installed: pip install 'waypost[apprise]'"
            raise Misconfigured(hint) from error
        self._apprise = apprise.Apprise()
        for number, url in enumerate(urls.split(), 1):
            if not self._apprise.add(url):
                raise Misconfigured(f"WAYPOST_SUPERVISOR_APPRISE_URLS: address {number} is not one that Apprise knows")

    def send(self, notice: Notice, body: bytes, now: float) -> str:
        """To all addresses. When one of them fails all get it again: Apprise says no more than that."""
        del body, now
        taken = self._apprise.notify(title=title_of(notice), body=text_of(notice))
        return "" if taken else "Apprise could not hand it over to all addresses"


def title_of(notice: Notice) -> str:
    """One line: how urgent, what about."""
    level = f" (level {notice.level}{': ' + notice.to if notice.to else ''})" if notice.level else ""
    return f"Waypost: {notice.agent} {notice.why.replace('_', ' ')}{level}"


def text_of(notice: Notice) -> str:
    """The message, and what can be done, as command lines."""
    return "\n".join([notice.message, "", *(f"{action.label}: {action.command}" for action in notice.actions)])
