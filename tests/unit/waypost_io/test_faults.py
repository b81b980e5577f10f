from __future__ import annotations

import asyncio
import sys

import pytest

from waypost_io import faults
from waypost_proto.errors import Misconfigured

PROGRAM = """
from waypost_io import faults
faults.arm()
for number in range(1, 5):
    faults.point("worker.ack.before")
    print(number, flush=True)
    faults.point("coordinator.commit.after")
"""


def test_points_and_passages_are_parsed() -> None:
    assert faults.parse("coordinator.commit.after:3, worker.ack.before,") == {"coordinator.commit.after": 3, "worker.ack.before": 1}


@pytest.mark.parametrize("text", ["commit", "a.b.during", "a.b.after:0", "a.b.after:x", "a.b.after:-1"])
def test_what_is_no_point_is_named(text: str) -> None:
    with pytest.raises(Misconfigured, match="WAYPOST_FAULTS"):
        faults.parse(text)


def test_an_unarmed_point_does_nothing() -> None:
    faults.arm({})
    faults.point("coordinator.commit.after")


@pytest.mark.crash
@pytest.mark.parametrize(
    ("points", "printed"), [("coordinator.commit.after:3", 3), ("worker.ack.before:2", 1), ("worker.publish.after", 4)]
)
async def test_the_process_dies_at_that_passage(points: str, printed: int) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={"WAYPOST_FAULTS": points}
    )
    out, err = await process.communicate()
    assert out.split() == [str(number).encode() for number in range(1, printed + 1)]
    assert process.returncode == (0 if printed == 4 else -9)
    assert (b"fault point" in err) == (printed != 4)
