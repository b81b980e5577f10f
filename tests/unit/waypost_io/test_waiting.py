"""The tests' own polling helper."""

from __future__ import annotations

import pytest

from tests.waiting import wait_until


async def test_returns_the_first_true_value() -> None:
    values = iter([0, 0, 3])
    assert await wait_until(lambda: next(values)) == 3


async def test_awaits_and_ignores_what_means_not_yet() -> None:
    tries = 0

    async def attempt() -> int:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ConnectionError("refused")
        return tries

    assert await wait_until(attempt, ignore=(ConnectionError,)) == 3


async def test_says_what_was_last_seen() -> None:
    with pytest.raises(AssertionError, match=r"not within 0 s: the run ends; last: \[\]"):
        await wait_until(list, seconds=0, message="the run ends")
