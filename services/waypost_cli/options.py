"""Options that several commands share, and the parsing of their values."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from msgspec import DecodeError, Raw, json

from waypost_cli.connect import has_token
from waypost_proto.api import RunsList
from waypost_proto.errors import BadInput
from waypost_proto.values import Budget

AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON instead of text.")]
JsonText = Annotated[str, Parameter(allow_leading_hyphen=True, help="JSON, @FILE, or - for standard input; null if not given.")]
By = Annotated[str, Parameter(name="--by", help="Who does this; it is recorded. $USER if not given.")]
Reason = Annotated[str, Parameter(name="--reason", help="Why; it is recorded.")]
Labels = Annotated[list[str], Parameter(name="--label", help="A label key=value; may be repeated.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Where:
    """Further filters of the list of runs. Times are RFC 3339, such as 2026-12-01T17:00:00Z."""

    search: Annotated[
        str | None, Parameter(help="The beginning of a run id, a correlation id or an idempotency key; or a label, key=value.")
    ] = None
    parent: Annotated[str | None, Parameter(help="Only children of this run.")] = None
    attention: Annotated[bool, Parameter(negative=(), help="Only runs that wait for a person.")] = False
    created_from: Annotated[str | None, Parameter(help="Only runs that started at this time or later.")] = None
    created_to: Annotated[str | None, Parameter(help="Only runs that started before this time.")] = None
    updated_from: Annotated[str | None, Parameter(help="Only runs that changed last at this time or later.")] = None
    updated_to: Annotated[str | None, Parameter(help="Only runs that changed last before this time.")] = None

    def filters(self) -> RunsList:
        """As `runs.list` takes them."""
        return RunsList(
            text=self.search,
            parent=self.parent,
            needs_attention=self.attention,
            created_from=self.created_from,
            created_to=self.created_to,
            updated_from=self.updated_from,
            updated_to=self.updated_to,
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Limits:
    """Options that set a run's limits. At a limit the run pauses where it is; it does not end."""

    max_steps: Annotated[int | None, Parameter(help="Pause after so many model, tool and child calls.")] = None
    max_tokens: Annotated[int | None, Parameter(help="Pause at so many model tokens.")] = None
    max_cost: Annotated[float | None, Parameter(help="Pause at this cost in US dollars.")] = None
    max_seconds: Annotated[float | None, Parameter(help="Pause when the run is so old.")] = None

    def budget(self) -> Budget | None:
        """What was given; None if nothing was. Raises `BadInput` for a limit that is not positive."""
        given = {"max_steps": self.max_steps, "max_tokens": self.max_tokens, "max_cost_usd": self.max_cost, "max_seconds": self.max_seconds}
        for name, value in given.items():
            if value is not None and not value > 0:
                option = name.removesuffix("_usd").replace("_", "-")
                raise BadInput(f"--{option} {value:g} is not a positive number")
        if all(value is None for value in given.values()):
            return None
        return Budget(**given)  # type: ignore[arg-type]


NO_LIMITS = Limits()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class NewLimits:
    """Options that raise a run's limits: a number is the new value, a number with a plus in front is added to what is set (`+20`)."""

    max_steps: Annotated[str, Parameter(help="New limit of steps, or +N more.")] = ""
    max_tokens: Annotated[str, Parameter(help="New limit of model tokens, or +N more.")] = ""
    max_cost: Annotated[str, Parameter(help="New limit in US dollars, or +N more.")] = ""
    max_seconds: Annotated[str, Parameter(help="New age limit in seconds, or +N more.")] = ""

    def budgets(self) -> tuple[Budget | None, Budget | None]:
        """New values, and amounts to add. Raises `BadInput` for what is not a positive number."""
        given = {
            "max_steps": (self.max_steps, int),
            "max_tokens": (self.max_tokens, int),
            "max_cost_usd": (self.max_cost, float),
            "max_seconds": (self.max_seconds, float),
        }
        new: dict[str, float] = {}
        extra: dict[str, float] = {}
        for name, (text, kind) in given.items():
            if not text:
                continue
            option = name.removesuffix("_usd").replace("_", "-")
            try:
                value = kind(text)
            except ValueError:
                what = "a whole number" if kind is int else "a number"
                raise BadInput(f"--{option} {text} is not {what}, with or without a plus in front") from None
            if not 0 < value < float("inf"):
                raise BadInput(f"--{option} {text} is not a positive number")
            (extra if text.lstrip().startswith("+") else new)[name] = value
        return (Budget(**new) if new else None, Budget(**extra) if extra else None)  # type: ignore[arg-type]


NO_NEW_LIMITS = NewLimits()


def who(by: str) -> str:
    """The name that is recorded: `--by`, or the user of this process; "" for a signed request, whose signature says who."""
    if by or has_token():
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""  # a user id without a name, in a container: the API says what is missing where a name is needed


def parse_json(what: str, text: str) -> Raw:
    """JSON given on the command line: itself, `@file`, or `-` for standard input. Raises `BadInput`."""
    source = text
    if text == "-":
        body = sys.stdin.buffer.read()
        source = "standard input"
    elif text.startswith("@"):
        source = text[1:]
        try:
            body = Path(source).expanduser().read_bytes()
        except OSError as error:
            raise BadInput(f"{what}: cannot read {source!r}: {error.strerror or error}") from error
    else:
        body = text.encode("utf-8", "surrogateescape")
    try:
        json.decode(body)
    except (DecodeError, UnicodeDecodeError) as error:
        hint = "; a JSON text needs its quotes: '\"like this\"'" if source is text else ""
        raise BadInput(f"{what}: {source!r} is not JSON: {error}{hint}") from error
    return Raw(body.strip())


def parse_labels(pairs: Sequence[str]) -> dict[str, str]:
    """`key=value` pairs as a mapping. Raises `BadInput`."""
    labels: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise BadInput(f"--label {pair!r} is not key=value")
        labels[key] = value
    return labels


def some(run_ids: Sequence[str]) -> Sequence[str]:
    """The runs that were named. Raises `BadInput` for none."""
    if not run_ids:
        raise BadInput("name at least one run id; `waypost runs list` shows them")
    return run_ids
