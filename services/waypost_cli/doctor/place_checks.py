"""What lies around a process: its environment, files with keys, the folder of the embedded servers, the collector of traces."""

from __future__ import annotations

import asyncio
import difflib
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from waypost_cli.doctor.report import Finding, failure, ok, warning
from waypost_io.settings import Settings
from waypost_proto.errors import Misconfigured

VOLATILE = frozenset({"tmpfs", "ramfs"})
_MOUNTS = Path("/proc/self/mounts")
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH
_READABLE = stat.S_IRGRP | stat.S_IROTH
_SECONDS = 3.0


def check_environment(env: Mapping[str, str]) -> list[Finding]:
    """Variables that nothing reads, with the name that was probably meant."""
    from waypost_io.settings import known_variables, unknown_variables

    findings = []
    for name in unknown_variables(env):
        near = difflib.get_close_matches(name, sorted(known_variables()), n=1, cutoff=0.8)
        mend = f"did you mean {near[0]}?" if near else "take it out, or see docs/operations.md for the right name"
        findings.append(warning("environment", f"{name} is set and nothing reads it", mend))
    return findings


def check_files(settings: Settings, env: Mapping[str, str]) -> list[Finding]:
    """Keys and identities: readable by whom they are for, writable by nobody else, not expired."""
    findings = _identities(env.get("WAYPOST_API_TOKENS_FILE", "").strip(), time.time())
    for variable, path in (("WAYPOST_API_TOKEN_FILE", settings.api_token_file), ("WAYPOST_NATS_CREDS", settings.nats_creds)):
        if path is not None and path.exists() and path.stat().st_mode & _READABLE:
            text = f"{path} holds a secret, and others than its owner may read it (mode {_mode(path)})"
            findings.append(failure("secrets", f"{variable}: {text}", f"chmod 600 {path}; make a new one if somebody may have read it"))
    findings += _token(settings, env)
    return findings


def _identities(name: str, now: float) -> list[Finding]:
    """The file of identities. It holds public keys: everybody may read it, but who may write it can be anybody."""
    from waypost_io.identities import parse

    if not name:
        return []
    path = Path(name)
    try:
        found = parse(path.read_text(), str(path))
    except OSError as error:
        mend = "set WAYPOST_API_TOKENS_FILE to a file that this user may read; `waypost tokens create` makes it"
        return [failure("identities", f"cannot read {path}: {error.strerror or error}", mend)]
    except (Misconfigured, UnicodeDecodeError) as error:
        return [failure("identities", str(error), "correct the file; services go on with what they knew before")]
    findings = []
    if path.stat().st_mode & _WRITABLE:
        text = f"{path}: others than its owner may write it (mode {_mode(path)}), and so give themselves any role"
        findings.append(failure("identities", text, f"chmod go-w {path}, and look at what is in it"))
    gone = sorted(one.subject for one in found.values() if one.expired(now))
    if gone:
        level = failure if len(gone) == len(found) else warning
        text = f"{path}: {len(gone)} of {len(found)} have expired ({', '.join(gone[:5])})"
        findings.append(level("identities", text, "make new ones with `waypost tokens create SUBJECT --role R`, and take the old ones out"))
    if not found:
        findings.append(
            failure("identities", f"{path} has no identity: nobody may do anything", "`waypost tokens create SUBJECT --role admin`")
        )
    return findings or [ok("identities", f"{len(found)} in {path}")]


def _token(settings: Settings, env: Mapping[str, str]) -> list[Finding]:
    """The key with which this process signs its own requests."""
    from waypost_io.identity import Signer, token_from

    try:
        seed = token_from(settings.api_token, settings.api_token_file)
        if not seed:
            return []
        key = Signer(seed).key
    except Misconfigured as error:
        return [failure("token", str(error), "set WAYPOST_API_TOKEN to the seed that `waypost tokens create` printed (it begins with SU)")]
    identities = env.get("WAYPOST_API_TOKENS_FILE", "").strip()
    if not identities or not Path(identities).is_file():
        return [ok("token", f"requests are signed with {key[:12]}…")]
    from waypost_io.identities import parse

    try:
        identity = parse(Path(identities).read_text(), identities).get(key)
    except (Misconfigured, OSError):
        return []  # said above
    if identity is None:
        text = f"the key {key[:12]}… of WAYPOST_API_TOKEN is not in {identities}: requests are refused"
        return [failure("token", text, "add it with `waypost tokens create`, or use a token that is there")]
    return [ok("token", f"requests are signed as {identity.subject}")]


def check_folder(settings: Settings) -> list[Finding]:
    """Whether the embedded servers keep their data where it survives a restart of the machine."""
    folder = settings.data_dir
    if not folder.is_dir() or not _MOUNTS.is_file():
        return []
    kind = filesystem_of(folder.resolve(), _MOUNTS.read_text())
    if kind in VOLATILE:
        text = f"the embedded servers keep their data in {folder}, on {kind}: it is gone when the machine restarts"
        return [warning("data folder", text, "set WAYPOST_DATA_DIR to a folder on a disk")]
    return []


def filesystem_of(path: Path, mounts: str) -> str:
    """The type of the file system that `path` lies on, by a table of mounts; "" if it names none."""
    best, found = -1, ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        where = Path(fields[1].encode().decode("unicode_escape"))
        if path.is_relative_to(where) and len(where.parts) >= best:
            best, found = len(where.parts), fields[2]
    return found


async def check_collector(env: Mapping[str, str]) -> list[Finding]:
    """Whether somebody takes traces where they are to be sent: an empty export, which changes nothing there."""
    from waypost_io.otlp_traces import endpoint_of

    try:
        endpoint = endpoint_of(env)
    except Misconfigured as error:
        return [failure("collector", str(error), "see docs/traces.md for the variables that are read")]
    if endpoint is None:
        return []
    try:
        status = await asyncio.to_thread(_post, endpoint.url, endpoint.headers)
    except OSError as error:
        text = f"{endpoint.url} does not answer: {error}"
        mend = "start the collector, or set OTEL_EXPORTER_OTLP_ENDPOINT to its HTTP port (4318); spans wait in the log until then"
        return [failure("collector", text, mend)]
    if status in (401, 403):
        return [failure("collector", f"{endpoint.url} refuses us ({status})", "set OTEL_EXPORTER_OTLP_HEADERS to what it asks for")]
    if status >= 400:
        mend = "OTEL_EXPORTER_OTLP_ENDPOINT is the collector's root (http://host:4318), not a path of it"
        return [failure("collector", f"{endpoint.url} takes no traces ({status})", mend)]
    return [ok("collector", f"{endpoint.url} takes traces")]


def _post(url: str, headers: Mapping[str, str]) -> int:
    import urllib.error
    import urllib.request

    wanted = {"Content-Type": "application/x-protobuf", **headers}
    request = urllib.request.Request(url, data=b"", headers=wanted, method="POST")  # noqa: S310 - http or https, `endpoint_of` sees to it
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError as error:
        raise OSError(str(error.reason)) from error


def _mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o777:o}"
