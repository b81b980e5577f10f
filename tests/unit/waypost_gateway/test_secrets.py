"""Secrets of tools: where they come from, and that they are nowhere else. What a tool says in any encoding is looked at."""

from __future__ import annotations

import base64
import json
from io import StringIO
from pathlib import Path
from urllib.parse import quote

import pytest
import structlog

from tests.unit.waypost_gateway.rig import Desktop, Rig
from waypost import ToolContext
from waypost_gateway.gateway import Rules
from waypost_gateway.results import HELD_BACK, without_secrets
from waypost_gateway.secrets import Secrets
from waypost_io import logs
from waypost_io.known_secrets import KNOWN, KnownSecrets
from waypost_proto.codec import encode
from waypost_proto.errors import Misconfigured
from waypost_proto.mailbox import ToolFailed, ToolSucceeded, ToolUncertain

SECRET = 'hunter2/"läßt"+grüßen'
PIN = "8675309042"

ENCODED = {
    "plain": SECRET,
    "json": json.dumps(SECRET),
    "percent": quote(SECRET, safe=""),
    "hex": SECRET.encode().hex(),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "basic auth": base64.b64encode(b"u:" + SECRET.encode() + b"@").decode(),
    "within base64": base64.urlsafe_b64encode(b"user=" + SECRET.encode() + b"&x=1").decode(),
    "in a text": f"token {SECRET} was refused",
}


@pytest.fixture
def secrets() -> Secrets:
    return Secrets({"WAYPOST_SECRET_BANK_TOKEN": SECRET, "WAYPOST_SECRET_PIN": PIN, "WAYPOST_SECRET_": "x", "PATH": "y"})


@pytest.fixture(autouse=True)
def _forget() -> object:
    yield
    KNOWN.replace(())


def holds(data: bytes | str) -> bool:
    """Whether any form of the secret, or a long part of its base64, is in there."""
    text = data.decode() if isinstance(data, bytes) else data
    core = base64.b64encode(SECRET.encode()).decode()[4:20]
    return any(form in text for form in (SECRET, json.dumps(SECRET)[1:-1], quote(SECRET, safe=""), SECRET.encode().hex(), core, PIN))


@pytest.mark.parametrize("form", ENCODED.values(), ids=ENCODED)
async def test_no_result_and_no_error_carries_a_secret(rig: Rig, secrets: Secrets, form: str) -> None:
    desktop = Desktop()

    async def telling(ctx: ToolContext) -> object:
        assert ctx.secret("bank-token") == SECRET
        if ctx.attempt == 2:
            raise ValueError(form)
        return {"text": form, form: [form], "pin": int(PIN) if ctx.attempt == 3 else PIN}

    desktop.behaviour = {"look": telling, "put": telling, "post": telling}
    async with rig.gateway(desktop, rules=Rules(secrets=secrets)):
        for name in ("look", "put", "post"):
            for attempt in (1, 2, 3):
                call = rig.call(name, attempt=attempt)
                answer = await rig.run(call)
                assert isinstance(answer, ToolSucceeded | ToolFailed | ToolUncertain)
                assert not holds(encode(answer))
                assert b"***" in encode(answer)
                if call.permit:
                    assert not holds((await rig.row(call)).result or b"")


async def test_a_large_result_has_no_secret_in_its_blob(rig: Rig, secrets: Secrets) -> None:
    desktop = Desktop()

    async def telling(_: ToolContext) -> str:
        return "x" * 300_000 + SECRET

    desktop.behaviour["look"] = telling
    async with rig.gateway(desktop, rules=Rules(secrets=secrets)):
        answer = await rig.run(rig.call("look"))
        assert isinstance(answer, ToolSucceeded)
        assert not holds(await rig.store.blobs.get(answer.result_ref.sha256))  # type: ignore[union-attr]


async def test_a_call_whose_tool_lacks_a_secret_does_not_begin(rig: Rig, secrets: Secrets) -> None:
    desktop = Desktop(secrets=("bank-token", "other"))
    async with rig.gateway(desktop, rules=Rules(secrets=secrets)):
        answer = await rig.run(rig.call("post"))
    assert isinstance(answer, ToolFailed)
    assert (answer.error.type, answer.retryable) == ("SecretMissing", True)
    assert "other" in answer.error.message
    assert desktop.began == []


def test_logs_hide_what_is_known_also_in_tracebacks(secrets: Secrets) -> None:
    before = structlog.get_config()
    try:
        for style in ("json", "console"):
            out = StringIO()
            logs.configure("gateway", environment={"WAYPOST_LOG_FORMAT": style, "WAYPOST_LOG_LEVEL": "debug"}, stream=out)
            try:
                raise ValueError(SECRET)  # noqa: TRY301
            except ValueError:
                structlog.get_logger("x").exception("failed", token=SECRET, all=ENCODED, key=json.dumps(SECRET))
            assert "failed" in out.getvalue()
            assert not holds(out.getvalue()), style
    finally:
        structlog.configure(**before)
    assert len(secrets) == 2


def test_a_file_wins_and_is_read_again_and_old_values_stay_hidden(tmp_path: Path) -> None:
    file = tmp_path / "secrets.toml"
    file.write_text('bank-token = "of the file"\nother = "something else"\n')
    known = KnownSecrets()
    secrets = Secrets({"WAYPOST_SECRET_BANK_TOKEN": SECRET}, file, known=known)
    assert dict(secrets) == {"bank-token": "of the file", "other": "something else"}
    file.write_text('bank-token = "replaced value"\n')
    secrets.reload()
    assert dict(secrets) == {"bank-token": "replaced value"}
    assert known.hide("of the file, replaced value") == "***, ***"
    assert "replaced" not in repr(secrets)


@pytest.mark.parametrize("text", ['a = "very secret value', "a = 7", "Bad_Name = 'very secret value'", 'a = ""', "\udce4"])
def test_a_file_that_cannot_be_used_is_refused_without_its_values(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secrets.toml"
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(Misconfigured, match="WAYPOST_SECRETS_FILE") as caught:
        Secrets({}, file)
    assert "very secret value" not in str(caught.value)


def test_a_short_secret_is_said_to_be_unprotected() -> None:
    with structlog.testing.capture_logs() as said:
        Secrets({"WAYPOST_SECRET_PIN": "1234"}, known=KnownSecrets())
    assert said[0]["names"] == ["pin"]
    assert "1234" not in str(said)


def test_what_hiding_would_break_is_held_back(secrets: Secrets) -> None:
    assert len(secrets) == 2
    assert without_secrets(b'{"pin":8675309042}') == HELD_BACK
    assert without_secrets(b'{"pin":"8675309042"}') == b'{"pin":"***"}'
    clean = b'{"pin":1}'
    assert without_secrets(clean) is clean
