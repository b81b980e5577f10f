"""`python -m tests.browser.bench --runs 100000`: how soon the console's first page can be used, with so many runs in the database.

Prints milliseconds, from the navigation until the page has its rows and its scripts have run, in a browser with an empty cache each time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
from playwright.async_api import Browser, async_playwright

from tests.browser.conftest import NAMES
from tests.browser.platform import Platform, platform
from tests.browser.scenes import finished

FILL = """
INSERT INTO runs (run_id, seq, created_at, updated_at, deadline_at, parent, partition, state_version, open, held, tenant, agent, build,
                  status, worker, correlation_id, idempotency_key, labels, state, outcome)
SELECT (substr(t, 1, 8) || '-' || substr(t, 9, 4) || '-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, r.seq, r.created_at, r.updated_at,
       NULL, NULL, r.partition, r.state_version, false, false, r.tenant, r.agent, r.build, r.status, '', r.correlation_id, NULL, r.labels,
       r.state, r.outcome
  FROM generate_series(1, $1::integer) AS n
 CROSS JOIN LATERAL (SELECT lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - 3600000 - n * 100), 12, '0') AS t) AS made
 CROSS JOIN (SELECT * FROM runs WHERE run_id = $2::uuid) AS r
"""


async def fill(desk: Platform, runs: int) -> None:
    """So many copies of one run that has ended, a tenth of a second apart."""
    source = await finished(desk, pace=0.05)
    connection = await asyncpg.connect(desk.supervisor.postgres_url)
    try:
        await connection.execute(FILL, runs, source)
        await connection.execute("ANALYZE runs")
    finally:
        await connection.close()


async def first_page(browser: Browser, url: str) -> float:
    """Milliseconds until the list can be used."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        page = await context.new_page()
        began = time.perf_counter()
        await page.goto(url, wait_until="commit")
        await page.locator("html[data-ready=yes]").wait_for(state="attached")
        await page.locator("#runs tbody tr").nth(49).wait_for()
        return (time.perf_counter() - began) * 1000
    finally:
        await context.close()


async def measure(runs: int, times: int, folder: Path) -> None:
    chromium = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        raise SystemExit("no Chromium on this machine: apt-get install chromium, or say where with CHROMIUM=")
    async with platform(folder) as desk, async_playwright() as playwright:
        print(f"filling in {runs} runs", file=sys.stderr, flush=True)
        await fill(desk, runs)
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for path in ("/", "/?agent=underwriter", "/?label=desk:north"):
            took = [await first_page(browser, desk.url + path) for _ in range(times)]
            print(f"{path:24} p50 {statistics.median(took):6.0f} ms   slowest {max(took):6.0f} ms   of {times}", flush=True)
        await browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waypost-console-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        asyncio.run(measure(options.runs, options.times, Path(folder)))


if __name__ == "__main__":
    main()
