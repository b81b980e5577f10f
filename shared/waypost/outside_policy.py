"""What can be said of a tool on somebody else's system besides its request: as of any tool, in one place for all kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypedDict, cast

from waypost.options import Breaker, Rate, Retry, Seconds, breaker_of, labels_of, rate_of, seconds_of
from waypost.tools import DEFAULT_CONCURRENCY, DEFAULT_TIMEOUT_SECONDS, EffectName, ToolPolicy
from waypost_proto.errors import BadInput
from waypost_proto.limits import MAX_PAYLOAD_BYTES
from waypost_proto.values import Effect

DEFAULT_MAX_BYTES = 1024 * 1024
"""Of a result."""


class PolicyOptions(TypedDict, total=False):
    """See `waypost.tool`; all optional. `taint` is `outside` if it is not given."""

    retry: Retry
    timeout: Seconds
    concurrency: int
    rate: str | Rate
    breaker: Breaker
    taint: str | Iterable[str]
    settle: Seconds
    max_bytes: int
    """The largest result; reading stops there."""


def policy_of(
    what: str, effect: Effect, options: PolicyOptions, *, reconcile: Callable[..., Any] | None = None, secrets: Iterable[str] = ()
) -> ToolPolicy:
    """Raises `BadInput`, `TypeError` or `ValueError` that names the tool."""
    settle = options.get("settle")
    concurrency = at_least_one(what, "concurrency", options.get("concurrency", DEFAULT_CONCURRENCY))
    max_bytes = at_least_one(what, "max_bytes", options.get("max_bytes", DEFAULT_MAX_BYTES))
    if max_bytes > MAX_PAYLOAD_BYTES:
        raise BadInput(f"{what}: max_bytes={max_bytes}: a result is at most {MAX_PAYLOAD_BYTES} bytes")
    if reconcile is not None and effect is not Effect.UNSAFE:
        raise TypeError(f"{what}: reconcile= is for unsafe tools: one with effect={effect.value!r} is simply run again")
    return ToolPolicy(
        effect=effect,
        retry=options.get("retry") or Retry(),
        timeout_seconds=seconds_of(f"{what}: timeout", options.get("timeout", DEFAULT_TIMEOUT_SECONDS)),
        concurrency=concurrency,
        reconcile=reconcile,
        rate=rate_of(options.get("rate")),
        breaker=breaker_of(options.get("breaker")),
        taint=labels_of(options.get("taint", ())),
        max_result_bytes=MAX_PAYLOAD_BYTES,  # `max_bytes` has bounded what was read; as our JSON it may be longer
        settle_seconds=None if settle is None else seconds_of(f"{what}: settle", settle),
        secrets=tuple(sorted(set(secrets))),
    )


def policy_options(options: object) -> PolicyOptions:
    """Those of a tool's options that are of its policy."""
    given = cast("dict[str, Any]", options)
    return cast("PolicyOptions", {name: given[name] for name in PolicyOptions.__annotations__ if name in given})


def at_least_one(what: str, name: str, value: int) -> int:
    """Raises `BadInput` for anything but a whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadInput(f"{what}: {name}={value!r}: a whole number, at least 1")
    return value


def effect_of(what: str, effect: EffectName | Effect) -> Effect:
    """Raises `TypeError` for what is no effect."""
    if effect not in tuple(Effect):
        raise TypeError(f"{what}: effect={effect!r}: use 'read', 'idempotent' or 'unsafe'")
    return Effect(effect)
