"""What the operator says about calls over HTTP, read from the environment of the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Struct

from waypost.http.egress import read_allowed
from waypost_io.environment import Env, read
from waypost_proto.errors import BadInput


def _check_allow(text: str) -> None:
    for entry in text.split(","):
        if entry.strip():
            try:
                read_allowed(entry)
            except BadInput as error:
                raise ValueError(str(error)) from error


class HttpSettings(Struct, frozen=True, kw_only=True):
    """`WAYPOST_HTTP_*`."""

    allow: Annotated[
        str, Env("WAYPOST_HTTP_ALLOW", "networks and hosts that tools may reach though they are not public", check=_check_allow)
    ] = ""
    ca: Annotated[Path | None, Env("WAYPOST_HTTP_CA", "a PEM file with authorities to trust besides the system's")] = None

    @property
    def allowed(self) -> tuple[str, ...]:
        """The entries of the allow-list."""
        return tuple(entry.strip() for entry in self.allow.split(",") if entry.strip())


def http_settings() -> HttpSettings:
    """From the environment as it is now. Raises `Misconfigured` that names the variable and what is wrong with it."""
    return read(HttpSettings)
