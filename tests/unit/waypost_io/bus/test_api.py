"""What an answer of JetStream's API means: a fault that passes by itself, or settings that cannot work."""

from __future__ import annotations

import pytest

from waypost_io.bus._api import _Error, _refused
from waypost_proto.errors import Misconfigured, NotFound, TransientError

FULL = "write obs/c/meta.inf.tmp: no space left on device"


@pytest.mark.parametrize(
    ("code", "err_code", "text", "means"),
    [
        (500, 10012, FULL, TransientError),
        (500, 10012, "error creating store for consumer", TransientError),
        (500, 10049, FULL, TransientError),
        (500, 10049, "error creating store for stream", TransientError),
        (503, 10008, "JetStream system temporarily unavailable", TransientError),
        (503, 10076, "JetStream not enabled", Misconfigured),
        (500, 10049, "invalid persist mode", Misconfigured),
        (500, 10047, "insufficient storage resources available", Misconfigured),
        (400, 10100, "filtered consumer not unique on workqueue stream", Misconfigured),
        (404, 10059, "stream not found", NotFound),
    ],
)
def test_what_a_refusal_means(code: int, err_code: int, text: str, means: type[Exception]) -> None:
    error = _refused("consumer 'c'", _Error(code=code, err_code=err_code, description=text))
    assert type(error) is means
    assert text in str(error)
