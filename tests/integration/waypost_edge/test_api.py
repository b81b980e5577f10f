"""The API as users meet it: a coordinator and an edge as processes, on real servers. Killed, fuzzed."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.integration.waypost_edge.stream_heads import PATHS, Heads
from tests.unit.waypost_edge.api import curl_examples
from tests.waiting import wait_until
from waypost_io.servers import free_port

SEED = "20261122"


@dataclass
class Stack:
    """Where to reach the edge, and how to start it again."""

    environment: dict[str, str]
    folder: Path
    url: str
    edge: asyncio.subprocess.Process | None = None

    async def start(self, module: str) -> asyncio.subprocess.Process:
        with (self.folder / f"{module}.log").open("ab") as log:
            environment = {**self.environment, "WAYPOST_OPS_ADDR": f"127.0.0.1:{free_port()}"}
            return await asyncio.create_subprocess_exec(sys.executable, "-m", module, env=environment, stdout=log, stderr=log)

    async def start_edge(self) -> None:
        self.edge = await self.start("waypost_edge")

        async def serves() -> bool:
            async with httpx2.AsyncClient(trust_env=False) as http:
                return (await http.get(f"{self.url}/v1/runs", timeout=20)).status_code == 200

        await wait_until(serves, ignore=(httpx2.HTTPError,), seconds=60, message=self.log)

    def log(self) -> str:
        return "\n".join(path.read_text()[-3_000:] for path in self.folder.glob("*.log"))


@pytest.fixture
async def stack(tmp_path: Path, nats_url: str, postgres_url: str, prefix: str) -> AsyncIterator[Stack]:
    port = free_port()
    environment = {
        **os.environ,
        "WAYPOST_NATS_URL": nats_url,
        "WAYPOST_POSTGRES_URL": postgres_url,
        "WAYPOST_PREFIX": prefix,
        "WAYPOST_HTTP_ADDR": f"127.0.0.1:{port}",
        "WAYPOST_EDGE_RATE": "0",
    }
    made = Stack(environment, tmp_path, f"http://127.0.0.1:{port}")
    coordinator = await made.start("waypost_coordinator")
    try:
        await made.start_edge()
        yield made
    finally:
        for process in (coordinator, made.edge):
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()


class EventSource:
    """Listens as a browser does: comes back with the last id after any break, until it is told that there is no more."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._last = ""
        self.seqs: list[int] = []
        self.breaks = 0

    async def run(self) -> None:
        async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
            more = True
            while more:
                with suppress(httpx2.HTTPError):
                    more = await self._connection(http)
                self.breaks += 1
                await asyncio.sleep(0.05)

    async def _connection(self, http: httpx2.AsyncClient) -> bool:
        """What one connection gives; False when there is no more."""
        headers = {"accept": "text/event-stream", **({"last-event-id": self._last} if self._last else {})}
        async with http.stream("GET", self._url, headers=headers) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("id: "):
                    self._last = line[4:]
                    self.seqs.append(int(line[4:]))
            return answer.status_code != 204


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[EventSource]:
    source = EventSource(url)
    task = asyncio.ensure_future(source.run())
    try:
        yield source
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.slow
@pytest.mark.crash
async def test_watchers_miss_nothing_when_edges_are_killed(stack: Stack) -> None:
    async with AsyncExitStack() as opened:
        http = await opened.enter_async_context(httpx2.AsyncClient(base_url=stack.url, timeout=30, trust_env=False))
        run_id = (await http.post("/v1/runs", json={"agent": "nobody", "input": None})).json()["run_id"]
        path = f"{stack.url}/v1/runs/{run_id}/events"
        sources = [await opened.enter_async_context(listening(path)) for _ in range(5)]
        signals = 0
        for _ in range(3):
            for _ in range(10):
                signals += 1
                answer = await http.post(
                    f"/v1/runs/{run_id}/signals/go", json={"payload": signals}, headers={"idempotency-key": f"s{signals}"}
                )
                assert answer.status_code == 200, answer.text
            assert stack.edge is not None
            stack.edge.kill()
            await stack.edge.wait()
            await stack.start_edge()
        assert (await http.post(f"/v1/runs/{run_id}/cancel")).status_code == 200
        events = (await http.get(f"/v1/runs/{run_id}/events")).json()["events"]
        whole = [event["seq"] for event in events]
        assert len(whole) > signals
        await wait_until(lambda: all(source.seqs == whole for source in sources), message=lambda: str([s.seqs[-3:] for s in sources]))
        assert min(source.breaks for source in sources) >= 3, "each was cut off by each kill"


@pytest.mark.slow
async def test_the_examples_of_the_documentation_with_everything_running(stack: Stack) -> None:
    assert await curl_examples.run_all("127.0.0.1", int(stack.url.rpartition(":")[2])) >= 6


@pytest.mark.slow
async def test_no_request_for_a_stream_makes_the_edge_fail(stack: Stack) -> None:
    """What Schemathesis would ask of the two streams; it reads answers to their end, which these do not have."""
    async with httpx2.AsyncClient(base_url=stack.url, trust_env=False) as http:
        run_id = (await http.post("/v1/runs", json={"agent": "nobody", "input": None})).json()["run_id"]
    found = Heads(stack.url, run_id)
    await asyncio.to_thread(found.fuzz, examples=60, seeded=int(SEED))
    assert {path for path, status in found.statuses if status == 200} == set(PATHS), found.statuses
    assert {path for path, status in found.statuses if status == 400} == set(PATHS), found.statuses
    assert {status for _, status in found.statuses} <= {200, 204, 400, 404}, found.statuses
    assert not [text for text in found.texts if "Traceback" in text or "something is wrong with the edge itself" in text]


@pytest.mark.slow
async def test_no_request_makes_the_edge_fail(stack: Stack) -> None:
    """Schemathesis on the edge's own OpenAPI: valid and invalid, every operation; nothing answers with a 500 or shows a stack."""
    report = stack.folder / "report.ndjson"
    fuzzer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{stack.url}/openapi.json", "--url", stack.url),
        *("--checks", "not_a_server_error", "--phases", "coverage,fuzzing", "--max-examples", "10", "--max-time", "60"),
        *("--seed", SEED, "--request-timeout", "15", "--exclude-path", "/v1/events", "--no-color"),  # an answer without an end: see above
        *("--report", "ndjson", "--report-ndjson-path", str(report), "--generation-database", "none"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=stack.folder,
    )
    output, _ = await asyncio.wait_for(fuzzer.communicate(), 110)
    assert fuzzer.returncode == 0, output.decode()[-6_000:] + stack.log()
    assert b" generated" in output
    assert "Traceback" not in report.read_text()
    assert "something is wrong with the edge itself" not in report.read_text()
    async with httpx2.AsyncClient(trust_env=False) as http:
        assert json.loads((await http.get(f"{stack.url}/v1/runs")).text)["runs"]
