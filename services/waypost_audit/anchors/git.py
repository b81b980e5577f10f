"""Heads in a git repository: a line in a file, a commit for each, pushed if a remote is named, which should refuse forced pushes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from waypost_audit.anchors.files import append_head
from waypost_io.audit.anchoring import HeadRecord

TIMEOUT_SECONDS = 60.0
AUTHOR = "Waypost audit logger"
_ERROR_CHARACTERS = 400


class GitAnchor:
    """One work tree. `remote` "" pushes nowhere."""

    def __init__(self, path: Path, *, file: str, remote: str, branch: str) -> None:
        self._path = path
        self._file = file
        self._remote = remote
        self._branch = branch

    def put(self, head: HeadRecord) -> str:
        """See `anchoring.Anchor`. What an earlier call has written and not committed or pushed is committed and pushed now."""
        append_head(self._path / self._file, head)
        self._git("add", "--", self._file)
        if self._git("diff", "--cached", "--name-only", "--", self._file):
            self._git("commit", "--quiet", "--message", f"{head.origin}: {head.size} leaves", "--", self._file)
        if self._remote:
            self._git("push", "--quiet", self._remote, f"HEAD:refs/heads/{self._branch}")
        commit = self._git("rev-parse", "--short", "HEAD")
        return f"{self._remote or self._path} {self._branch} {commit}"

    def _git(self, *arguments: str) -> str:
        """Run git in the work tree and return what it prints. Raises `OSError` with what it complains about."""
        command: Sequence[str] = ("git", "-C", str(self._path), *arguments)
        env = {
            **os.environ,
            "GIT_TERMINAL_PROMPT": "0",  # it runs where nobody can answer
            "GIT_AUTHOR_NAME": AUTHOR,
            "GIT_AUTHOR_EMAIL": "audit@localhost",
            "GIT_COMMITTER_NAME": AUTHOR,
            "GIT_COMMITTER_EMAIL": "audit@localhost",
        }
        try:
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)  # noqa: S603
        except subprocess.TimeoutExpired as error:
            raise OSError(f"git {arguments[0]} did not end within {TIMEOUT_SECONDS:g} s") from error
        if done.returncode:
            raise OSError(f"git {arguments[0]} failed: {(done.stderr or done.stdout).strip()[-_ERROR_CHARACTERS:]}")
        return done.stdout.strip()
