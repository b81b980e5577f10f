"""The AsyncAPI 3.0 document of the wire, and the few lines of YAML that it is written in. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from waypost_proto import api, catalogue
from waypost_proto.catalogue import Channel, Endpoint, Kind, snake
from waypost_proto.json_schema import definitions
from waypost_proto.limits import PROTOCOL_VERSION

Document = dict[str, Any]

_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_.$/-]*")
_RESERVED = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_HEADERS = {
    "type": "object",
    "properties": {
        "traceparent": {"type": "string", "description": "W3C trace context"},
        "Nats-Msg-Id": {"type": "string", "description": "derived from the log, so that a repeat is recognised"},
    },
}


def document() -> Document:
    """The whole document, its parts in the order of the catalogue."""
    channels: Document = {}
    operations: Document = {}
    for channel in catalogue.CHANNELS:
        channels[channel.key] = _channel(channel)
        operations[f"{channel.action}_{channel.key}"] = _operation(channel)
        if channel.reply:
            channels[f"{channel.key}_reply"] = _reply_channel(channel.reply)
    for endpoint in catalogue.ENDPOINTS:
        channels |= _endpoint_channels(endpoint)
        operations |= _endpoint_operation(endpoint)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Waypost",
            "version": PROTOCOL_VERSION,
            "description": "Subjects and messages of Waypost, as its coordinator sees them. `waypost` is the default prefix.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"schemas": definitions(catalogue.messages(), "#/components/schemas/"), "messages": _messages()},
    }


def _messages() -> Document:
    known: Document = {
        snake(kind.__name__): {
            "name": kind.__name__,
            "summary": (kind.__doc__ or "").strip().split("\n")[0],
            "headers": _HEADERS,
            "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        }
        for kind in catalogue.messages()
    }
    known["bytes"] = {"name": "bytes", "contentType": "application/octet-stream", "summary": "Plain bytes; headers say the rest."}
    return known


def _channel(channel: Channel) -> Document:
    body: Document = {"address": channel.address, "description": channel.summary, "messages": _refs(channel.messages)}
    if channel.stream:
        body["description"] += f" Stored in the stream {channel.stream}."
    if channel.parameters:
        body["parameters"] = {name: {"description": text} for name, text in channel.parameters.items()}
    return body


def _operation(channel: Channel) -> Document:
    body: Document = {"action": channel.action, "channel": {"$ref": f"#/channels/{channel.key}"}, "summary": channel.summary}
    if channel.reply:
        body["reply"] = _reply(f"{channel.key}_reply")
    return body


def _endpoint_channels(endpoint: Endpoint) -> Document:
    key = _endpoint_key(endpoint)
    address = f"waypost.api.{endpoint.noun}.{endpoint.verb}"
    return {
        key: {"address": address, "messages": _refs((endpoint.request,))},
        f"{key}_reply": _reply_channel((endpoint.answer, api.ApiError)),
    }


def _endpoint_operation(endpoint: Endpoint) -> Document:
    key = _endpoint_key(endpoint)
    return {f"receive_{key}": {"action": "receive", "channel": {"$ref": f"#/channels/{key}"}, "reply": _reply(f"{key}_reply")}}


def _endpoint_key(endpoint: Endpoint) -> str:
    return f"api_{endpoint.noun}_{endpoint.verb}"


def _reply(channel: str) -> Document:
    return {"address": {"location": "$message.header#/reply-to"}, "channel": {"$ref": f"#/channels/{channel}"}}


def _reply_channel(kinds: tuple[Kind | None, ...]) -> Document:
    return {"address": None, "messages": _refs(kinds)}


def _refs(kinds: tuple[Kind | None, ...]) -> Document:
    keys = ("bytes" if kind is None else snake(kind.__name__) for kind in kinds)
    return {key: {"$ref": f"#/components/messages/{key}"} for key in keys}


def to_yaml(node: Any, indent: int = 0) -> str:
    """Block-style YAML of JSON-like data; every scalar is JSON, which is YAML too."""
    pad = "  " * indent
    match node:
        case dict() if node:
            return "".join(_yaml_entry(f"{pad}{_yaml_key(key)}:", value, indent) for key, value in node.items())
        case list() if node:
            return "".join(_yaml_entry(f"{pad}-", value, indent) for value in node)
        case _:
            return f"{pad}{json.dumps(node, ensure_ascii=False)}\n"


def _yaml_entry(head: str, value: Any, indent: int) -> str:
    if isinstance(value, (dict, list)) and value:
        return f"{head}\n{to_yaml(value, indent + 1)}"
    return f"{head} {json.dumps(value, ensure_ascii=False)}\n"


def _yaml_key(key: str) -> str:
    return key if _PLAIN.fullmatch(key) and key.lower() not in _RESERVED else json.dumps(key)
