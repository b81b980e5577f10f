"""Anchors: what each kind writes, what it refuses, how it is tried again, and what the file of anchors may say."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from tests.unit.waypost_audit.events import Scribe
from tests.unit.waypost_audit.signed import SignedLog, key
from tests.waiting import wait_until
from waypost_audit.anchors.files import FileAnchor
from waypost_audit.anchors.git import GitAnchor
from waypost_audit.anchors.keeping import AnchorKeeper
from waypost_audit.anchors.objects import Credentials, ObjectAnchor, signed_headers
from waypost_audit.anchors.settings import NamedAnchor, read_anchors
from waypost_audit.anchors.webhook import WebhookAnchor
from waypost_audit.metrics import AnchorMetrics
from waypost_core.audit.heads import Head
from waypost_core.audit.kept import read_heads
from waypost_core.audit.notes import signed
from waypost_io.audit.anchoring import Anchor, HeadRecord, record_line, record_of
from waypost_io.audit.verifying import Wanted, verify
from waypost_io.metrics import Metrics
from waypost_io.store.memory import MemoryStore
from waypost_io.store.ports import HeadRow
from waypost_io.webhooks import signature
from waypost_proto.errors import Conflict, Misconfigured


def head(size: int, root: bytes = b"r", origin: str = "waypost/test") -> HeadRecord:
    made = Head(origin=origin, size=size, root=root * 32, time=1_800_000_000.0)
    return record_of(signed(made.text, [key()]), key().verifier.key_id)


# -- files and repositories


def test_a_file_gets_a_line_for_each_head_and_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "there" / "heads.jsonl"
    anchor = FileAnchor(path)
    assert anchor.put(head(3)) == str(path)
    anchor.put(head(7))
    anchor.put(head(7))
    assert path.read_bytes() == record_line(head(3)) + record_line(head(7))
    assert read_heads(path.read_text(), "") == [head(3).note, head(7).note]


def test_a_line_that_a_crash_cut_off_is_ended_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "heads.jsonl"
    path.write_bytes(record_line(head(3)) + record_line(head(7))[:50])
    FileAnchor(path).put(head(7))
    lines = path.read_bytes().splitlines(keepends=True)
    assert (lines[0], lines[2]) == (record_line(head(3)), record_line(head(7)))


@pytest.mark.parametrize(
    ("then", "why"),
    [
        (head(6), "its newest has 6|newest has 6"),
        (head(7, b"s"), "forked"),
        (head(8, origin="waypost/other"), "a place of its own"),
    ],
)
def test_a_place_that_contradicts_the_log_is_left_as_it_is(tmp_path: Path, then: HeadRecord, why: str) -> None:
    path = tmp_path / "heads.jsonl"
    FileAnchor(path).put(head(7))
    with pytest.raises(Conflict, match=why):
        FileAnchor(path).put(then)
    assert path.read_bytes() == record_line(head(7))
    path.write_text("something else\n")
    with pytest.raises(Conflict, match="is no head"):
        FileAnchor(path).put(then)


def git(path: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(path), *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_a_repository_gets_a_commit_for_each_head_and_pushes_it(tmp_path: Path) -> None:
    remote, path = tmp_path / "remote.git", tmp_path / "work"
    git(tmp_path, "init", "--quiet", "--bare", str(remote))
    git(tmp_path, "init", "--quiet", str(path))
    git(path, "remote", "add", "origin", str(remote))
    anchor = GitAnchor(path, file="heads.jsonl", remote="origin", branch="main")
    assert anchor.put(head(3)).startswith("origin main ")
    anchor.put(head(7))
    anchor.put(head(7))
    assert git(remote, "log", "main", "--format=%s").splitlines() == ["waypost/test: 7 leaves", "waypost/test: 3 leaves"]
    assert git(remote, "show", "main:heads.jsonl").encode() + b"\n" == record_line(head(3)) + record_line(head(7))
    remote.rename(tmp_path / "gone.git")
    with pytest.raises(OSError, match="git push failed"):
        anchor.put(head(9))
    (tmp_path / "gone.git").rename(remote)
    anchor.put(head(9))  # it was committed before, and is pushed now
    assert git(remote, "log", "main", "--format=%s").splitlines()[0] == "waypost/test: 9 leaves"


# -- object stores and webhooks


def test_the_signature_is_that_of_the_published_example() -> None:
    """docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "PUT Object"."""
    credentials = Credentials(access_key="AKIAIOSFODNN7EXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", region="us-east-1")
    headers = signed_headers(
        "PUT",
        "https://examplebucket.s3.amazonaws.com/test%24file.text",
        b"Welcome to Amazon S3.",
        credentials,
        datetime(2013, 5, 24, tzinfo=UTC),
        {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
    )
    assert headers["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,"
        "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    )
    assert "wJalr" not in repr(credentials)


class Bucket:
    """An object store that writes nothing over."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.status = 200
        self.readable = True
        self.headers: list[dict[str, str]] = []

    def request(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        self.headers.append(headers)
        if self.status != 200:
            return self.status, b"<Error>SlowDown</Error>"
        if method == "GET":
            return (200, self.objects[url]) if self.readable else (403, b"")
        assert headers["If-None-Match"] == "*"
        if url in self.objects:
            return 412, b""
        self.objects[url] = body or b""
        return 200, b""


def test_each_head_is_an_object_that_is_never_written_over() -> None:
    bucket = Bucket()
    anchor = ObjectAnchor(
        "https://b.example/{origin}/{size}.json?x=secret", Credentials(access_key="a", secret_key="s", region="r"), request=bucket.request
    )
    assert anchor.put(head(7)) == "https://b.example/waypost/test/000000000000007.json"
    assert bucket.objects == {"https://b.example/waypost/test/000000000000007.json?x=secret": record_line(head(7))}
    assert "Signature=" in bucket.headers[0]["Authorization"]
    anchor.put(head(7))  # an earlier call's answer was lost
    with pytest.raises(Conflict, match="forked"):
        anchor.put(head(7, b"s"))
    bucket.readable = False
    with pytest.raises(OSError, match="cannot be read back"):
        anchor.put(head(7))
    bucket.status = 503
    with pytest.raises(OSError, match="503: <Error>SlowDown") as error:
        anchor.put(head(8))
    assert "secret" not in str(error.value)
    plain = ObjectAnchor("https://b.example/{size}", None, request=Bucket().request)
    assert plain.put(head(7)).endswith("7")


def test_a_webhook_is_signed() -> None:
    sent: list[tuple[str, bytes, dict[str, str]]] = []
    answers = [204, 500, 409]

    def send(url: str, body: bytes, headers: dict[str, str]) -> int:
        sent.append((url, body, headers))
        return answers[len(sent) - 1]

    anchor = WebhookAnchor("https://n.example/heads?token=x", "secret", send=send)
    assert anchor.put(head(7)) == "https://n.example/heads"
    _, body, headers = sent[0]
    assert body == record_line(head(7))
    at = headers["Waypost-Signature"].split(",")[0].removeprefix("t=")
    assert headers["Waypost-Signature"] == signature("secret", body, float(at))
    assert headers["Waypost-Head"] == "waypost/test 7"
    with pytest.raises(OSError, match="answers 500"):
        anchor.put(head(8))
    with pytest.raises(Conflict, match="answers 409"):
        anchor.put(head(8))


# -- the actor


class Place:
    """An anchor that fails as often as it is told to."""

    def __init__(self, name: str = "", options: Mapping[str, object] | None = None) -> None:
        self.kept: list[int] = []
        self.fails = int(str((options or {}).get("fails", 0)))
        self.error: Exception = RuntimeError(f"{name} is closed")

    def put(self, head: HeadRecord) -> str:
        if self.fails:
            self.fails -= 1
            raise self.error
        self.kept.append(head.size)
        return "here"


@contextlib.asynccontextmanager
async def keeping(
    log: SignedLog, anchor: Anchor, *, active: bool = True, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[AnchorKeeper, Metrics]]:
    for name in ("LOOK_SECONDS", "FIRST_RETRY_SECONDS", "CONFLICT_SECONDS"):
        monkeypatch.setattr(f"waypost_audit.anchors.keeping.{name}", 0.01)
    registry = Metrics()
    keeper = AnchorKeeper(log.store.audit, [NamedAnchor("worm", 0.0, anchor)], lambda: active, AnchorMetrics(registry))
    async with keeper:
        yield keeper, registry


@pytest.fixture
async def scribe() -> Scribe:
    return await Scribe(MemoryStore(time.time)).start()


@pytest.fixture
async def log(scribe: Scribe) -> SignedLog:
    log = SignedLog(scribe.store)
    await log.write(scribe, {0: 3})
    return log


async def test_an_anchor_gets_the_newest_heads_and_failures_are_tried_again(
    log: SignedLog, scribe: Scribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(options={"fails": 3})
    async with keeping(log, place, monkeypatch=monkeypatch) as (_, registry):
        await wait_until(lambda: place.kept == [3])
        assert b'waypost_audit_anchor_failures_total{anchor="worm"} 3' in registry.render()
        await log.write(scribe, {0: 1})
        await wait_until(lambda: place.kept == [3, 4])
        await wait_until(lambda: b'waypost_audit_anchor_leaves{anchor="worm"} 4' in registry.render())
        assert b'waypost_audit_anchor_behind_leaves{anchor="worm"} 0' in registry.render()
    (row,) = await log.store.audit.anchors()
    assert (row.name, row.size, row.place) == ("worm", 4, "here")
    heir = Place()
    async with keeping(log, heir, monkeypatch=monkeypatch) as (_, registry):
        await wait_until(lambda: b'waypost_audit_anchor_leaves{anchor="worm"} 4' in registry.render())
        await log.write(scribe, {0: 2})
        await wait_until(lambda: heir.kept == [6])


async def test_a_contradiction_is_shown(log: SignedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(options={"fails": 10**9})
    place.error = Conflict("forked")
    async with keeping(log, place, monkeypatch=monkeypatch) as (_, registry):
        await wait_until(lambda: b'waypost_audit_anchor_conflict{anchor="worm"} 1' in registry.render())
        place.fails = 0
        await wait_until(lambda: b'waypost_audit_anchor_conflict{anchor="worm"} 0' in registry.render())


async def test_an_old_head_that_meets_a_newer_one_is_no_contradiction(
    log: SignedLog, scribe: Scribe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process is stopped between reading the newest head and giving it to the anchor; another one anchors a newer head meanwhile."""
    old = await log.store.audit.newest_head()
    await log.write(scribe, {0: 5})
    newest = await log.store.audit.newest_head()
    assert old is not None
    assert newest is not None
    anchor = FileAnchor(tmp_path / "heads.jsonl")
    anchor.put(record_of(newest.note, newest.key_id))
    found = [old]

    async def newest_head() -> HeadRow:
        return found.pop() if found else newest

    monkeypatch.setattr(log.store.audit, "newest_head", newest_head)
    with structlog.testing.capture_logs() as logs:
        async with keeping(log, anchor, monkeypatch=monkeypatch) as (_, registry):
            await wait_until(lambda: b'waypost_audit_anchor_leaves{anchor="worm"} 8' in registry.render())
    assert not found
    assert [line["event"] for line in logs if line["log_level"] == "error"] == []


async def test_a_logger_that_stands_by_anchors_nothing_and_the_last_head_is_anchored_at_the_end(
    log: SignedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place()
    async with keeping(log, place, active=False, monkeypatch=monkeypatch) as (keeper, _):
        await asyncio.sleep(0.05)
        assert place.kept == []
    await keeper.finish()
    assert place.kept == [3]


async def test_what_an_anchor_kept_shows_what_the_database_lost(log: SignedLog, scribe: Scribe, tmp_path: Path) -> None:
    anchor = FileAnchor(tmp_path / "heads.jsonl")
    for _ in range(3):
        await log.write(scribe, {1: 2})
        newest = await log.store.audit.newest_head()
        assert newest is not None
        anchor.put(record_of(newest.note, newest.key_id))
    kept = read_heads((tmp_path / "heads.jsonl").read_text(), "")
    assert (await verify(log.store.audit, Wanted(trusted=[key().verifier], heads=kept))).ok
    other = await Scribe(MemoryStore(time.time)).start()
    forged = SignedLog(other.store)
    await forged.write(other, {0: 3}, {1: 4})
    report = await verify(forged.store.audit, Wanted(trusted=[key().verifier], heads=kept))
    assert [finding.kind for finding in report.findings] == ["forked", "forked", "truncated"]


# -- the file of anchors

GOOD = """
[[anchor]]
kind = "file"
name = "worm"
path = "heads.jsonl"
every_seconds = 5
[[anchor]]
kind = "git"
name = "repository"
path = "{tmp}"
[[anchor]]
kind = "s3"
name = "bucket"
url = "https://b.example/{{size}}"
region = "eu-central-1"
[[anchor]]
kind = "webhook"
name = "notary"
url = "https://n.example/"
secret_env = "NOTARY"
[[anchor]]
kind = "python"
name = "mine"
entry = "tests.unit.waypost_audit.test_anchors:Place"
options = {{ fails = 2 }}
"""
ENV = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "NOTARY": "c"}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "anchors.toml"
    path.write_text(text)
    return path


def test_the_file_says_where(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    found = read_anchors(written(tmp_path, GOOD.format(tmp=tmp_path)), ENV)
    assert [(each.name, type(each.anchor).__name__) for each in found] == [
        ("worm", "FileAnchor"),
        ("repository", "GitAnchor"),
        ("bucket", "ObjectAnchor"),
        ("notary", "WebhookAnchor"),
        ("mine", "Place"),
    ]
    assert [each.every_seconds for each in found][:2] == [5.0, 60.0]
    assert read_anchors(written(tmp_path, "")) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[anchor", "array declaration"),
        ('[[anchor]]\nkind = "carrier-pigeon"\nname = "a"', "carrier-pigeon"),
        ('[[anchor]]\nkind = "file"\nname = "a"', "path"),
        ('[[anchor]]\nkind = "file"\nname = "A b"\npath = "x"', "name"),
        ('[[anchor]]\nkind = "file"\nname = "a"\npath = "x"\nhue = 3', "hue"),
        ('[[anchor]]\nkind = "file"\nname = "a"\npath = "x"\n' * 2, "two anchors named 'a'"),
        ('[[anchor]]\nkind = "git"\nname = "a"\npath = "none"', "no git work tree"),
        ('[[anchor]]\nkind = "s3"\nname = "a"\nurl = "https://b.example/"', "has no {size}"),
        ('[[anchor]]\nkind = "s3"\nname = "a"\nurl = "ftp://b/{size}"', "is no address"),
        ('[[anchor]]\nkind = "webhook"\nname = "a"\nurl = "https://b"\nsecret_env = "UNSET"', "variable UNSET is not set"),
        ('[[anchor]]\nkind = "python"\nname = "a"\nentry = "nowhere"', "is not package.module:callable"),
        ('[[anchor]]\nkind = "python"\nname = "a"\nentry = "os:nothing"', "cannot be used"),
        ('[[anchor]]\nkind = "python"\nname = "a"\nentry = "builtins:zip"', "no method put"),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(Misconfigured, match="WAYPOST_AUDIT_ANCHORS_FILE") as error:
        read_anchors(written(tmp_path, text), {})
    assert why in str(error.value)
    with pytest.raises(Misconfigured, match="cannot be read"):
        read_anchors(tmp_path / "none")
    assert os.environ.get("UNSET") is None
