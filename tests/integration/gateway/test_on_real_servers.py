"""Calls and the ledger's races once more, on real NATS and Postgres: what the in-memory adapters promise, the real ones must keep."""

from __future__ import annotations

from tests.unit.waypost_gateway.test_breakers import *  # noqa: F403
from tests.unit.waypost_gateway.test_calls import *  # noqa: F403 - pytest collects them again, with this folder's rig
from tests.unit.waypost_gateway.test_doubt import *  # noqa: F403
from tests.unit.waypost_gateway.test_ledger_races import *  # noqa: F403
from tests.unit.waypost_gateway.test_odd_tools import *  # noqa: F403
from tests.unit.waypost_gateway.test_policing import *  # noqa: F403
from tests.unit.waypost_gateway.test_secrets import *  # noqa: F403
