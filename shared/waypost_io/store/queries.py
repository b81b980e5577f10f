"""Reads the named queries of `sql/<table>.sql`, the files of `migrations/` and those of `schema/`. Owns no connection.

A named query begins at a line `-- name: x`; the comment line after it says what uses it. The names are the keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

from waypost_proto.errors import ContractError

_HEADER = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def load(table: str) -> Mapping[str, str]:
    """The queries of `sql/<table>.sql` by name, comments included. Raises `ContractError` if a name comes twice."""
    text = files(__package__).joinpath("sql", f"{table}.sql").read_text("utf-8")
    parts = _HEADER.split(text)
    names, bodies = parts[1::2], parts[2::2]
    if len(set(names)) != len(names):
        raise ContractError(f"sql/{table}.sql defines a query twice; its names are {sorted(names)}")
    return MappingProxyType({name: body.strip().removesuffix(";") for name, body in zip(names, bodies, strict=True)})


def tables() -> list[str]:
    """Names of the files in `sql/`, sorted."""
    return _stems("sql")


def scripts(folder: str) -> dict[str, str]:
    """The files of `schema` or `migrations` by name without ending, in order of name."""
    return {stem: files(__package__).joinpath(folder, f"{stem}.sql").read_text("utf-8") for stem in _stems(folder)}


def _stems(folder: str) -> list[str]:
    found = files(__package__).joinpath(folder).iterdir()
    return sorted(path.name.removesuffix(".sql") for path in found if path.name.endswith(".sql"))
