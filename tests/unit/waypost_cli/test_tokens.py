"""`waypost tokens`: what it writes is what a coordinator reads, and the secret is for its owner only."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from waypost_io.identities import parse
from waypost_io.identity import Signer


def test_create_and_list(waypost: Any, tmp_path: Path) -> None:
    file, out = tmp_path / "identities.toml", tmp_path / "ann.token"
    made = waypost("tokens", "create", "ann", "--role", "officer", "--role", "submitter", "--file", str(file), "--out", str(out))
    assert made.code == 0, made.err
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    printed = waypost("tokens", "create", 'bob "the" builder', "--role", "clerk", "--days", "30", "--file", str(file))
    assert printed.code == 0, printed.err
    known = parse(file.read_text(encoding="utf-8"), "file")
    by_subject = {identity.subject: identity for identity in known.values()}
    assert by_subject["ann"].key == Signer(out.read_text(encoding="utf-8")).key
    assert by_subject["ann"].roles == ["officer", "submitter"]
    bob = by_subject['bob "the" builder']
    assert bob.key == Signer(printed.out.split()[-1]).key
    assert bob.expires is not None
    assert out.read_text(encoding="utf-8").strip() not in file.read_text(encoding="utf-8")
    assert "officer, submitter" in waypost("tokens", "list", "--file", str(file)).out


def test_what_cannot_be_made_is_said_and_leaves_nothing(waypost: Any, tmp_path: Path) -> None:
    file, out = tmp_path / "identities.toml", tmp_path / "t"
    assert waypost("tokens", "create", "ann", "--role", "officer").code == 2
    assert waypost("tokens", "create", "ann", "--file", str(file)).code == 2
    assert waypost("tokens", "create", "ann", "--role", "x", "--days", "0", "--file", str(file)).code == 2
    out.write_text("mine", encoding="utf-8")
    assert waypost("tokens", "create", "ann", "--role", "x", "--file", str(file), "--out", str(out)).code == 2
    assert not file.exists()
    assert out.read_text(encoding="utf-8") == "mine"
    assert waypost("tokens", "list", "--file", str(file)).code == 2
