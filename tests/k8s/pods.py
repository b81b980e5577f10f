"""The containers of an overlay as processes of this machine: their commands, variables and mounted files, on the test's own servers.

Replaces what only a cluster has: the names of services by addresses, mount points by folders, one port for all pods by one each.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.k8s.rendering import Document, arguments, data_of, environment
from tests.waiting import wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the pods run: `hosts` maps an address in the manifests to one of this machine."""

    folder: str
    path: Path
    hosts: Mapping[str, str]


class Pod:
    """One container. `start` it, ask its probes, `stop` it as the kubelet does."""

    def __init__(self, place: Place, name: str, pod: Document, port: int) -> None:
        self.name = name
        self.port = port
        self.grace = float(pod.get("terminationGracePeriodSeconds", 30))
        (self._container,) = pod["containers"]
        self._mounts = self._mounted(place, pod)
        made = environment(place.folder, self._container)
        made = {key: self._here(place, value) for key, value in made.items()}
        self.variables = {**made, "WAYPOST_OPS_ADDR": f"127.0.0.1:{port}", "WAYPOST_HTTP_ADDR": "127.0.0.1:0"}
        self.command = [self._here(place, part) for part in arguments(self._container, made)]
        self._log = place.path / f"{name}.log"
        self.process: asyncio.subprocess.Process | None = None

    def _mounted(self, place: Place, pod: Document) -> dict[str, str]:
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        found = {}
        for mount in self._container["volumeMounts"]:
            folder = place.path / self.name / mount["name"]
            match volumes[mount["name"]]:
                case {"configMap": {"name": name}}:
                    files = data_of(place.folder, "ConfigMap", name)
                case {"secret": {"secretName": name}}:
                    files = data_of(place.folder, "Secret", name)
                case _:
                    continue  # an empty folder: this machine has one of its own
            folder.mkdir(parents=True)
            for file, text in files.items():
                (folder / file).write_text(text, encoding="utf-8")
            found[mount["mountPath"]] = str(folder)
        return found

    def _here(self, place: Place, text: str) -> str:
        for there, here in {**place.hosts, **self._mounts}.items():
            text = text.replace(there, here)
        return text

    async def start(self) -> None:
        environment = {**{key: value for key, value in os.environ.items() if not key.startswith("WAYPOST_")}, **self.variables}
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "waypost_cli", *self.command, env=environment, stdout=log, stderr=log
            )

    def says(self) -> str:
        """The end of its log."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-3_000:]

    async def says_once(self, text: str) -> None:
        """Wait until its log says so."""
        await wait_until(lambda: text in self.says(), seconds=30, message=lambda: f"{self.name}: {self.says()}")

    async def probe(self, which: str) -> bool:
        """Ask a probe as the kubelet does."""
        get = self._container[which]["httpGet"]
        return await asyncio.to_thread(self._asked, get["path"])

    def _asked(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return 200 <= int(answer.status) < 400
        except OSError:
            return False

    async def ready(self) -> None:
        await wait_until(lambda: self.probe("readinessProbe"), seconds=30, message=lambda: f"{self.name} is not ready: {self.says()}")

    async def ended(self) -> int:
        assert self.process is not None
        return await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM, and the exit code. Raises `TimeoutError` when the grace period is not enough."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(self.grace):
            return await self.process.wait()

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
