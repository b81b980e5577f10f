"""Requests for streams as Schemathesis makes them, valid and not. Only the beginning of an answer is read: a stream has no end."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis.generation import GenerationMode

STREAM = "text/event-stream"
PATHS = ("/v1/events", "/v1/runs/{run_id}/events")
_SECONDS = 15


@dataclass
class Heads:
    """What came back: how often each path gave each status, and the first bytes of the answers."""

    url: str
    run_id: str
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    texts: list[str] = field(default_factory=list)

    def fuzz(self, *, examples: int, seeded: int) -> None:
        """Ask for every stream, half of the time for the run that is there."""
        document = schemathesis.openapi.from_url(f"{self.url}/openapi.json")
        with requests.Session() as session:
            session.trust_env = False
            for path, mode in itertools.product(PATHS, GenerationMode):

                def ask(case: Any) -> None:
                    self._ask(session, path, case)  # noqa: B023 - called before the next turn

                strategy = document[path]["GET"].as_strategy(generation_mode=mode)
                bounded = settings(max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck))
                seed(seeded)(bounded(given(strategy)(ask)))()

    def _ask(self, session: requests.Session, path: str, case: Any) -> None:
        if "{run_id}" in path and len(self.texts) % 2:
            case.path_parameters["run_id"] = self.run_id
        request = case.as_transport_kwargs(base_url=self.url)
        request["headers"]["Accept"] = STREAM
        with session.request(**request, stream=True, timeout=_SECONDS) as answer:
            self.statuses[path, answer.status_code] += 1
            kind = answer.headers.get("content-type", "")
            text = next(answer.iter_content(4_096), b"").decode()
            self.texts.append(text)
            if answer.status_code == requests.codes.ok:
                assert kind.startswith(STREAM), (request, kind)
                assert text.startswith("retry: "), (request, text)
            elif answer.status_code != requests.codes.no_content:
                assert kind == "application/problem+json", (request, kind)
