"""How OpenAI's chat completions and Anthropic's messages look on the wire: whole bodies, stream events and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.fake_provider.replies import Reply

Event = tuple[str, dict[str, Any] | str]
"""Name (Anthropic's) and data of a server-sent event."""


class OpenAI:
    """`POST …/chat/completions`."""

    def whole(self, reply: Reply, model: str) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, "refusal": reply.refusal or None}
        if reply.thinking:
            message["reasoning_content"] = reply.thinking
        if reply.tools:
            message["tool_calls"] = [
                {"id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": tool.arguments}} for tool in reply.tools
            ]
        choice = {"index": 0, "message": message, "finish_reason": self._finish(reply)}
        return self._frame(model, "chat.completion", [choice]) | ({"usage": self._usage(reply)} if reply.usage else {})

    def events(self, reply: Reply, model: str) -> Iterator[Event]:
        def chunk(delta: dict[str, Any], finish: str | None = None) -> Event:
            return "", self._frame(model, "chat.completion.chunk", [{"index": 0, "delta": delta, "finish_reason": finish}])

        yield chunk({"role": "assistant", "content": ""})
        if reply.thinking:
            yield chunk({"reasoning_content": reply.thinking})
        if reply.refusal:
            yield chunk({"refusal": reply.refusal})
        for part in reply.parts():
            yield chunk({"content": part})
        for index, tool in enumerate(reply.tools):
            yield chunk(
                {"tool_calls": [{"index": index, "id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": ""}}]}
            )
            half = len(tool.arguments) // 2
            for part in (tool.arguments[:half], tool.arguments[half:]):
                yield chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
        if reply.end_early:
            return
        yield chunk({}, self._finish(reply))
        if reply.usage:
            yield "", self._frame(model, "chat.completion.chunk", []) | {"usage": self._usage(reply)}
        yield "", "[DONE]"

    def error(self, reply: Reply) -> dict[str, Any]:
        return {"error": {"message": reply.error, "type": "error", "param": None, "code": reply.code or None}}

    def error_event(self, reply: Reply) -> Event:
        return "", self.error(reply)

    def _finish(self, reply: Reply) -> str:
        return reply.finish or ("tool_calls" if reply.tools else "stop")

    def _frame(self, model: str, kind: str, choices: list[Any]) -> dict[str, Any]:
        return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": f"{model}-2026-01-01", "choices": choices}

    def _usage(self, reply: Reply) -> dict[str, Any]:
        return {
            "prompt_tokens": reply.input_tokens,
            "completion_tokens": reply.output_tokens,
            "total_tokens": reply.input_tokens + reply.output_tokens,
            "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
        }


class Anthropic:
    """`POST …/v1/messages`."""

    def whole(self, reply: Reply, model: str) -> dict[str, Any]:
        content: list[dict[str, Any]] = []
        if reply.thinking:
            content.append({"type": "thinking", "thinking": reply.thinking, "signature": "signed"})
        if reply.text:
            content.append({"type": "text", "text": reply.text})
        content += [{"type": "tool_use", "id": t.id, "name": t.name, "input": json.loads(t.arguments)} for t in reply.tools]
        return self._message(model, content, self._finish(reply)) | {
            "usage": self._usage(reply) | {"output_tokens": reply.output_tokens},
            "stop_details": self._details(reply),
        }

    def events(self, reply: Reply, model: str) -> Iterator[Event]:
        usage = self._usage(reply) | {"output_tokens": 1}
        yield self._event("message_start", message=self._message(model, [], None) | {"usage": usage})
        yield self._event("ping")
        for index, (block, deltas) in enumerate(self._blocks(reply)):
            yield self._event("content_block_start", index=index, content_block=block)
            for delta in deltas:
                yield self._event("content_block_delta", index=index, delta=delta)
            yield self._event("content_block_stop", index=index)
        if reply.end_early:
            return
        delta = {"stop_reason": self._finish(reply), "stop_sequence": None, "stop_details": self._details(reply)}
        yield self._event("message_delta", delta=delta, usage={"output_tokens": reply.output_tokens})
        yield self._event("message_stop")

    def error(self, reply: Reply) -> dict[str, Any]:
        return {"type": "error", "error": {"type": reply.code or "api_error", "message": reply.error}, "request_id": "req-1"}

    def error_event(self, reply: Reply) -> Event:
        return "error", self.error(reply)

    def _blocks(self, reply: Reply) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        if reply.thinking:
            yield (
                {"type": "thinking", "thinking": "", "signature": ""},
                [{"type": "thinking_delta", "thinking": reply.thinking}, {"type": "signature_delta", "signature": "signed"}],
            )
        if reply.text:
            yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": part} for part in reply.parts()]
        for tool in reply.tools:
            half = len(tool.arguments) // 2
            parts = (tool.arguments[:half], tool.arguments[half:])
            yield (
                {"type": "tool_use", "id": tool.id, "name": tool.name, "input": {}},
                [{"type": "input_json_delta", "partial_json": part} for part in parts],
            )

    def _finish(self, reply: Reply) -> str:
        return reply.finish or ("refusal" if reply.refusal else "tool_use" if reply.tools else "end_turn")

    def _details(self, reply: Reply) -> dict[str, Any] | None:
        return {"type": "refusal", "category": None, "explanation": reply.refusal} if reply.refusal else None

    def _message(self, model: str, content: list[Any], reason: str | None) -> dict[str, Any]:
        kind = {"id": "msg_1", "type": "message", "role": "assistant", "model": model}
        return kind | {"content": content, "stop_reason": reason, "stop_sequence": None}

    def _usage(self, reply: Reply) -> dict[str, Any]:
        plain = reply.input_tokens - reply.cached_tokens
        return {"input_tokens": plain, "cache_read_input_tokens": reply.cached_tokens, "cache_creation_input_tokens": 0}

    def _event(self, kind: str, **fields: Any) -> Event:
        return kind, {"type": kind, **fields}


def frame(event: Event) -> bytes:
    """A server-sent event as bytes."""
    name, data = event
    text = data if isinstance(data, str) else json.dumps(data)
    return f"{f'event: {name}' + chr(10) if name else ''}data: {text}\n\n".encode()
