"""The console in a real browser: Chromium by Playwright, against real services. `pytest -m browser`; skipped where there is no Chromium."""
