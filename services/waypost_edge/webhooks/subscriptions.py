"""Who gets which events, by a file (`WAYPOST_WEBHOOKS_FILE`).

[[webhook]]
name = "crm"                                  # names its place in the stream: another name begins anew
url = "https://hooks.example.com/waypost"
secret_file = "/etc/waypost/crm.secret"       # or secret_env = "CRM_WEBHOOK_SECRET"
tenant = "bank"                               # "*": every tenant's; "default" without it
agents = ["compliance"]                       # all without it
types = ["run_completed", "run_failed"]       # all without it
allow = ["10.1.2.0/24:8443"]                  # private addresses that are meant
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from waypost_io.permissions import DEFAULT_TENANT, EVERY_TENANT
from waypost_proto.errors import BadInput, Misconfigured
from waypost_proto.events import AnyData, Event
from waypost_proto.ids import check_name

MAX_WEBHOOKS = 100
SECRET_PREFIX = "whsec_"  # noqa: S105  # how such a secret begins
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
"""Of Standard Webhooks."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,47}")
_TYPES = frozenset(kind.__struct_config__.tag for kind in get_args(AnyData))


class Subscription(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One endpoint and what it gets. It is given up on an event after `attempts`, or `give_up_seconds` after that was recorded."""

    name: str
    url: str
    secret_file: str = ""
    secret_env: str = ""
    tenant: str = DEFAULT_TENANT
    agents: list[str] = []
    types: list[str] = []
    allow: list[str] = []
    timeout_seconds: Annotated[float, Meta(ge=1, le=60)] = 15.0
    attempts: Annotated[int, Meta(ge=1, le=100)] = 20
    give_up_seconds: Annotated[float, Meta(ge=1, le=259_200)] = 86_400.0
    at_once: Annotated[int, Meta(ge=1, le=64)] = 8

    def wants(self, event: Event) -> bool:
        """Whether the endpoint gets this event."""
        return (
            self.tenant in (EVERY_TENANT, event.tenant)
            and (not self.agents or event.agent in self.agents)
            and (not self.types or event.type in self.types)
        )

    def secret(self) -> bytes:
        """The key behind `secret_file` or `secret_env`, read now. Raises `Misconfigured`; never shows it."""
        place = f"webhook {self.name!r}: its secret ({self.secret_file or self.secret_env})"
        try:
            text = Path(self.secret_file).expanduser().read_text(encoding="utf-8") if self.secret_file else os.environ[self.secret_env]
        except (OSError, UnicodeDecodeError, KeyError) as error:
            raise Misconfigured(f"{place} cannot be read: {type(error).__name__}") from error
        try:
            key = base64.b64decode(text.strip().removeprefix(SECRET_PREFIX), validate=True)
        except (binascii.Error, ValueError) as error:
            raise Misconfigured(f"{place} is not base64, after {SECRET_PREFIX!r}: `openssl rand -base64 32` makes one") from error
        if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
            raise Misconfigured(f"{place} has {len(key)} bytes, it needs {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES}")
        return key


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    webhook: list[Subscription] = []


def read_subscriptions(path: Path) -> list[Subscription]:
    """Raises `Misconfigured`, with the place and what to do."""
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).webhook
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Misconfigured(f"WAYPOST_WEBHOOKS_FILE={str(path)!r}: {error}") from error
    if len(found) > MAX_WEBHOOKS:
        raise Misconfigured(f"WAYPOST_WEBHOOKS_FILE={str(path)!r}: {len(found)} webhooks, the limit is {MAX_WEBHOOKS}")
    names: set[str] = set()
    for webhook in found:
        problem = _problem(webhook) or ("its name is another's too" if webhook.name in names else "")
        if problem:
            raise Misconfigured(f"WAYPOST_WEBHOOKS_FILE={str(path)!r}: webhook {webhook.name!r}: {problem}")
        names.add(webhook.name)
        webhook.secret()
    return found


def _problem(webhook: Subscription) -> str:
    if _NAME.fullmatch(webhook.name) is None:
        return "a name has 1 to 48 of the characters a-z, 0-9 and '-'"
    parts = urlsplit(webhook.url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username is not None:
        return f"url {parts.scheme}://{parts.hostname}: use https://host/path, without user and password"
    if parts.scheme == "http" and not webhook.allow:
        return "use https; http is for addresses that `allow` names"
    if bool(webhook.secret_file) == bool(webhook.secret_env):
        return "give secret_file or secret_env, one of them"
    unknown = sorted(set(webhook.types) - _TYPES)
    if unknown:
        return f"types: there is no event {unknown[0]!r}, see docs/wire.md"
    try:
        for agent in webhook.agents:
            check_name("agent", agent)
    except BadInput as error:
        return str(error)
    return ""
