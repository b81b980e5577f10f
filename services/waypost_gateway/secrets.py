"""The secrets of a gateway's tools: where they come from, how they are replaced. Owns the values; `known_secrets` keeps them from leaving.

`WAYPOST_SECRET_BANK_TOKEN` is the secret `bank-token`. `WAYPOST_SECRETS_FILE` is a TOML file of `name = "value"`, which wins, and is read
again when it changes.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import structlog

from waypost_io.known_secrets import KNOWN, MIN_CHARS, KnownSecrets
from waypost_io.settings import SECRETS_PREFIX
from waypost_proto.errors import BadInput, Misconfigured
from waypost_proto.ids import check_name

_NOT_PLAIN = re.compile(r"[^a-z0-9]")
"""A variable's name cannot tell `bank-token`, `bank_token` and `Bank.Token` apart."""
MAX_FILE_BYTES = 1024 * 1024

_log = structlog.get_logger(__name__)


class Secrets(Mapping[str, str]):
    """By name. Never shows a value in its `repr`. Raises `Misconfigured` when the file cannot be used at the start."""

    def __init__(self, environ: Mapping[str, str], file: Path | None = None, *, known: KnownSecrets = KNOWN) -> None:
        self._file = file
        self._known = known
        self._of_environment = {
            name.removeprefix(SECRETS_PREFIX).lower().replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith(SECRETS_PREFIX) and name != SECRETS_PREFIX
        }
        self._values: dict[str, str] = {}
        self._take(self._read())

    def __getitem__(self, name: str) -> str:
        return self._values[_NOT_PLAIN.sub("-", name.lower())]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<secrets {', '.join(sorted(self._values))}>"

    @property
    def file(self) -> Path | None:
        return self._file

    def reload(self) -> None:
        """Read the file again. What cannot be used changes nothing. Raises `Misconfigured` that names no value."""
        self._take(self._read())

    def _read(self) -> dict[str, str]:
        if self._file is None:
            return {}
        try:
            if self._file.stat().st_size > MAX_FILE_BYTES:
                raise Misconfigured(f"WAYPOST_SECRETS_FILE: {self._file} is larger than {MAX_FILE_BYTES} bytes")
            found = tomllib.loads(self._file.read_text())
        except OSError as error:
            raise Misconfigured(f"WAYPOST_SECRETS_FILE: {self._file} cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            # the error would quote the line
            raise Misconfigured(f'WAYPOST_SECRETS_FILE: {self._file} is not TOML of name = "value" lines') from None
        for name, value in found.items():
            try:
                check_name("secret", name)
            except BadInput as error:
                raise Misconfigured(f"WAYPOST_SECRETS_FILE: {error}") from None
            if not isinstance(value, str) or not value:
                raise Misconfigured(f"WAYPOST_SECRETS_FILE: {name} is not a text")
        return found

    def _take(self, of_file: dict[str, str]) -> None:
        before = set(self._values.values())
        self._values = {**self._of_environment, **of_file}
        short = sorted(name for name, value in self._values.items() if len(value) < MIN_CHARS)
        if short:
            _log.warning("secrets this short cannot be recognised in results and logs", names=short, min_chars=MIN_CHARS)
        # what a running call was given may still come back: values that were replaced stay hidden
        self._known.replace(before.union(self._values.values()))
