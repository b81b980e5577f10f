"""What the providers' models share: their SDK, imported when it is first needed, a client for each event loop, and errors in our words."""

from __future__ import annotations

import asyncio
import email.utils
import importlib
import importlib.util
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from msgspec import Raw

from waypost.models.messages import AssistantMessage, Delta, ModelRequest, ModelResponse, TokenCounts
from waypost.models.options import DEFAULT_OPTIONS, ModelOptions
from waypost.models.protocol import ModelBusy, ModelCut, ModelRefused
from waypost_proto.codec import encode
from waypost_proto.errors import Misconfigured

CONNECT_SECONDS = 10.0
_BUSY = frozenset({408, 409, 425, 429})
_NEVER = frozenset({"insufficient_quota", "billing_error", "billing_hard_limit_reached"})
"""Codes of a 429 that no waiting helps against."""
_MAX_MESSAGE_CHARS = 500
_MASK = "***"


class ProviderModel(ABC):
    """A model behind an SDK. Constructing it does nothing but look whether the SDK is installed; it can be pickled.

    `parameters` are sent as they are with each request, for what this provider has and others have not; they win over what we send.
    """

    sdk: str
    """The SDK's module, which is also the name of the extra, and the provider unless another is given."""

    def __init__(
        self,
        name: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        provider: str = "",
        options: ModelOptions | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        if importlib.util.find_spec(self.sdk) is None:
            raise Misconfigured(f"{type(self).__name__} needs the {self.sdk} SDK: pip install 'waypost[{self.sdk}]'")
        if not name:
            raise Misconfigured(f"{type(self).__name__} needs the name of a model")
        self.name = name
        self.provider = provider or self.sdk
        self.base_url = base_url
        self.options = options or DEFAULT_OPTIONS
        self.parameters = dict(parameters or {})
        self._api_key = api_key
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()
        self._sdk: Any = None

    def __repr__(self) -> str:
        at = f", base_url={self.base_url!r}" if self.base_url else ""
        return f"{type(self).__name__}({self.name!r}{at})"

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_clients", "_sdk")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _clients=WeakKeyDictionary(), _sdk=None)

    @property
    def lane(self) -> object:
        """Limits are shared by what has the same address, key and name."""
        return self.provider, self.base_url, hash(self._api_key), self.name

    async def generate(self, request: ModelRequest, on_delta: Callable[[Delta], None] | None = None) -> ModelResponse:
        """One answer. Raises `ModelBusy`, `ModelCut` or `ModelRefused`; cancelling closes the connection."""
        sdk = await self._imported()
        try:
            client = self._client(sdk)
            return await (self._streamed(client, request, on_delta) if on_delta is not None else self._whole(client, request))
        except Exception as error:
            translated = self._translated(sdk, error)
            if translated is None:
                raise
            raise translated from error

    async def aclose(self) -> None:
        """Close the connections of the running loop. Idempotent; the next call opens them again."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    @abstractmethod
    def _new_client(self, sdk: Any, **settings: Any) -> Any: ...
    @abstractmethod
    async def _whole(self, client: Any, request: ModelRequest) -> ModelResponse: ...
    @abstractmethod
    async def _streamed(self, client: Any, request: ModelRequest, on_delta: Callable[[Delta], None]) -> ModelResponse: ...

    # -- the SDK

    async def prepare(self) -> None:
        """Import the SDK. The first time it takes up to a second, in a thread, and on a busy machine several: no part of the time that an
        answer may take."""
        await self._imported()

    async def _imported(self) -> Any:
        if self._sdk is None:  # not from `sys.modules`: another call's thread may be in the middle of importing it
            self._sdk = await asyncio.to_thread(importlib.import_module, self.sdk)
        return self._sdk

    def _client(self, sdk: Any) -> Any:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            import httpx2

            # our own retries, time limits and rates count; a client's would hide what happened
            timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)
            client = self._clients[loop] = self._new_client(
                sdk, api_key=self._api_key, base_url=self.base_url, max_retries=0, timeout=timeout
            )
        return client

    # -- errors

    def _translated(self, sdk: Any, error: Exception) -> Exception | None:
        """The error in our words; None for one that is not of the SDK or its connection."""
        import httpx2

        if isinstance(error, ModelBusy | ModelRefused):
            return None
        if isinstance(error, sdk.APIStatusError):
            return self._of_status(error)
        if isinstance(error, sdk.APIConnectionError):
            return self._of_connection(error)
        if isinstance(error, httpx2.HTTPError | httpx2.StreamError):
            return ModelCut(self._told(f"the connection broke off: {type(error).__name__}: {error}"), billed=True)
        if isinstance(error, sdk.APIError):  # an error in the middle of a stream
            return self._of_code(str(error.type or ""), self._told(f"an error in the stream: {error.message}"))
        if isinstance(error, getattr(sdk, "OpenAIError", ()) or getattr(sdk, "AnthropicError", ())):
            return ModelRefused(self._told(f"{self.sdk}: {error}"))  # no key, for instance
        if isinstance(error, ValueError | AttributeError | TypeError | KeyError):
            # the SDKs hand on whatever a server says, unchecked, and so what is missing shows only where it is used
            return ModelCut(self._told(f"the answer is not what the protocol says: {type(error).__name__}: {error}"), billed=True)
        return None

    def _of_connection(self, error: Exception) -> Exception:
        import httpx2

        cause = error.__cause__
        told = str(cause) if cause is not None and str(cause) else str(error)
        if cause is None or isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
            return ModelBusy(self._told(f"no connection to {self._where()}: {told}"))
        return ModelCut(self._told(f"the connection broke off: {told}"), billed=True)

    def _of_status(self, error: Any) -> Exception:
        status, headers = int(error.status_code), error.response.headers
        code = _code_of(error.body)
        message = self._told(f"{self._where()} answered {status}{f' ({code})' if code else ''}: {_message_of(error)}")
        if status < 400:
            return self._of_code(code, message)
        if status in _BUSY or status >= 500:
            if code in _NEVER:
                return ModelRefused(message)
            return ModelBusy(message, retry_after=retry_after_of(headers))
        return ModelRefused(message)

    def _of_code(self, code: str, message: str) -> Exception:
        """An error that came after the answer had begun."""
        refused = code in _NEVER or code in ("invalid_request_error", "authentication_error", "permission_error", "not_found_error")
        return ModelRefused(message) if refused else ModelCut(message, billed=True)

    def _unfinished(self, characters: int, usage: TokenCounts | None = None) -> ModelCut:
        """A stream that came to its end before the answer did."""
        return ModelCut(f"the stream ended before the answer was whole ({characters} characters had come)", usage=usage, billed=True)

    def _where(self) -> str:
        return self.base_url or self.provider

    def _told(self, text: str) -> str:
        """Without the key, and cut."""
        if self._api_key and len(self._api_key) >= 8:
            text = text.replace(self._api_key, _MASK)
        return text if len(text) <= _MAX_MESSAGE_CHARS else text[:_MAX_MESSAGE_CHARS] + "…"


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Seconds of `retry-after-ms` or `Retry-After` (seconds or a date); None if there is none, or none that can be understood."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) * unit
        except ValueError:
            continue
        return seconds if 0 <= seconds < float("inf") else None
    try:
        at = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except (TypeError, ValueError):
        return None
    return max(0.0, at.timestamp() - time.time())


def object_of(arguments: str) -> dict[str, Any]:
    """A tool use's arguments as the providers take them back: an object, whatever the model wrote."""
    try:
        value = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, UnicodeEncodeError):
        return {"invalid_json": arguments}
    return value if isinstance(value, dict) else {"not_an_object": value}


def document_of(schema: Raw) -> Any:
    """A JSON Schema as the SDKs take it."""
    return msgspec.json.decode(schema)


def opaque_of(model: ProviderModel, content: object) -> Raw:
    """What this model must be given back unread; `given_back` finds it again."""
    return Raw(encode({"provider": model.provider, "model": model.name, "content": content}))


def given_back(model: ProviderModel, message: AssistantMessage) -> Any:
    """What of an earlier answer belongs to this model: reasoning is signed for one provider and model, others would refuse it."""
    if message.opaque is None:
        return None
    kept = msgspec.json.decode(message.opaque)
    mine = isinstance(kept, dict) and (kept.get("provider"), kept.get("model")) == (model.provider, model.name)
    return kept.get("content") if mine else None


def clean(text: str) -> str:
    """Text that can be recorded: a model may write half of a surrogate pair."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _code_of(body: object) -> str:
    error = body.get("error", body) if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return ""
    return str(error.get("code") or error.get("type") or "")[:100]


def _message_of(error: Any) -> str:
    body = error.body
    inner = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(inner, dict) and isinstance(inner.get("message"), str):
        return str(inner["message"])
    return str(inner or error.message)


__all__ = ["ProviderModel", "clean", "document_of", "given_back", "object_of", "opaque_of", "retry_after_of"]
