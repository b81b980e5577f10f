"""`AnthropicModel`: Anthropic's Messages API.

    AnthropicModel("claude-sonnet-5-5")                                     ANTHROPIC_API_KEY

Needs the extra `waypost[anthropic]`; the SDK is imported at the first call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from waypost.models.messages import (
    AssistantMessage,
    Delta,
    Finish,
    Message,
    ModelRequest,
    ModelResponse,
    TextDelta,
    TokenCounts,
    ToolMessage,
    ToolUse,
    ToolUseDelta,
    UserMessage,
)
from waypost.models.protocol import ModelCut, ModelRefused
from waypost.models.providing import ProviderModel, clean, document_of, given_back, object_of, opaque_of
from waypost_proto.codec import encode

_FINISH: dict[str, Finish] = {
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}
_CHOICE = {"none": "none", "required": "any"}
_THOUGHT = frozenset({"thinking", "redacted_thinking"})
_ALIVE = TextDelta(text="")
_SILENT = "(nothing)"
"""The API refuses empty texts."""


class AnthropicModel(ProviderModel):
    """A model of Anthropic, or of a server with the same API. `api_key` is `ANTHROPIC_API_KEY` unless given.

    Thinking, effort, prompt caching and the like are `parameters`, as the API names them:
    `parameters={"thinking": {"type": "adaptive"}, "cache_control": {"type": "ephemeral"}}`. Thinking blocks are given back to the same
    model unread. Raises `Misconfigured` where the SDK is not installed.
    """

    sdk = "anthropic"

    def _new_client(self, sdk: Any, **settings: Any) -> Any:
        client = sdk.AsyncAnthropic(**settings)
        if not any(getattr(client, name, None) for name in ("api_key", "auth_token", "credentials")):
            raise ModelRefused("no key: set ANTHROPIC_API_KEY, or give AnthropicModel an api_key")
        return client

    async def _whole(self, client: Any, request: ModelRequest) -> ModelResponse:
        answer = await client.messages.create(**self._body(request))
        if not getattr(answer, "stop_reason", None):
            raise ModelCut(f"{self._where()} answered without saying why it stopped: that is no message", billed=True)
        heard = _Heard()
        heard.begins(answer)
        heard.blocks = {index: block.to_dict(mode="json") for index, block in enumerate(answer.content or ())}
        heard.ends(answer, answer.usage)
        return heard.response(self)

    async def _streamed(self, client: Any, request: ModelRequest, on_delta: Callable[[Delta], None]) -> ModelResponse:
        heard = _Heard()
        async with await client.messages.create(**self._body(request), stream=True) as stream:
            async for event in stream:
                on_delta(heard.takes(event) or _ALIVE)
        if not heard.stopped:
            raise self._unfinished(heard.size(), heard.counts())
        return heard.response(self)

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.name,
            "max_tokens": request.max_output_tokens or self.options.max_output_tokens,
            "messages": self._conversation(request.messages),
        }
        if request.instructions:
            body["system"] = request.instructions
        if request.tools:
            body["tools"] = [
                {"name": t.name, "description": t.description, "input_schema": document_of(t.parameters)} for t in request.tools
            ]
            if request.tool_choice != "auto":
                body["tool_choice"] = {"type": _CHOICE[request.tool_choice]}
        if request.output_schema is not None:
            body["output_config"] = {"format": {"type": "json_schema", "schema": document_of(request.output_schema)}}
        if request.stop:
            body["stop_sequences"] = list(request.stop)
        extra = dict(self.parameters)
        if request.temperature is not None:
            extra.setdefault("temperature", request.temperature)
        if "output_config" in extra and "output_config" in body:
            extra["output_config"] = {**extra["output_config"], **body["output_config"]}
        return body | {"extra_body": extra} if extra else body

    def _conversation(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """Turns alternate, and all that is said to the model between two of its own is one turn."""
        turns: list[dict[str, Any]] = []
        for message in messages:
            if isinstance(message, AssistantMessage):
                turns.append({"role": "assistant", "content": self._said(message)})
                continue
            if not turns or turns[-1]["role"] != "user":
                turns.append({"role": "user", "content": []})
            turns[-1]["content"].append(_told(message))
        return turns

    def _said(self, message: AssistantMessage) -> list[Any]:
        blocks = given_back(self, message)
        if isinstance(blocks, list) and blocks:
            return blocks
        content: list[Any] = [{"type": "text", "text": message.text}] if message.text.strip() else []
        content += [{"type": "tool_use", "id": u.id, "name": u.name, "input": object_of(u.arguments)} for u in message.tool_uses]
        return content or [{"type": "text", "text": _SILENT}]


class _Heard:
    """An answer as it arrives: blocks as the API writes them."""

    def __init__(self) -> None:
        self.blocks: dict[int, dict[str, Any]] = {}
        self.stopped = False
        self._arguments: dict[int, str] = {}
        self._uses: dict[int, int] = {}
        self._usage: dict[str, int] = {}
        self._reason = ""
        self._why = ""
        self._id = self._model = ""

    def begins(self, answer: Any) -> None:
        self._id, self._model = answer.id or "", answer.model or ""
        self._count(answer.usage)

    def ends(self, delta: Any, usage: Any) -> None:
        """Why it stopped, and what it took."""
        self._reason = delta.stop_reason or self._reason
        self._why = getattr(getattr(delta, "stop_details", None), "explanation", None) or self._why
        self._count(usage)

    def takes(self, event: Any) -> Delta | None:
        """One event of the stream; what of it can be shown."""
        match event.type:
            case "message_start":
                self.begins(event.message)
            case "content_block_start":
                return self._starts(event.index, event.content_block.to_dict(mode="json"))
            case "content_block_delta":
                return self._grows(event.index, event.delta)
            case "message_delta":
                self.ends(event.delta, event.usage)
            case "message_stop":
                self.stopped = True
        return None

    def _starts(self, index: int, block: dict[str, Any]) -> Delta | None:
        self.blocks[index] = block
        if block["type"] == "tool_use":
            self._uses[index] = len(self._uses)
            return ToolUseDelta(index=self._uses[index], name=block["name"])
        return TextDelta(text=clean(block["text"])) if block["type"] == "text" and block.get("text") else None

    def _grows(self, index: int, delta: Any) -> Delta | None:
        block = self.blocks.setdefault(index, {"type": "text", "text": ""})
        match delta.type:
            case "text_delta":
                block["text"] = block.get("text", "") + delta.text
                return TextDelta(text=clean(delta.text))
            case "input_json_delta":
                self._arguments[index] = self._arguments.get(index, "") + delta.partial_json
                return ToolUseDelta(index=self._uses.get(index, 0), arguments=clean(delta.partial_json))
            case "thinking_delta":
                block["thinking"] = block.get("thinking", "") + delta.thinking
            case "signature_delta":
                block["signature"] = delta.signature
        return None

    def size(self) -> int:
        return sum(len(block.get("text", "")) for block in self.blocks.values()) + sum(map(len, self._arguments.values()))

    def counts(self) -> TokenCounts | None:
        """What the API has said so far; None for nothing."""
        if not self._usage:
            return None
        read, written = self._usage.get("cache_read_input_tokens", 0), self._usage.get("cache_creation_input_tokens", 0)
        return TokenCounts(
            input_tokens=self._usage.get("input_tokens", 0) + read + written,
            output_tokens=self._usage.get("output_tokens", 0),
            cached_tokens=read,
            cache_write_tokens=written,
            reasoning_tokens=self._usage.get("thinking_tokens", 0),
        )

    def response(self, model: AnthropicModel) -> ModelResponse:
        text, uses, blocks = [], [], []
        for index, block in sorted(self.blocks.items()):
            if block["type"] == "text":
                text.append(block.get("text", ""))
            elif block["type"] == "tool_use":
                written = self._arguments.get(index) or encode(block.get("input") or {}).decode()
                block["input"] = object_of(written)
                uses.append(ToolUse(id=block["id"], name=clean(block["name"]), arguments=clean(written)))
            blocks.append(block)
        thought = any(block["type"] in _THOUGHT for block in blocks)
        finish = _FINISH.get(self._reason, "stop")
        kept = [block for block in blocks if block["type"] != "text" or block.get("text", "").strip()]
        return ModelResponse(
            message=AssistantMessage(
                text=clean("".join(text) or (self._why if finish == "refusal" else "")),
                tool_uses=tuple(uses),
                opaque=opaque_of(model, kept) if thought else None,
            ),
            finish=finish,
            usage=self.counts() or TokenCounts(),
            answered_by=self._model,
            response_id=self._id,
        )

    def _count(self, usage: Any) -> None:
        """Counts are cumulative: the last one that is said holds."""
        for name in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
            value = getattr(usage, name, None)
            if value is not None:
                self._usage[name] = value
        details = getattr(usage, "output_tokens_details", None)
        thinking = getattr(details, "thinking_tokens", None)
        if thinking is not None:
            self._usage["thinking_tokens"] = thinking


def _told(message: UserMessage | ToolMessage) -> dict[str, Any]:
    text = message.text if message.text.strip() else _SILENT
    if isinstance(message, UserMessage):
        return {"type": "text", "text": text}
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": message.id, "content": text}
    return result | {"is_error": True} if message.failed else result


__all__ = ["AnthropicModel"]
