"""A tool's breaker as a state machine, and the bucket that paces its calls: by hand-made clocks."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from waypost_gateway.breaking import PROBE_SECONDS, ToolBreaker, Wait
from waypost_gateway.rates import TokenBucket
from waypost_proto.values import Breaker, Rate

POLICY = Breaker(failures=3, window_seconds=60, open_seconds=30)


def breaker(policy: Breaker = POLICY, gateway: str = "g1") -> ToolBreaker:
    return ToolBreaker("pay", policy, gateway=gateway, probe_seconds=10.0)


def opened(at: float = 100.0, gateway: str = "g1") -> ToolBreaker:
    made = breaker(gateway=gateway)
    for _ in range(3):
        made.failed(at, "Boom")
    return made


def test_enough_failures_open_it_and_the_very_next_call_waits() -> None:
    made = breaker()
    assert [made.failed(float(second), "Boom") for second in (1, 2, 3)] == [False, False, True]
    wait = made.admit(3.0, 0.0)
    assert isinstance(wait, Wait)
    assert wait.seconds == 30.0
    assert "3 of 3 calls failed within 60 s, the last with Boom" in wait.message
    assert made.trips == 1


def test_failures_that_are_far_apart_do_not() -> None:
    made = breaker()
    assert not any(made.failed(float(second), "Boom") for second in range(0, 600, 40))
    assert made.state == "closed"


def test_a_tool_that_mostly_works_is_left_alone() -> None:
    made = breaker()
    for _ in range(10):
        made.succeeded(1.0)
    assert not any(made.failed(2.0, "Boom") for _ in range(9))
    assert made.failed(2.0, "Boom")


def test_after_its_time_one_call_is_let_through_and_the_others_wait() -> None:
    made = opened()
    assert isinstance(made.admit(129.9, 0.0), Wait)
    assert made.admit(130.0, 0.0) == "probe"
    other = made.admit(130.1, 0.0)
    assert isinstance(other, Wait)
    assert other.seconds == PROBE_SECONDS
    assert made.succeeded(131.0, probe=True)
    assert made.admit(131.0, 0.0) == "closed"


def test_a_probe_that_fails_opens_it_again_for_the_whole_time() -> None:
    made = opened()
    assert made.admit(130.0, 0.0) == "probe"
    assert made.failed(131.0, "Boom", probe=True)
    assert isinstance(made.admit(160.9, 0.0), Wait)
    assert made.admit(161.0, 0.0) == "probe"


def test_a_probe_that_never_reports_is_followed_by_another() -> None:
    made = opened()
    assert made.admit(130.0, 0.0) == "probe"
    assert made.admit(140.0, 0.0) == "probe"


def test_a_probe_that_says_nothing_of_the_tool_is_given_back() -> None:
    made = opened()
    assert made.admit(130.0, 0.0) == "probe"
    assert made.spared(130.1)
    assert made.admit(130.1, 0.0) == "probe"
    assert not breaker().spared(1.0)


def test_calls_that_were_begun_before_it_opened_change_nothing() -> None:
    made = opened()
    assert not made.failed(101.0, "Boom")
    assert not made.succeeded(101.0)
    assert made.state == "open"


def test_others_hear_of_it_in_any_order_and_agree() -> None:
    first, second = opened(gateway="g1"), breaker(gateway="g2")
    news = [first.news]
    assert first.admit(130.0, 0.0) == "probe"
    news.append(first.news)
    first.succeeded(131.0, probe=True)
    news.append(first.news)
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0, 1]):
        second = breaker(gateway="g2")
        for index in order:
            second.heard(news[index])
        assert second.news == first.news
    assert not second.heard(news[2])
    assert second.admit(131.0, 0.0) == "closed"


def test_a_gateway_that_heard_of_it_stops_at_once_and_may_probe() -> None:
    second = breaker(gateway="g2")
    assert second.heard(opened().news)
    assert isinstance(second.admit(100.1, 0.0), Wait)
    assert second.admit(130.0, 0.0) == "probe"
    assert second.news.probe == "g2"


def test_a_state_that_follows_is_later_although_the_clock_went_back() -> None:
    made = opened(at=100.0)
    before = made.news
    made._policy = replace(POLICY, open_seconds=0.001)  # as a test of the clock alone
    made.heard(replace(before, at=before.at + 1, until=0.0))
    assert made.admit(50.0, 0.0) == "probe"
    assert made.news.at > before.at


def test_those_that_waited_come_back_spread_out() -> None:
    made = opened()
    waits = [made.admit(100.0, dice) for dice in (0.0, 0.5, 0.999)]
    seconds = [wait.seconds for wait in waits if isinstance(wait, Wait)]
    assert seconds == sorted(seconds)
    assert 30.0 <= seconds[0] < seconds[2] <= 30.0 + PROBE_SECONDS


# -- rates


def test_a_bucket_lets_a_burst_through_and_then_the_rate() -> None:
    bucket = TokenBucket(Rate(count=10, seconds=1.0), now=0.0)
    assert bucket.available(0.0) == 10
    for _ in range(10):
        bucket.take(0.0)
    assert bucket.available(0.0) == 0
    assert bucket.wait_seconds(0.0) == pytest.approx(0.1)
    assert bucket.available(0.55) == 5
    assert bucket.available(100.0) == 10


def test_gateways_share_it_and_take_over_the_share_of_one_that_went() -> None:
    bucket = TokenBucket(Rate(count=10, seconds=1.0), now=0.0)
    bucket.share(2, 0.0)
    assert bucket.available(0.0) == 5
    for _ in range(5):
        bucket.take(0.0)
    assert bucket.available(1.0) == 5
    bucket.share(1, 1.0)
    assert bucket.available(1.5) == 10


def test_a_slow_rate_that_many_share_lets_each_have_a_call_in_time() -> None:
    bucket = TokenBucket(Rate(count=1, seconds=10.0), now=0.0)
    bucket.share(4, 0.0)
    assert bucket.available(0.0) == 0
    assert bucket.wait_seconds(0.0) == pytest.approx(30.0)
    assert bucket.available(30.0) == 1


def test_what_was_taken_too_much_is_paid_first_and_what_was_not_used_comes_back() -> None:
    bucket = TokenBucket(Rate(count=2, seconds=1.0), now=0.0)
    for _ in range(4):
        bucket.take(0.0)
    assert bucket.wait_seconds(0.0) == pytest.approx(1.5)
    bucket.give_back()
    assert bucket.wait_seconds(0.0) == pytest.approx(1.0)
