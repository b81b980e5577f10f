"""`waypost tokens`: what it writes is what a coordinator reads, and the secret is for its owner only."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
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


def test_a_token_with_limits(waypost: Any, tmp_path: Path) -> None:
    file = tmp_path / "identities.toml"
    limits = ["--tenant", "bank", "--agent", "desk", "--verb", "runs.*", "--verb", "approvals.list", "--read-only", "--note", "a \\ note"]
    assert waypost("tokens", "create", "eve", "--role", "submitter", *limits, "--file", str(file)).code == 0
    [eve] = parse(file.read_text(encoding="utf-8"), "file").values()
    assert (eve.tenant, eve.agents, eve.verbs, eve.read_only) == ("bank", ["desk"], ["runs.*", "approvals.list"], True)
    assert eve.note == "a \\ note"
    listed = waypost("tokens", "list", "--file", str(file)).out
    assert "read only" in listed
    wrong = waypost("tokens", "create", "x", "--role", "y", "--verb", "runs.explode", "--file", str(file))
    assert wrong.code != 0
    assert "runs.start" in wrong.err


def test_revoke_takes_one_out_and_leaves_the_rest_as_it_was_written(waypost: Any, tmp_path: Path) -> None:
    file = tmp_path / "identities.toml"
    for who in ("ann", "bob", "cleo"):
        assert waypost("tokens", "create", who, "--role", "officer", "--file", str(file)).code == 0
    known = file.read_text(encoding="utf-8")
    cleo = '[[identity]]\nsubject = "cleo"'
    text = "# who may what\n\n" + known.replace(cleo, f"# our clerk\n{cleo}")
    file.write_text(text, encoding="utf-8")
    file.chmod(0o640)
    assert waypost("tokens", "revoke", "bob", "--file", str(file)).code == 0
    left = file.read_text(encoding="utf-8")
    assert [i.subject for i in parse(left, "file").values()] == ["ann", "cleo"]
    assert left.startswith("# who may what\n")
    assert '# our clerk\n[[identity]]\nsubject = "cleo"' in left
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert waypost("tokens", "revoke", "bob", "--file", str(file)).code == 2
    assert waypost("tokens", "create", "ann", "--role", "clerk", "--file", str(file)).code == 0
    both = waypost("tokens", "revoke", "ann", "--file", str(file))
    assert (both.code, "2 tokens" in both.err) == (2, True)
    key = next(i.key for i in parse(file.read_text(encoding="utf-8"), "file").values() if i.roles == ["clerk"])
    assert waypost("tokens", "revoke", key[:12], "--file", str(file)).code == 0
    assert [i.roles for i in parse(file.read_text(encoding="utf-8"), "file").values()] == [["officer"], ["officer"]]
    assert waypost("tokens", "revoke", "ann", "--all", "--file", str(file)).code == 0
    assert [i.subject for i in parse(file.read_text(encoding="utf-8"), "file").values()] == ["cleo"]


def test_rotate_keeps_what_it_may_and_ends_the_old_one_later(waypost: Any, tmp_path: Path) -> None:
    file = tmp_path / "identities.toml"
    made = waypost("tokens", "create", "ann", "--role", "officer", "--tenant", "bank", "--days", "365", "--file", str(file))
    old = Signer(made.out.split()[-1]).key
    rotated = waypost("tokens", "rotate", "ann", "--grace-hours", "2", "--file", str(file))
    assert rotated.code == 0, rotated.err
    new = Signer(rotated.out.split()[-1]).key
    known = parse(file.read_text(encoding="utf-8"), "file")
    assert (known[new].roles, known[new].tenant, known[new].subject) == (["officer"], "bank", "ann")
    now = datetime.now(UTC).timestamp()
    assert not known[old].expired(now)
    assert known[old].expired(now + 7_300)
    assert not known[new].expired(now + 300 * 86_400)
    assert waypost("tokens", "rotate", "ann", "--file", str(file)).code == 2  # which of the two?
    again = waypost("tokens", "rotate", new[:10], "--grace-hours", "0", "--days", "1", "--file", str(file))
    assert again.code == 0, again.err
    assert parse(file.read_text(encoding="utf-8"), "file")[new].expired(now + 60)
