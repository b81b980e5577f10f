"""Errors of running processes, beside those of `waypost_proto.errors`."""

from __future__ import annotations

from waypost_proto.errors import ContractError


class NotReady(ContractError):
    """A process that we started did not become ready: it ended, or the time limit passed. The message ends with its log."""
