"""LangChain's chat models inside a graph's nodes: each call is a recorded step. `StandIn` takes a model's place for one call.

It is a chat model itself, so callbacks, tokens for `stream_mode="messages"` and the shape of answers stay LangChain's own; what it asks the
real model for goes through the run. LangChain's caches are passed by: what counts is the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict

from waypost.execution.effects import LocalEffect
from waypost.langgraph.asking import place_of
from waypost.langgraph.book import Ask, Call
from waypost.langgraph.driver import Driver
from waypost.langgraph.errors import ModelFailed
from waypost.langgraph.place import Place
from waypost.langgraph.pricing import check_priced, cost_of, most_of
from waypost.langgraph.records import chunk_of, decode_result, digest_of_request, encode_result, model_call
from waypost.langgraph.showing import Shown
from waypost.models.protocol import ModelTimeout
from waypost_proto.usage import Usage

_COPIED = ("callbacks", "verbose", "tags", "metadata", "disable_streaming", "output_version", "custom_get_token_ids", "name")


class StandIn(BaseChatModel):
    """In place of `inner` for one call of `run`'s graph."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    inner: BaseChatModel
    run: Any

    @classmethod
    def of(cls, inner: BaseChatModel, run: Driver) -> StandIn:
        """A stand-in for one call."""
        copied = {name: getattr(inner, name) for name in _COPIED if hasattr(inner, name)}
        return cls.model_construct(inner=inner, run=run, cache=False, rate_limiter=None, **copied)

    # -- what is known of the model is known of the stand-in

    @property
    def _llm_type(self) -> str:
        return self.inner._llm_type

    @property
    def _serialized(self) -> dict[str, Any]:
        return self.inner._serialized

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return self.inner._get_invocation_params(stop=stop, **kwargs)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return self.inner._get_ls_params(stop=stop, **kwargs)

    def _should_stream(self, **kwargs: Any) -> bool:
        return self.inner._should_stream(**kwargs)

    def _combine_llm_outputs(self, llm_outputs: list[Any]) -> dict[str, Any]:
        return self.inner._combine_llm_outputs(llm_outputs)

    # -- one answer

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        inner = self.inner
        request = _Request(self, messages, stop, kwargs, run_manager)

        async def work(shown: Shown) -> ChatResult:
            if inner.rate_limiter is not None:
                await inner.rate_limiter.aacquire(blocking=True)
            if request.streams:
                return await _gathered(inner._astream(messages, stop=stop, **kwargs), shown.chunk)
            return await inner._agenerate(messages, stop=stop, run_manager=run_manager, **kwargs)

        return await request.result(request.as_step(work))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        pieces: asyncio.Queue[ChatGenerationChunk | None] = asyncio.Queue()
        inner, seen = self.inner, 0
        request = _Request(self, messages, stop, kwargs, run_manager)

        async def work(shown: Shown) -> ChatResult:
            if inner.rate_limiter is not None:
                await inner.rate_limiter.aacquire(blocking=True)

            def each(chunk: ChatGenerationChunk) -> None:
                shown.chunk(chunk)
                pieces.put_nowait(chunk)

            return await _gathered(inner._astream(messages, stop=stop, **kwargs), each)

        asked = asyncio.ensure_future(request.result(request.as_step(work)))
        asked.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                seen += 1
                yield piece
            result = await asked
        finally:
            asked.cancel()
        if not seen:  # it was recorded before
            yield chunk_of(result.generations[0].message)

    # -- for plain nodes, which run in threads

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        inner = self.inner
        request = _Request(self, messages, stop, kwargs, run_manager)

        def work(effect: LocalEffect) -> bytes:
            if inner.rate_limiter is not None:
                inner.rate_limiter.acquire(blocking=True)
            return request.told(effect, lambda: inner._generate(messages, stop=stop, run_manager=run_manager, **kwargs))

        run: Driver = self.run
        return run.calls.step_in_thread(lambda body: request.result(lambda call: run.calls.begin_step(call, body, request.reserve)), work)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        """One piece: in a plain node the answer is handed on when it is whole."""
        yield chunk_of(self._generate(messages, stop, run_manager, **kwargs).generations[0].message)


Work = Callable[[Shown], Awaitable[ChatResult]]


class _Request:
    """One call of the stand-in."""

    def __init__(
        self, standin: StandIn, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any], manager: Any
    ) -> None:
        self.run: Driver = standin.run
        inner = standin.inner
        params: Any = inner._get_ls_params(stop=stop, **options)
        self.model = str(params.get("ls_model_name") or getattr(inner, "model_name", "") or inner._llm_type)
        self.provider = str(params.get("ls_provider") or "")
        self.digest = digest_of_request(self.model, messages, stop, options)
        self.reserve = self._reserve(messages, params.get("ls_max_tokens"))
        self.streams = self.run.agent.stream and inner._should_stream(async_api=True, stream=True)
        self.place: Place = place_of(self.run, getattr(manager, "metadata", None))

    def _reserve(self, messages: list[BaseMessage], output_tokens: int | None) -> Usage | None:
        """What is reserved before the call where tokens or cost are limited; elsewhere nobody asks, and nothing is counted for it."""
        if self.run.agent.reserve is not None:
            return self.run.agent.reserve.to_wire()
        if not self.run.calls.steps.metered:
            return None
        return most_of(self.provider, self.model, messages, output_tokens).to_wire()

    async def result(self, start: Callable[[Call], None]) -> ChatResult:
        """The answer: recorded, or begun with `start`. Raises `ModelFailed`."""
        ask = Ask(
            task=self.place.task, kind="model", name=self.model, body=self.digest, attempt=self.place.attempt, anchor=self.place.anchor
        )
        outcome = await self.run.calls.ask(ask, self.place.task_id, start)
        if outcome.error is not None:
            raise ModelFailed(self.model, outcome.error)
        return decode_result(outcome.value)

    def as_step(self, work: Work) -> Callable[[Call], None]:
        """How a new call is begun: `work` as a local effect."""

        async def body(effect: LocalEffect) -> bytes:
            self._begun(effect)
            shown = Shown(effect.scope, self.model, self.provider)
            try:
                result = await self._in_time(work(shown))
            except BaseException as error:
                shown.end(error)
                raise
            shown.end()
            return self._recorded(effect, result, shown.first_token_seconds)

        return lambda call: self.run.calls.begin_step(call, body, self.reserve)

    async def _in_time(self, answer: Awaitable[ChatResult]) -> ChatResult:
        seconds = self.run.agent.model_seconds
        try:
            async with asyncio.timeout(seconds) as limit:
                return await answer
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise ModelTimeout(f"no whole answer within {seconds:g} s (LangGraphAgent(model_timeout=…))", billed=True) from error

    def told(self, effect: LocalEffect, work: Callable[[], ChatResult]) -> bytes:
        """The same for plain code."""
        self._begun(effect)
        return self._recorded(effect, work(), None)

    def _begun(self, effect: LocalEffect) -> None:
        effect.meter.model = model_call(self.model, self.provider, None, self.digest, None)
        if effect.scope is not None and effect.scope.cost_limited:
            check_priced(self.provider, self.model)

    def _recorded(self, effect: LocalEffect, result: ChatResult, first: float | None) -> bytes:
        known = effect.meter.model = model_call(self.model, self.provider, result, self.digest, first)
        if known.input_tokens or known.output_tokens:
            effect.meter.add(tokens=known.input_tokens + known.output_tokens, cost_usd=cost_of(known))
        body = encode_result(result, effect.call_id)
        self.run.chosen.learn(effect.call_id, body)
        return body


async def _gathered(chunks: AsyncIterator[ChatGenerationChunk], each: Callable[[ChatGenerationChunk], None]) -> ChatResult:
    """The whole answer of a stream, whose pieces are given to `each` as they come."""
    whole: ChatGenerationChunk | None = None
    async for chunk in chunks:
        whole = chunk if whole is None else whole + chunk
        each(chunk)
    if whole is None:
        raise ValueError("the model's stream ended without a piece")
    return ChatResult(generations=[whole])


__all__ = ["StandIn"]
