"""What is recorded of a LangChain model's answer, and how it becomes an answer again. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_to_dict, messages_from_dict
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic_core import to_jsonable_python

from waypost_proto.ids import CallId
from waypost_proto.limits import MAX_KEY_CHARS
from waypost_proto.models import MAX_INTENT_CHARS, ModelCall

_FINISH = {"end_turn": "stop", "stop_sequence": "stop", "tool_use": "tool_calls", "max_tokens": "length", "content_filter": "refusal"}


def encode_result(result: ChatResult, call_id: str) -> bytes:
    """A whole answer as JSON. Messages without an id get one that follows from the call, so that it is the same whenever it is read."""
    for number, generation in enumerate(result.generations):
        if generation.message.id is None:
            generation.message.id = f"lc_run--{call_id}-{number}"
    plain = {
        "generations": [
            {"message": message_to_dict(generation.message), "info": generation.generation_info} for generation in result.generations
        ],
        "output": result.llm_output,
    }
    return msgspec.json.encode(to_jsonable_python(plain, serialize_unknown=True, by_alias=True))


def decode_result(body: bytes) -> ChatResult:
    """The answer again: new objects each time."""
    plain = msgspec.json.decode(body)
    generations = [ChatGeneration(message=_message(found["message"]), generation_info=found.get("info")) for found in plain["generations"]]
    return ChatResult(generations=generations, llm_output=plain.get("output"))


def chunk_of(message: BaseMessage) -> ChatGenerationChunk:
    """A whole answer as one piece, for a stream of an answer that was there already."""
    fields = {name: getattr(message, name) for name in type(message).model_fields if name != "type"}
    chunk = AIMessageChunk(**{name: value for name, value in fields.items() if name in AIMessageChunk.model_fields})
    return ChatGenerationChunk(message=chunk)


def _message(plain: dict[str, Any]) -> BaseMessage:
    found: BaseMessage = messages_from_dict([plain])[0]
    if isinstance(found, AIMessageChunk):
        fields = {name: getattr(found, name) for name in AIMessage.model_fields if name != "type"}
        return AIMessage(**fields)
    return found


def digest_of_request(model: str, messages: Sequence[BaseMessage], stop: Sequence[str] | None, options: Mapping[str, Any]) -> bytes:
    """SHA-256 of what is asked: the messages without the ids that LangChain gives them, and the options."""
    digest = hashlib.sha256(model.encode())
    for message in messages:
        said = [message.type, message.content, message.name, getattr(message, "tool_calls", None), getattr(message, "tool_call_id", None)]
        digest.update(_plain(said))
        digest.update(b"\x00")
    digest.update(_plain([stop, {k: options[k] for k in sorted(options)}]))
    return digest.digest()


def _plain(value: object) -> bytes:
    try:
        return msgspec.json.encode(value, order="deterministic", enc_hook=_described)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return repr(type(value)).encode()


def _described(value: Any) -> Any:
    schema = getattr(value, "model_json_schema", None)
    if isinstance(value, type):
        return schema() if schema is not None else value.__qualname__
    return to_jsonable_python(value, serialize_unknown=True)


def model_call(model: str, provider: str, result: ChatResult | None, request: bytes, first_token_seconds: float | None) -> ModelCall:
    """What the log keeps of the call beside the answer."""
    if result is None or not result.generations:
        return ModelCall(model=_name(model), provider=_name(provider), request_digest=request.hex())
    message = result.generations[0].message
    metadata = {**(result.llm_output or {}), **(result.generations[0].generation_info or {}), **message.response_metadata}
    usage: Any = getattr(message, "usage_metadata", None) or {}
    finish = str(
        metadata.get("finish_reason") or metadata.get("stop_reason") or ("tool_calls" if getattr(message, "tool_calls", None) else "stop")
    )
    return ModelCall(
        model=_name(model),
        provider=_name(provider),
        answered_by=_name(str(metadata.get("model_name") or metadata.get("model") or "")),
        response_id=_name(str(metadata.get("id") or "")),
        finish=_name(_FINISH.get(finish, finish)),
        input_tokens=int(usage.get("input_tokens") or 0),
        output_tokens=int(usage.get("output_tokens") or 0),
        cached_tokens=int((usage.get("input_token_details") or {}).get("cache_read") or 0),
        reasoning_tokens=int((usage.get("output_token_details") or {}).get("reasoning") or 0),
        first_token_seconds=first_token_seconds,
        intent=message.text[:MAX_INTENT_CHARS] if isinstance(message.text, str) else "",
        request_digest=request.hex(),
    )


def _name(text: str) -> str:
    return text.encode("utf-8", "replace").decode()[:MAX_KEY_CHARS]


class Chosen:
    """Which model call chose a tool call, by the id that the model gave it. Answers of the log are read when they are asked for."""

    def __init__(self) -> None:
        self._by_key: dict[str, CallId] = {}
        self._unread: list[tuple[CallId, bytes]] = []

    def learn(self, call_id: CallId, body: bytes) -> None:
        """An answer that was recorded."""
        self._unread.append((call_id, body))

    def get(self, key: str) -> CallId | None:
        """The model call; None if no answer named this key."""
        if key and key not in self._by_key:
            unread, self._unread = self._unread, []
            for call_id, body in unread:
                for generation in msgspec.json.decode(body)["generations"]:
                    for call in generation["message"]["data"].get("tool_calls") or ():
                        self._by_key[call.get("id") or ""] = call_id
        return self._by_key.get(key) if key else None


__all__ = ["Chosen", "chunk_of", "decode_result", "digest_of_request", "encode_result", "model_call"]
