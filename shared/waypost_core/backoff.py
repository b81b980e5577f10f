"""When to try again: exponential backoff with jitter, and `Retry-After` where the other side asked for it.

Source of the form: M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015). We take a bounded share of jitter
instead of full jitter, so that "next attempt at" is never long before what the policy says.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from waypost_proto.values import Retry


def delay_seconds(retry: Retry, attempt: int, jitter: float, retry_after_seconds: float | None = None) -> float:
    """Seconds to wait after attempt number `attempt` (1-based) failed. `jitter` is a random number in [0, 1).

    A longer `retry_after_seconds` wins; a shorter one does not shorten the backoff.
    """
    exponent = min(attempt - 1, 64)  # 2**64 seconds is past any max_seconds, and a float holds it
    delay = min(retry.max_seconds, retry.initial_seconds * retry.factor**exponent)
    delay *= 1.0 - retry.jitter * jitter
    return max(delay, retry_after_seconds or 0.0)


def policy_for(retry: Retry, kinds: Iterable[str]) -> Retry | None:
    """The policy for an error whose class is the first of `kinds` and whose bases are the others; None: it is not tried again.

    `never` wins over `only`. Of `errors` the entry of the nearest class counts.
    """
    if not (retry.only or retry.never or retry.errors):
        return retry
    names = tuple(kinds)
    if any(name in retry.never for name in names) or (retry.only and not any(name in retry.only for name in names)):
        return None
    own = next((retry.errors[name] for name in names if name in retry.errors), None)
    if own is None:
        return retry
    changed = {name: value for name in own.__struct_fields__ if (value := getattr(own, name)) is not None}
    return msgspec.structs.replace(retry, **changed)
