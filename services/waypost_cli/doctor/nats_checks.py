"""Is NATS there, new enough, and are the streams as they must be?"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import DecodeError, Struct, json

from waypost_cli.doctor.report import Finding, failure, ok, unreachable, warning
from waypost_io.bus.ports import Bus, StreamSpec
from waypost_io.settings import Settings
from waypost_proto.errors import WaypostError
from waypost_proto.limits import MAX_MESSAGE_BYTES

OLDEST = (2, 14)
"""Older servers lack what Waypost uses, and have an authorisation hole (CVE-2026-58251)."""
FULL_SHARE = 0.8
"""A stream or store this full deserves a word."""
_SECONDS = 3.0
_DEFAULT_PORT = 4222
_PAGES = 8


class ServerInfo(Struct):
    """What a NATS server says of itself before anyone logs in."""

    version: str = ""
    max_payload: int = 0
    jetstream: bool = False
    server_name: str = ""
    cluster: str = ""
    connect_urls: list[str] = []
    """Of a cluster, all of its servers that this one knows."""


class _Tier(Struct):
    memory: int = 0
    storage: int = 0


class _Account(_Tier):
    limits: dict[str, Any] = {}


async def server_info(url: str) -> ServerInfo:
    """The greeting of the first server of `url`. Raises `OSError` or `TimeoutError`; empty for a websocket or a TLS-first server."""
    parts = urlsplit(url.split(",", maxsplit=1)[0].strip())
    if parts.scheme in ("ws", "wss"):
        return ServerInfo()
    async with asyncio.timeout(_SECONDS):
        reader, writer = await asyncio.open_connection(parts.hostname or "127.0.0.1", parts.port or _DEFAULT_PORT)
        try:
            line = await reader.readline()
        except (ssl.SSLError, ValueError):
            line = b""
        finally:
            writer.close()
    try:
        return json.decode(line.removeprefix(b"INFO "), type=ServerInfo)
    except DecodeError:
        return ServerInfo()


async def check_server(settings: Settings) -> list[Finding]:
    """Reachable, recent, with JetStream and room for our messages."""
    where = f"set WAYPOST_NATS_URL (it is {_safe(settings.nats_url)}), start nats-server with `-js`, or use `waypost dev`"
    try:
        info = await server_info(settings.nats_url)
    except (OSError, TimeoutError) as error:
        return [unreachable("nats", f"no server answers: {str(error) or 'timed out'}", where)]
    if not info.version:
        return [warning("nats", "answers, but says nothing of its version", "see that it is nats-server 2.14 or later")]
    findings = [_version(info)]
    if not info.jetstream:
        findings.append(failure("jetstream", "not enabled", "start nats-server with `-js`, or `jetstream {}` in its configuration"))
    if info.max_payload < MAX_MESSAGE_BYTES:
        findings.append(
            failure("nats limits", f"max_payload is {info.max_payload} bytes", f"set max_payload to {2 * MAX_MESSAGE_BYTES} (the default)")
        )
    findings += _cluster(settings, info)
    return findings


def _cluster(settings: Settings, info: ServerInfo) -> list[Finding]:
    """As many servers as replicas of a stream are asked for."""
    if settings.replicas == 1:
        return []
    there = max(len(info.connect_urls), 1) if info.cluster else 1
    if there >= settings.replicas:
        return [ok("replicas", f"{settings.replicas} of {there} servers")]
    text = f"WAYPOST_REPLICAS is {settings.replicas}, and there {'is' if there == 1 else 'are'} {there} server{'s' if there > 1 else ''}"
    return [failure("replicas", text, f"add servers to the cluster, or set WAYPOST_REPLICAS={1 if there < 3 else 3}")]


def _version(info: ServerInfo) -> Finding:
    match = re.match(r"(\d+)\.(\d+)", info.version)
    if match is None or (int(match[1]), int(match[2])) < OLDEST:
        return failure("nats", f"version {info.version} is too old", f"use nats-server {OLDEST[0]}.{OLDEST[1]} or later")
    return ok("nats", f"nats-server {info.version}")


async def check_streams(bus: Bus, specs: Sequence[StreamSpec]) -> list[Finding]:
    """Are the streams there, as the coordinator makes them, and not full?"""
    findings: list[Finding] = []
    try:
        findings += await _account(bus)
        missing: list[str] = []
        for spec in specs:
            answer = await _ask(bus, f"STREAM.INFO.{spec.name}")
            if "config" not in answer:
                missing.append(spec.name)
            else:
                findings += _stream(spec, answer)
    except (WaypostError, DecodeError) as error:
        return [*findings, failure("jetstream", f"does not answer: {error}", "see the log of nats-server; a full disk stops JetStream")]
    if missing:
        findings.append(warning("streams", f"missing: {', '.join(missing)}", "start a coordinator: it makes them"))
    elif not any(finding.check == "streams" for finding in findings):
        findings.append(ok("streams", f"{len(specs)} as they must be"))
    return findings


async def _account(bus: Bus) -> list[Finding]:
    answer = await _ask(bus, "INFO")
    if answer.get("error"):
        text = str(answer["error"].get("description", "refused"))
        return [failure("jetstream", text, "enable JetStream for the account of these credentials")]
    account = json.decode(json.encode(answer), type=_Account, strict=False)
    most = int(account.limits.get("max_storage", -1))
    used = f"{account.storage >> 20} MiB on disk, {account.memory >> 20} MiB in memory"
    if most > 0 and account.storage > FULL_SHARE * most:
        return [warning("jetstream", f"{used} of {most >> 20} MiB", "give the account more storage, or find out who does not consume")]
    return [ok("jetstream", used)]


def _stream(spec: StreamSpec, answer: dict[str, Any]) -> list[Finding]:
    config, state = answer["config"], answer.get("state", {})
    wrong = [
        f"{name} is {found!r}, must be {wanted!r}"
        for name, found, wanted in (
            ("retention", config.get("retention"), "workqueue" if spec.retention == "work_queue" else "limits"),
            ("subjects", sorted(config.get("subjects", [])), sorted(spec.subjects)),
            ("max_msg_size", config.get("max_msg_size"), spec.max_message_bytes),
            ("discard", config.get("discard"), spec.discard),
        )
        if found != wanted
    ]
    transform = config.get("subject_transform") or {}
    found_transform = (transform.get("src"), transform.get("dest")) if transform else None
    if found_transform != spec.transform:
        was = found_transform[1] if found_transform else "none"
        text = f"{spec.name}: its partition transform is {was}, must be {spec.transform[1] if spec.transform else 'none'}"
        mend = (
            "set WAYPOST_PARTITIONS to what the deployment was started with; without a transform: delete the stream, restart a coordinator"
        )
        return [failure("streams", text, mend)]
    if wrong:
        return [
            failure(
                "streams", f"{spec.name}: {'; '.join(wrong)}", f"drain it, delete it, and restart a coordinator, which makes {spec.name}"
            )
        ]
    copies = int(config.get("num_replicas", 1))
    if copies < spec.replicas:
        text = f"{spec.name} has {copies} replica{'s' if copies > 1 else ''}, WAYPOST_REPLICAS asks for {spec.replicas}"
        return [warning("streams", text, f"nats stream edit {spec.name} --replicas {spec.replicas}")]
    size, most = int(state.get("bytes", 0)), int(config.get("max_bytes", -1))
    if spec.discard == "new" and most > 0 and size > FULL_SHARE * most:
        text = f"{spec.name} holds {size >> 20} of {most >> 20} MiB ({state.get('messages', 0)} messages)"
        return [warning("streams", text, "its consumers do not keep up or are not there: start more of them")]
    return []


async def stream_names(bus: Bus) -> list[str]:
    """All streams that this account has, at most the first few thousand. Raises `WaypostError`."""
    names: list[str] = []
    for _ in range(_PAGES):
        message = await bus.request("$JS.API.STREAM.NAMES", json.encode({"offset": len(names)}), timeout_seconds=_SECONDS)
        page = json.decode(message.body)
        found = page.get("streams") or [] if isinstance(page, dict) else []
        names += [str(name) for name in found]
        if not found or len(names) >= int(page.get("total", 0)):
            break
    return names


async def _ask(bus: Bus, subject: str) -> dict[str, Any]:
    message = await bus.request(f"$JS.API.{subject}", b"", timeout_seconds=_SECONDS)
    answer = json.decode(message.body)
    return answer if isinstance(answer, dict) else {}


def _safe(url: str) -> str:
    from waypost_io.redaction import redact

    return redact(url)
