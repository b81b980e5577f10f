"""Cassettes: recorded once, played without the model, redacted, and plain about what they do not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.waypost.models.world import asked, options
from waypost.models import ModelBusy, ModelRefused
from waypost.models.recording import Cassette
from waypost.models.scripted import ScriptedModel, uses
from waypost_proto.errors import Misconfigured


async def test_what_was_recorded_is_played(tmp_path: Path) -> None:
    path = tmp_path / "some" / "cassette.jsonl"
    model = ScriptedModel(["one", ModelBusy("429", retry_after=3), [uses("look-up", '{"q":1}')], "two"], by="call", options=options())
    recorder = Cassette(path, model, mode="record")
    assert (await recorder.generate(asked("a"))).message.text == "one"
    with pytest.raises(ModelBusy):
        await recorder.generate(asked("b"))
    await recorder.generate(asked("b"))
    await recorder.generate(asked("a"))
    assert len(path.read_text().splitlines()) == 4

    player = Cassette(path)
    heard: list[object] = []
    assert (await player.generate(asked("a"), heard.append)).message.text == "one"
    assert (await player.generate(asked("a"))).message.text == "two"
    assert (await player.generate(asked("a"))).message.text == "two", "the last answer is kept"
    with pytest.raises(ModelBusy) as busy:
        await player.generate(asked("b"))
    assert busy.value.retry_after == 3
    assert (await player.generate(asked("b"), heard.append)).message.tool_uses[0].name == "look-up"
    assert len(heard) == 2
    assert model.calls == 4


async def test_what_is_not_recorded_is_said(tmp_path: Path) -> None:
    path = tmp_path / "cassette.jsonl"
    await Cassette(path, ScriptedModel(["x"], options=options()), mode="record").generate(asked("Which city?"))
    with pytest.raises(ModelRefused, match=r"messages\[0\].*Which city\?.*Which town\?"):
        await Cassette(path).generate(asked("Which town?"))
    with pytest.raises(ModelRefused, match="differs in temperature"):
        await Cassette(path).generate(asked("Which city?", temperature=0.5))
    with pytest.raises(Misconfigured, match="no such cassette"):
        Cassette(tmp_path / "nothing.jsonl")
    with pytest.raises(Misconfigured, match="needs a model"):
        Cassette(path, mode="record")
    path.write_text("{}\n")
    with pytest.raises(Misconfigured, match="line 1"):
        Cassette(path)


async def test_auto_asks_only_for_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    path = tmp_path / "cassette.jsonl"
    model = ScriptedModel(lambda request: request.messages[0].text.upper(), options=options())
    for _ in range(2):
        auto = Cassette(path, model)
        assert auto.mode == "auto"
        assert (await auto.generate(asked("a"))).message.text == "A"
        assert (await auto.generate(asked("a"))).message.text == "A"
    assert model.calls == 1
    monkeypatch.setenv("CI", "true")
    assert Cassette(path, model).mode == "replay"


async def test_what_must_not_be_written_is_not(tmp_path: Path) -> None:
    path = tmp_path / "cassette.jsonl"
    secret = "sk-12345678"

    def redact(text: str) -> str:
        return text.replace(secret, "<key>")

    model = ScriptedModel([f"the key is {secret}"], options=options())
    request = asked(f"my key is {secret}", instructions=f"never say {secret}")
    recorder = Cassette(path, model, mode="record", redact=redact)
    assert secret in (await recorder.generate(request)).message.text
    assert secret not in path.read_text()
    assert (await Cassette(path, redact=redact).generate(request)).message.text == "the key is <key>"
