"""Keys, signatures and the file of identities."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from waypost_io.identities import Identities, parse
from waypost_io.identity import Signer, new_token, raw_key, token_from, verifies
from waypost_proto.errors import BadInput, Misconfigured
from waypost_proto.signing import (
    AT_HEADER,
    BEHALF_HEADER,
    KEY_HEADER,
    SIGNATURE_HEADER,
    Behalf,
    pack_behalf,
    signed_bytes,
    unpack_behalf,
)


def test_a_signature_is_good_for_this_request_alone() -> None:
    token, key = new_token()
    headers = Signer(token).headers("w.api.runs.start", b"{}")
    assert headers[KEY_HEADER] == key
    at, signature = headers[AT_HEADER], headers[SIGNATURE_HEADER]
    assert verifies(key, signature, signed_bytes("w.api.runs.start", at, b"{}"))
    assert not verifies(key, signature, signed_bytes("w.api.runs.start", at, b"[]"))
    assert not verifies(key, signature, signed_bytes("w.api.runs.cancel", at, b"{}"))
    assert not verifies(key, signature, signed_bytes("w.api.runs.start", at + "0", b"{}"))
    assert not verifies(new_token()[1], signature, signed_bytes("w.api.runs.start", at, b"{}"))
    for nonsense in ("", "!", "é", "A" * 86):
        assert not verifies(key, nonsense, b"")


def test_a_mistyped_key_or_token_is_told_without_showing_it() -> None:
    token, key = new_token()
    assert len(raw_key(key)) == 32
    for wrong in ("", "U123", key[:-1], key.replace(key[5], "A" if key[5] != "A" else "B", 1), token):
        with pytest.raises(BadInput):
            raw_key(wrong)
    for wrong in ("", key, token[:-1], "SUé"):
        with pytest.raises(Misconfigured) as error:
            Signer(wrong)
        assert not wrong or wrong not in str(error.value)


def test_the_token_of_a_process(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("SU1\n", encoding="utf-8")
    assert token_from("", None) is None
    assert token_from("", path) == "SU1"
    assert token_from("SU2", path) == "SU2"
    with pytest.raises(Misconfigured, match="WAYPOST_API_TOKEN_FILE"):
        token_from("", tmp_path / "none")


def entry(key: str, *more: str, subject: str = "ann") -> str:
    return "\n".join(["[[identity]]", f'subject = "{subject}"', f'key = "{key}"', 'roles = ["officer"]', *more, ""])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[identity", "Expected"),
        ("[[identity]]\nsubject = 'ann'\n", "key"),
        ("[[identity]]\nsubject='ann'\nkey='U1'\nroles=[]\n", "no public key"),
        (entry("{key}", 'role = "x"'), "unknown field"),
        (entry("{key}", "expires = 2030-01-01T00:00:00"), "no offset"),
        (entry("{key}", subject=" "), "without a subject|a subject"),
        (entry("{key}") + entry("{key}", subject="bob"), "is that of 'ann' too"),
        (entry("{key}", 'verbs = ["runs.explode"]'), "no operation"),
        (entry("{key}", 'tenant = " "'), "tenant"),
        (entry("{key}", subject="a\\u0007"), "printable"),
        (entry("{key}", 'behalf_roles = ["officer"]'), "role 'delegate'"),
    ],
)
def test_a_file_with_an_error_says_where(text: str, problem: str) -> None:
    with pytest.raises(Misconfigured, match=problem) as error:
        parse(text.replace("{key}", new_token()[1]), "identities.toml")
    assert "identities.toml" in str(error.value)


def test_a_file_is_read_again_when_it_changes_and_an_error_leaves_what_was_known(tmp_path: Path) -> None:
    path, now = tmp_path / "identities.toml", [0.0]
    keys = [new_token()[1] for _ in range(2)]
    path.write_text(entry(keys[0]), encoding="utf-8")
    known = Identities(path, monotonic=lambda: now[0])
    path.write_text(entry(keys[1], "expires = 2030-01-01T00:00:00Z"), encoding="utf-8")
    assert known.find(keys[0]) is not None  # looked at a moment ago
    now[0] += 2
    assert known.find(keys[0]) is None
    found = known.find(keys[1])
    assert found is not None
    assert not found.expired(1.8e9)
    assert found.expired(2.0e9)
    path.write_text("nonsense", encoding="utf-8")
    now[0] += 2
    assert known.find(keys[1]) is not None
    path.unlink()
    now[0] += 2
    assert known.find(keys[1]) is not None


def test_a_key_that_was_just_added_is_known_at_once(tmp_path: Path) -> None:
    """Nobody waits for the next look with a token that was made for them: the clock stands still here."""
    path = tmp_path / "identities.toml"
    keys = [new_token()[1] for _ in range(3)]
    path.write_text(entry(keys[0]), encoding="utf-8")
    known = Identities(path, monotonic=lambda: 0.0)
    assert known.find(keys[1]) is None
    for count in (2, 3):
        path.write_text("".join(map(entry, keys[:count])), encoding="utf-8")
        assert known.find(keys[count - 1]) is not None


def test_unknown_keys_do_not_have_a_file_with_an_error_read_and_told_each_time(tmp_path: Path) -> None:
    path, now = tmp_path / "identities.toml", [0.0]
    path.write_text(entry(new_token()[1]), encoding="utf-8")
    known = Identities(path, monotonic=lambda: now[0])
    with capture_logs() as told:
        for broken in (lambda: path.write_text("nonsense", encoding="utf-8"), path.unlink):
            broken()
            now[0] += 2
            for _ in range(5):
                assert known.find(new_token()[1]) is None
    assert [line["event"] for line in told] == ["identities_not_reloaded"] * 2
    assert len(known) == 1
    added = new_token()[1]
    path.write_text(entry(added), encoding="utf-8")
    assert known.find(added) is not None  # mended: at once again


def test_a_file_that_is_not_there_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="WAYPOST_API_TOKENS_FILE"):
        Identities(tmp_path / "none")


def test_what_is_signed_on_behalf_of_somebody_is_signed_for_them_alone() -> None:
    token, key = new_token()
    behalf = Behalf(subject="zoë@example.com", tenant="bank", roles=["officer"], issuer="https://id.example")
    headers = Signer(token).on_behalf(behalf).headers("w.api.runs.start", b"{}")
    packed, at, signature = headers[BEHALF_HEADER], headers[AT_HEADER], headers[SIGNATURE_HEADER]
    assert (packed.isascii(), unpack_behalf(packed)) == (True, behalf)
    assert verifies(key, signature, signed_bytes("w.api.runs.start", at, b"{}", packed))
    assert not verifies(key, signature, signed_bytes("w.api.runs.start", at, b"{}"))
    assert not verifies(key, signature, signed_bytes("w.api.runs.start", at, b"{}", pack_behalf(Behalf(subject="eve"))))
    plain = Signer(token).headers("w.api.runs.start", b"{}")
    assert not verifies(key, plain[SIGNATURE_HEADER], signed_bytes("w.api.runs.start", plain[AT_HEADER], b"{}", packed))


@pytest.mark.parametrize(
    "text", ["", "!", "e30", "bnVsbA", "A" * 10_000, pack_behalf(Behalf(subject=" ")), pack_behalf(Behalf(subject="a", tenant=""))]
)
def test_what_is_no_behalf_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="Waypost-Behalf"):
        unpack_behalf(text)


def test_a_scope_narrows_what_somebody_sees() -> None:
    [one] = parse(entry(new_token()[1], 'agents = ["desk"]\ntenant = "bank"'), "f").values()
    [every] = parse(entry(new_token()[1], 'tenant = "*"'), "f").values()
    assert [one.sees("bank", "desk"), one.sees("bank", "vault"), one.sees("default", "desk")] == [True, False, False]
    assert every.sees("bank", "vault")
