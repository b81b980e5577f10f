"""A wipe is over only when all that was derived again is in JetStream: who notices it may die before (P2, CORRECTNESS.md row 16)."""

from __future__ import annotations

from tests.unit.waypost_coordinator import rig
from tests.waiting import wait_until
from waypost_coordinator.letters import Letter, Tally
from waypost_core.messages import HostFound


async def test_the_next_owner_derives_again_what_the_first_could_not_publish() -> None:
    async with rig.site(WAYPOST_COORDINATOR_HEARTBEAT_SECONDS="600") as site:
        async with site.replica() as first:
            await site.hosts()
            run_id = await first.start(0)
            given = await site.activation(run_id)
            await site.advance(given, rig.call("look", given))
            await site.call(run_id)
            partition = first.ground.partition(run_id)
            await wait_until(lambda: first.ground.published[partition] == len(site.events(run_id)))
            other = await first.start(0)  # its commit carries the published position, so a take-over alone publishes nothing again
            await site.activation(other)
            await wait_until(lambda: site.database.partitions[partition].published >= len(site.events(run_id)))
            await wait_until(lambda: any(key.endswith(f"@{partition}") for key in site.database.streams))
        site.broker.wipe()
        async with site.replica(held="t.tools") as second:
            await wait_until(lambda: any("t.tools" in subject for subject, _ in second.bus.published))
        assert site.calls(run_id) == []
        async with site.replica():
            await wait_until(lambda: site.calls(run_id))


def test_a_tally_is_settled_once_and_tells_what_was_given_up() -> None:
    told: list[bool] = []
    tally = Tally(lambda: told.append(tally.whole))
    letters = [Letter(mail=HostFound(), run_id=rig.new_run(), partition=0) for _ in range(2)]
    for letter in letters:
        tally.count(letter)
    assert letters[0].done is not None
    letters[0].done()
    tally.done()
    assert told == []
    assert letters[1].dropped is not None
    letters[1].dropped()
    assert told == [False]
