"""Taint labels: where what a run was given came from. Pure; owns how they are written and put together, not what they mean."""

from __future__ import annotations

import re
from collections.abc import Iterable

from waypost_proto.errors import BadInput
from waypost_proto.limits import MAX_TAINT_CHARS, MAX_TAINTS

MORE = "more"
"""Stands for labels past `MAX_TAINTS`: what is not listed is not clean."""

_LABEL = re.compile(rf"[a-z0-9][a-z0-9._:/-]{{0,{MAX_TAINT_CHARS - 1}}}")


def check_label(label: str) -> str:
    """`label` itself. Raises `BadInput` for what is no label: it is matched by policies, and shown to people."""
    if not isinstance(label, str) or _LABEL.fullmatch(label) is None:
        raise BadInput(f"taint label {label!r}: use 1 to {MAX_TAINT_CHARS} of the characters a-z, 0-9, '.', '_', ':', '/' and '-'")
    return label


def merged(old: tuple[str, ...], new: Iterable[str]) -> tuple[str, ...]:
    """Both, each label once, in order, at most `MAX_TAINTS` and then `more`. `old` itself when nothing is new."""
    fresh = set(new).difference(old)
    if not fresh:
        return old
    labels = sorted(fresh.union(old) - {MORE})
    if len(labels) > MAX_TAINTS or MORE in old or MORE in fresh:
        labels = [*labels[:MAX_TAINTS], MORE]
    return tuple(labels)
