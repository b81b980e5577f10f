"""What a seed decides: the same plan each time, every kind of fault sooner or later, nothing that was not asked for."""

from __future__ import annotations

import pytest

from tests.chaos.storm.customers import orders_of
from tests.chaos.storm.faults import FAULTS
from tests.chaos.storm.plan import KINDS, Weather, kinds_named, strikes_of
from tests.unit.docs.pages import DOCS, text_of


def test_the_same_seed_gives_the_same_strikes_and_orders() -> None:
    weather = Weather()
    assert strikes_of(7, 3, weather) == strikes_of(7, 3, weather)
    assert orders_of(7, 3, seconds=40, per_second=2) == orders_of(7, 3, seconds=40, per_second=2)
    assert strikes_of(7, 3, weather) != strikes_of(7, 4, weather)
    assert strikes_of(7, 3, weather) != strikes_of(8, 3, weather)


def test_every_kind_is_drawn_and_within_its_bounds() -> None:
    strikes = [strike for number in range(200) for strike in strikes_of(1, number, Weather(longest_seconds=30))]
    assert {strike.kind for strike in strikes} == set(KINDS) == set(FAULTS)
    for strike in strikes:
        kind = KINDS[strike.kind]
        assert strike.target in kind.targets
        assert min(kind.seconds[0], 30) <= strike.seconds <= min(kind.seconds[1], 30)
    assert {strike.target for strike in strikes if strike.kind == "kill"} == set(KINDS["kill"].targets)


def test_only_what_was_asked_for_strikes() -> None:
    kinds = kinds_named(["disk", "kill"])
    assert kinds == {"nats-disk-full", "postgres-disk-full", "kill"}
    assert {strike.kind for number in range(20) for strike in strikes_of(1, number, Weather(kinds=kinds))} == kinds
    assert kinds_named([]) == set(KINDS)
    with pytest.raises(ValueError, match="no such fault: rain; there are the groups kills"):
        kinds_named(["kills", "rain"])


def test_every_fault_is_in_the_documentation() -> None:
    page = text_of(DOCS / "chaos.md")
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []
