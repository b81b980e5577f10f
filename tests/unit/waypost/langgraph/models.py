"""Chat models for tests: they say what a function of the conversation says, and count how often they were asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

Say = Callable[[Sequence[BaseMessage]], AIMessage]


class Scripted(BaseChatModel):
    """`say` makes the answer; `asked` keeps every question that reached it."""

    say: Any
    asked: list[Any] = []
    bound: Any = None

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(tools=[getattr(tool, "name", str(tool)) for tool in tools], **kwargs)

    def _answer(self, messages: list[BaseMessage]) -> AIMessage:
        self.asked.append(list(messages))
        said: AIMessage = self.say(messages)
        if said.usage_metadata is None:
            said.usage_metadata = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
        return said

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages))])

    async def _agenerate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        return self._generate(messages)


class Streaming(Scripted):
    """One that streams, word by word."""

    def _stream(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Iterator[Any]:
        said = self._answer(messages)
        for word in str(said.content).split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word + " "))

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages):
            yield chunk


def call(tool: str, key: str, /, **args: Any) -> dict[str, Any]:
    """A tool call as a model makes it."""
    return {"name": tool, "args": args, "id": key, "type": "tool_call"}
