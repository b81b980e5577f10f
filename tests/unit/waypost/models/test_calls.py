"""One model call as a step: retries, fallbacks, limits, and the record that is there however it ends."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.waypost.models.world import DOLLAR, Watcher, asked, call_of, options, step
from waypost.execution import failure_of
from waypost.models import (
    AnswerTooLarge,
    Fallback,
    ModelBusy,
    ModelCut,
    ModelRefused,
    ModelRequest,
    ModelTimeout,
    ModelUnpriced,
    TokenCounts,
    ToolSpec,
    UserMessage,
)
from waypost.models.calls import ask, reservation_of, response_of, retry_in
from waypost.models.prices import FREE
from waypost.models.scripted import Say, ScriptedModel, uses
from waypost_proto.usage import Usage
from waypost_proto.values import Retry


async def test_an_answer_is_recorded_with_what_it_took() -> None:
    model = ScriptedModel(
        [Say(text="Paris.", usage=TokenCounts(input_tokens=40, output_tokens=3, cached_tokens=10))], options=options(price=DOLLAR)
    )
    watcher = Watcher()
    effect = step(model, asked(), watcher)
    response = response_of(await effect.run())
    assert response.message.text == "Paris."
    assert effect.meter.usage == Usage(tokens=43, cost_micros=46)
    call = call_of(effect)
    assert (call.model, call.provider, call.finish, call.intent) == ("scripted", "scripted", "stop", "Paris.")
    assert (call.input_tokens, call.output_tokens, call.cached_tokens, call.attempts) == (40, 3, 10, 1)
    assert call.cost_micros == 46
    assert not call.estimated
    assert call.tried == []
    assert len(call.request_digest) == 64
    assert effect.meter.fingerprint
    assert watcher.said[0] == ("begin", "scripted/scripted")
    assert watcher.text == "Paris."
    assert watcher.said[-1] == ("end", "")


async def test_a_busy_provider_is_asked_again_within_the_step() -> None:
    model = ScriptedModel([ModelBusy("429: slow down", retry_after=0.001), ModelBusy("503"), "at last"], by="call", options=options())
    watcher = Watcher()
    effect = step(model, asked(), watcher)
    assert response_of(await effect.run()).message.text == "at last"
    call = call_of(effect)
    assert call.attempts == 3
    assert [(t.error, t.message, t.retry_after) for t in call.tried] == [("ModelBusy", "429: slow down", 0.001), ("ModelBusy", "503", None)]
    assert [what for what, _ in watcher.said] == ["begin", "end", "begin", "end", "begin", "piece", "end"]


async def test_a_long_wait_is_for_the_run_and_not_for_the_step() -> None:
    model = ScriptedModel([ModelBusy("429: come back tomorrow", retry_after=3_600)], by="call", options=options())
    effect = step(model, asked())
    with pytest.raises(ModelBusy) as raised:
        await effect.run()
    failure = failure_of(raised.value)
    assert retry_in(failure, 1, model) == 3_600
    assert call_of(effect).attempts == 1
    assert call_of(effect).tried[0].retry_after == 3_600
    assert effect.meter.usage == Usage()
    with pytest.raises(ModelBusy, match="not asked"):  # nobody else asks before
        await ask(model, asked("another"))
    assert model.calls == 1


async def test_getting_ready_is_no_part_of_the_time_for_an_answer() -> None:
    """The SDK of a provider is imported at the first call, which can take longer than an answer may keep silent."""

    prepared = []

    class Slow(ScriptedModel):
        async def prepare(self) -> None:
            await asyncio.sleep(0.3)
            prepared.append(self.calls)

    slow = options(retry=Retry(max_attempts=1), timeout=0.25, piece_timeout=0.2)
    effect = step(Slow(["Paris."], options=slow), asked())
    assert response_of(await effect.run()).message.text == "Paris."
    assert call_of(effect).attempts == 1
    assert prepared == [0], "once, before it was asked"


def test_patience_ends() -> None:
    model = ScriptedModel([], options=options(patience=3))
    busy = failure_of(ModelBusy("503"))
    waits = [retry_in(busy, tries, model) for tries in (1, 2, 3)]
    assert waits[2] is None
    assert waits[0] is not None
    assert waits[1] is not None
    assert retry_in(failure_of(ModelRefused("401")), 1, model) is None
    assert retry_in(failure_of(ValueError("a bug")), 1, model) is None


async def test_the_next_of_a_chain_is_asked_and_the_record_says_who_answered() -> None:
    first = ScriptedModel([ModelBusy("overloaded")] * 9, by="call", name="large", options=options())
    second = ScriptedModel([ModelRefused("401: no such key")], name="other", options=options())
    third = ScriptedModel(["here"], name="small", options=options())
    effect = step(Fallback(first, second, third), asked())
    assert response_of(await effect.run()).message.text == "here"
    call = call_of(effect)
    assert (call.model, call.attempts) == ("small", 5)
    assert [t.model for t in call.tried] == ["large", "large", "large", "other"]


async def test_when_all_fail_the_one_with_more_hope_is_told() -> None:
    busy = ScriptedModel([ModelBusy("overloaded")] * 9, by="call", options=options())
    refusing = ScriptedModel([ModelRefused("400")], name="other", options=options())
    for chain in (Fallback(busy, refusing), Fallback(refusing, busy)):
        with pytest.raises(ModelBusy):
            await ask(chain, asked())


async def test_a_model_that_hangs_is_given_up() -> None:
    silent = ScriptedModel(
        [Say(text="never", delay=60)], options=options(piece_timeout=0.02, retry=options().retry.__class__(max_attempts=1))
    )
    effect = step(silent, asked())
    with pytest.raises(ModelTimeout, match=r"nothing for 0\.02 s and nothing before"):
        await effect.run()
    call = call_of(effect)
    assert call.tried[0].error == "ModelTimeout"
    assert call.estimated, "the provider may bill what nobody has seen"
    assert call.input_tokens > 0
    slow = ScriptedModel(
        [Say(text="x" * 100, pieces=100, delay=60)], options=options(timeout=0.05, piece_timeout=30, retry=silent.options.retry)
    )
    with pytest.raises(ModelTimeout, match=r"no whole answer within 0\.05 s"):
        await ask(slow, asked())


async def test_pieces_move_the_time_limit() -> None:
    model = ScriptedModel([Say(text="x" * 40, pieces=40, delay=0.4)], options=options(piece_timeout=0.2))
    assert len((await ask(model, asked())).message.text) == 40


async def test_an_answer_past_the_limit_is_cut_off() -> None:
    model = ScriptedModel([Say(text="x" * 10_000_000, pieces=100)], options=options(max_answer_bytes=500_000))
    effect = step(model, asked())
    with pytest.raises(AnswerTooLarge, match=r"600000 bytes or more, the limit is 500000"):
        await effect.run()
    assert call_of(effect).output_tokens == 200_000
    whole = ScriptedModel([Say(text="x" * 600_000)], options=options(max_answer_bytes=500_000, stream=False))
    with pytest.raises(AnswerTooLarge):
        await ask(whole, asked())


async def test_a_cut_stream_is_repeated_unless_the_run_is_metered() -> None:
    script = [Say(text="half of it is lost", pieces=4, cut_after=2), "the whole"]
    model = ScriptedModel(script, by="call", options=options())
    watcher = Watcher()
    effect = step(model, asked(), watcher)
    assert response_of(await effect.run()).message.text == "the whole"
    assert watcher.text == "the whole"
    assert call_of(effect).estimated
    metered = ScriptedModel(script, by="call", options=options())
    effect = step(metered, asked(), metered=True)
    with pytest.raises(ModelCut):
        await effect.run()
    assert metered.calls == 1, "what it has cost is to be reserved anew"
    assert effect.reserve is not None
    assert effect.meter.usage is not None
    assert 0 < effect.meter.usage.tokens <= effect.reserve.tokens


async def test_a_cancelled_call_says_what_it_used() -> None:
    model = ScriptedModel([Say(text="x" * 300, pieces=3, delay=30)], options=options())
    effect = step(model, asked())
    task = asyncio.create_task(effect.run())
    await asyncio.sleep(0)
    while not model.calls:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call_of(effect).estimated
    assert call_of(effect).tried[0].error == "CancelledError"
    assert effect.meter.usage is not None
    assert effect.meter.usage.tokens > 0


async def test_where_cost_is_limited_an_unknown_price_is_an_error() -> None:
    model = ScriptedModel(["hello"], name="nobody-knows", options=options(price=None))
    effect = step(model, asked(), cost_limited=True, metered=True)
    with pytest.raises(ModelUnpriced, match="WAYPOST_PRICES_FILE"):
        await effect.run()
    assert model.calls == 0
    effect = step(model, asked(), metered=True)
    await effect.run()
    assert call_of(effect).cost_micros is None


async def test_what_a_model_raises_besides_goes_through() -> None:
    model = ScriptedModel([KeyError("a bug of the model's")], options=options())
    effect = step(model, asked())
    with pytest.raises(KeyError):
        await effect.run()
    assert call_of(effect).tried[0].error == "KeyError"


def test_what_is_reserved_is_never_less_than_what_it_takes() -> None:
    tool = ToolSpec(name="look-up", description="Looks things up.", parameters=b'{"type":"object"}')  # type: ignore[arg-type]
    request = ModelRequest(messages=(UserMessage(text="日本語" * 100),), instructions="Be brief.", tools=(tool,))
    reserved = reservation_of(ScriptedModel([], options=options(price=DOLLAR)), request)
    assert reserved.tokens >= 300 + 100
    assert reserved.to_wire().cost_micros == reserved.tokens - 100 + 200
    cheap, dear = ScriptedModel([], options=options(price=FREE)), ScriptedModel([], options=options(price=DOLLAR))
    assert reservation_of(Fallback(cheap, dear), request) == reserved


async def test_tools_are_shown_as_they_are_written() -> None:
    watcher = Watcher()
    model = ScriptedModel([[uses("look-up", '{"q":"Paris"}'), uses("other")]], options=options())
    response = response_of(await step(model, asked(), watcher).run())
    assert response.finish == "tool_calls"
    assert [(value.index, value.name) for what, value in watcher.said if what == "piece"] == [(0, "look-up"), (1, "other")]


async def test_no_more_than_so_many_at_a_time() -> None:
    running = most = 0

    async def answer(_: ModelRequest) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return "done"

    model = ScriptedModel(answer, name="narrow", options=options(concurrency=2))
    await asyncio.gather(*(ask(model, asked(str(number))) for number in range(10)))
    assert most == 2
    assert model.calls == 10
