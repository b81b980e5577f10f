"""JSON Schemas that came from outside, checked once and then asked: does a value fit? Imports `jsonschema-rs` when first used.

No `$ref` leaves the document: nothing is fetched, neither from the network nor from disk. Patterns run on an engine without
backtracking where they can, and under a limit where they cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from waypost_proto.codec import nesting_of
from waypost_proto.errors import BadInput, Misconfigured
from waypost_proto.limits import MAX_NESTING

MAX_SCHEMA_BYTES = 1024 * 1024
MAX_PROBLEMS = 5
"""Of one value: what is told is for somebody who then mends it."""
_EXCERPT_CHARS = 80
_DRAFTS = {"4": "Draft4Validator", "7": "Draft7Validator", "2020-12": "Draft202012Validator"}


class Schema:
    """One JSON Schema. `text` is its canonical JSON. Raises `BadInput` that names `what` and where the schema is wrong."""

    def __init__(self, what: str, schema: Mapping[str, Any] | bool, *, draft: str = "2020-12") -> None:
        self.what = what
        self.document = schema
        self.text = msgspec.json.encode(schema, order="deterministic")
        if len(self.text) > MAX_SCHEMA_BYTES or nesting_of(self.text) > MAX_NESTING:
            raise BadInput(f"{what}: a schema of {len(self.text)} bytes; at most {MAX_SCHEMA_BYTES}, nested at most {MAX_NESTING} deep")
        self._draft = draft
        self._validator: Any = None

    def check(self) -> None:
        """Compile the schema now. Raises `BadInput`."""
        self._compiled()

    def problems(self, value: object) -> list[str]:
        """What of `value` does not fit, each with its path; empty if it fits."""
        validator = self._compiled()
        if validator.is_valid(value):
            return []
        found = []
        for error in validator.iter_errors(value):
            found.append(f"{_shortened(error.message)} at ${_path(error.instance_path)}")
            if len(found) == MAX_PROBLEMS:
                break
        return found or ["it does not fit the schema"]

    def _compiled(self) -> Any:
        if self._validator is None:
            rs = _library(self.what)
            kind = getattr(rs, _DRAFTS[self._draft])
            # the engine without backtracking knows no look-around; patterns that need it get the other one, which counts its steps
            for patterns in (rs.RegexOptions(), rs.FancyRegexOptions(backtrack_limit=10_000)):
                try:
                    self._validator = kind(self.document, retriever=_refuse, pattern_options=patterns)
                    break
                except (rs.ValidationError, rs.ReferencingError, ValueError) as error:
                    problem: Exception = error
            else:
                raise BadInput(f"{self.what} is no usable JSON Schema: {_told(problem)}") from problem
        return self._validator


def _library(what: str) -> Any:
    try:
        import jsonschema_rs
    except ImportError as error:
        raise Misconfigured(f"{what} has a JSON Schema: install 'waypost[http]' (or 'waypost[mcp]') to check values against it") from error
    return jsonschema_rs


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri!r} lies outside of the document; only references within it are followed")


def _told(error: Exception) -> str:
    text = getattr(error, "message", str(error))
    path = getattr(error, "instance_path", None)
    return f"{_shortened(text)} at #{_path(path)}" if path else _shortened(text)


def _path(path: Any) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path or ())


def _shortened(text: str) -> str:
    """A message that begins with the value, which may be long."""
    return text if len(text) <= 3 * _EXCERPT_CHARS else f"{text[:_EXCERPT_CHARS]} … {text[-2 * _EXCERPT_CHARS :]}"
