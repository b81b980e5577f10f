"""The file of anchors (`WAYPOST_AUDIT_ANCHORS_FILE`), TOML, read at start. Secrets are named by the variables that hold them.

    [[anchor]]                                  [[anchor]]
    kind = "file"                               kind = "s3"
    name = "worm"                               name = "bucket"
    path = "/mnt/worm/heads.jsonl"              url = "https://bucket.s3.eu-central-1.amazonaws.com/heads/{size}.json"
                                                region = "eu-central-1"
    [[anchor]]
    kind = "git"                                [[anchor]]
    name = "repository"                         kind = "webhook"
    path = "/srv/heads"                         name = "notary"
    remote = "origin"                           url = "https://notary.example/heads"
                                                secret_env = "NOTARY_SECRET"

Every anchor may have `every_seconds`, the least time between two heads that it gets.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from waypost_audit.anchors.files import FileAnchor
from waypost_audit.anchors.git import GitAnchor
from waypost_audit.anchors.objects import Credentials, ObjectAnchor
from waypost_audit.anchors.webhook import WebhookAnchor
from waypost_io.audit.anchoring import Anchor
from waypost_proto.errors import Misconfigured

EVERY_SECONDS = 60.0
Name = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,63}$")]


class _Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    name: Name
    every_seconds: Annotated[float, Meta(ge=0)] = EVERY_SECONDS


class FileSpec(_Spec, frozen=True, kw_only=True, tag="file"):
    """A file to append to."""

    path: str


class GitSpec(_Spec, frozen=True, kw_only=True, tag="git"):
    """A work tree to commit in, and where to push it."""

    path: str
    file: str = "heads.jsonl"
    remote: str = ""
    branch: str = "main"


class ObjectSpec(_Spec, frozen=True, kw_only=True, tag="s3"):
    """Addresses of objects. With a region they are signed, with the credentials in these variables."""

    url: str
    region: str = ""
    access_key_env: str = "AWS_ACCESS_KEY_ID"
    secret_key_env: str = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the name of a variable
    session_token_env: str = "AWS_SESSION_TOKEN"  # noqa: S105


class WebhookSpec(_Spec, frozen=True, kw_only=True, tag="webhook"):
    """An address to post to; `secret_env` names the variable with the secret that signs."""

    url: str
    secret_env: str


class PythonSpec(_Spec, frozen=True, kw_only=True, tag="python"):
    """Your own: `entry` is "package.module:callable", called with the name and the options."""

    entry: str
    options: dict[str, str | int | float | bool] = {}


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    anchor: list[FileSpec | GitSpec | ObjectSpec | WebhookSpec | PythonSpec] = []


@dataclass(frozen=True, slots=True)
class NamedAnchor:
    """An anchor by name, and the least seconds between two heads that it gets."""

    name: str
    every_seconds: float
    anchor: Anchor


def read_anchors(path: Path, env: Mapping[str, str] | None = None) -> list[NamedAnchor]:
    """The anchors of a file. Raises `Misconfigured` that names the place and what to do."""
    where = f"WAYPOST_AUDIT_ANCHORS_FILE={str(path)!r}"
    try:
        specs = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).anchor
    except OSError as error:
        raise Misconfigured(f"{where} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{where}: {error}") from error
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise Misconfigured(f"{where}: there are two anchors named {name!r}; each needs a name of its own")
    variables = os.environ if env is None else env
    return [NamedAnchor(spec.name, spec.every_seconds, _made(spec, variables, f"{where}, anchor {spec.name!r}")) for spec in specs]


def _made(spec: _Spec, env: Mapping[str, str], where: str) -> Anchor:
    match spec:
        case FileSpec():
            return FileAnchor(Path(spec.path).expanduser())
        case GitSpec():
            path = Path(spec.path).expanduser()
            if not (path / ".git").exists():
                raise Misconfigured(f"{where}: {str(path)!r} is no git work tree; make it with git init or git clone")
            return GitAnchor(path, file=spec.file, remote=spec.remote, branch=spec.branch)
        case ObjectSpec():
            return _objects(spec, env, where)
        case WebhookSpec():
            _check_url(spec.url, where)
            return WebhookAnchor(spec.url, _secret(env, spec.secret_env, where))
        case PythonSpec():
            return _loaded(spec, where)
        case _:
            raise AssertionError(spec)


def _objects(spec: ObjectSpec, env: Mapping[str, str], where: str) -> Anchor:
    _check_url(spec.url, where)
    if "{size}" not in spec.url:
        raise Misconfigured(f"{where}: url {spec.url!r} has no {{size}} in it: each head is an object of its own")
    if not spec.region:
        return ObjectAnchor(spec.url, None)
    credentials = Credentials(
        access_key=_secret(env, spec.access_key_env, where),
        secret_key=_secret(env, spec.secret_key_env, where),
        region=spec.region,
        session_token=env.get(spec.session_token_env, ""),
    )
    return ObjectAnchor(spec.url, credentials)


def _loaded(spec: PythonSpec, where: str) -> Anchor:
    module, colon, name = spec.entry.partition(":")
    if not colon:
        raise Misconfigured(f"{where}: entry {spec.entry!r} is not package.module:callable")
    try:
        made: Anchor = getattr(import_module(module), name)(spec.name, spec.options)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise Misconfigured(f"{where}: {spec.entry} cannot be used: {type(error).__name__}: {error}") from error
    if not callable(getattr(made, "put", None)):
        raise Misconfigured(f"{where}: what {spec.entry} returns has no method put(head)")
    return made


def _check_url(url: str, where: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Misconfigured(f"{where}: url {url.split('?', 1)[0]!r} is no address; use https://host/path")


def _secret(env: Mapping[str, str], name: str, where: str) -> str:
    value = env.get(name, "").strip()
    if not value:
        raise Misconfigured(f"{where}: the variable {name} is not set; it holds the secret")
    return value
