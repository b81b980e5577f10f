from __future__ import annotations

from tests.unit.waypost_coordinator.rig import Parts
from waypost_coordinator.keeping import AGAIN_LOOKS, IDLE_LOOKS, Keeping
from waypost_io.bus.topology import KEPT


class Traffic:
    """A count that a test moves."""

    count = 0

    def __call__(self) -> int:
        return self.count


def lying(parts: Parts) -> dict[str, int]:
    """How many messages each of the queues holds."""
    streams = parts.bus.broker.streams
    return {queue: len(streams[parts.ground.subjects.stream(queue)].messages) for queue in KEPT}


async def test_a_message_lies_in_each_queue_while_there_is_traffic_and_not_longer(parts: Parts) -> None:
    traffic = Traffic()
    keeping = Keeping(parts.bus, parts.ground.subjects, "a", traffic)
    await keeping.look()
    assert lying(parts) == dict.fromkeys(KEPT, 0), "nothing happened yet"
    for _ in range(AGAIN_LOOKS):
        traffic.count += 1
        await keeping.look()
    assert lying(parts) == dict.fromkeys(KEPT, 1)
    traffic.count += 1
    await keeping.look()
    assert lying(parts) == dict.fromkeys(KEPT, 2), "renewed before its life is over"
    for _ in range(IDLE_LOOKS):
        await keeping.look()
    assert lying(parts) == dict.fromkeys(KEPT, 0)
    traffic.count += 1
    await keeping.look()
    assert lying(parts) == dict.fromkeys(KEPT, 1), "the traffic is back"


async def test_replicas_take_away_only_their_own(parts: Parts) -> None:
    busy, idle = Traffic(), Traffic()
    one, other = (Keeping(parts.bus, parts.ground.subjects, name, count) for name, count in (("a", busy), ("b", idle)))
    for _ in range(IDLE_LOOKS + 2):
        busy.count += 1
        idle.count = max(idle.count, 1)
        await one.look()
        await other.look()
    assert lying(parts) == dict.fromkeys(KEPT, 1)
