"""Runs properties on many drawn examples, under seeds. On a failure the shrunk example is printed as a program to read."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hypothesis
import structlog
from hypothesis import HealthCheck, Phase, given, settings

from tests.programs.hosts import Host
from tests.programs.making import programs
from tests.programs.properties import PROPERTIES, Property, Tally
from tests.programs.tree import Program

BATCH = 250
"""Examples under one seed: a failure is found again by running so many."""


class Failed(AssertionError):
    """An example that breaks a property, in words."""


def run_batch(
    one: Property, seed: int, examples: int, hosts: Sequence[Host], tally: Tally, on_example: Callable[[], None] = lambda: None
) -> None:
    """`examples` examples under `seed`. Raises `Failed` with the shrunk program."""
    last: list[Any] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(one.strategy)
    def example(drawn: Any) -> None:
        last[:] = [drawn]
        tally.examples += 1
        on_example()
        one.check(drawn, hosts, tally)

    with quiet():
        try:
            example()
        except Exception as error:
            raise Failed(f"{one.name}, seed {seed}: {error}\n\n{last[0].describe()}\n\n# as drawn: {last[0]!r}") from error


def collected(seed: int, count: int, keep: Callable[[Program], bool]) -> list[Program]:
    """So many programs of `keep`'s liking, drawn under `seed`. Raises `AssertionError` if there are not so many among a few hundred."""
    found: list[Program] = []

    @hypothesis.seed(seed)
    @settings(max_examples=40 * count, database=None, deadline=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
    @given(programs())
    def example(program: Program) -> None:
        if len(found) < count and keep(program):
            found.append(program)

    with quiet():
        example()
    assert len(found) == count, f"only {len(found)} of {count} programs under seed {seed}"
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Programs leave failed tasks and unstarted coroutines behind; nobody wants to read of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        before = structlog.get_config()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR), cache_logger_on_first_use=False)
        try:
            yield
        finally:
            structlog.configure(**before)


def shares(examples: int) -> dict[str, int]:
    """So many examples for each property: crashes are what this is about."""
    return {name: max(1, examples // (2 if name == "crashes" else 4)) for name in PROPERTIES}
