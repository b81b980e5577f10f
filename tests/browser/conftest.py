"""The lending desk and a Chromium, one of each per session. Without a Chromium the tests are skipped and say so; with `CI_NEEDS_CHROMIUM`
they fail. `--screenshots` writes the pictures of the docs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.browser.looking import PATIENCE_SECONDS, opened
from tests.browser.platform import Platform, platform
from tests.browser.scenes import Scenes, everything

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
AXE = Path(__file__).parent / "vendor" / "axe.min.js"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", action="store_true", help="write the console's pictures into docs/pictures")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium(request: pytest.FixtureRequest) -> str:
    """The path of a Chromium. The browser's tests run when they are asked for: they take a minute and a browser."""
    if "browser" not in request.config.getoption("markexpr", ""):
        pytest.skip("tests of the console in a browser run with -m browser")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        text = "no Chromium on this machine: apt-get install chromium, or say where with CHROMIUM="
        if os.environ.get("CI_NEEDS_CHROMIUM"):
            pytest.fail(text)
        pytest.skip(text)
    return found


@pytest.fixture(scope="session")
async def desk(chromium: str) -> AsyncIterator[Platform]:
    with tempfile.TemporaryDirectory(prefix="waypost-browser-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        async with platform(Path(folder)) as running:
            yield running


@pytest.fixture(scope="session")
async def scenes(desk: Platform) -> Scenes:
    """A little of everything has happened."""
    return await everything(desk, extra=3)


@pytest.fixture(scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """One for all tests; somebody's own is made by `opened`."""
    expect.set_options(timeout=PATIENCE_SECONDS * 1000)
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield running
        await running.close()


class Faults(list[str]):
    """What the browser complained about: errors of scripts, of the content security policy, of requests."""


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
async def context(browser: Browser, desk: Platform) -> AsyncIterator[BrowserContext]:
    async with opened(browser, desk.url) as made:
        yield made


@pytest.fixture
async def page(context: BrowserContext, faults: Faults) -> AsyncIterator[Page]:
    """A page; a test fails when the browser complained about anything that it did not clear from `faults`."""
    made = await context.new_page()
    made.on("pageerror", lambda error: faults.append(f"script: {error}"))
    made.on("console", lambda message: faults.append(f"console: {message.text}") if message.type == "error" else None)
    made.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
    yield made
    assert not faults
