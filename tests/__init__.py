"""Tests. They mirror the sources; `tests.waiting` is for all of them."""
