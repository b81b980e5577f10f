"""Who lives: silence, goodbyes, drains, and our own deafness."""

from __future__ import annotations

from waypost_coordinator.registry_peers import Peers
from waypost_proto.registry import HEARTBEAT_SECONDS, LOST_AFTER_SECONDS, AgentDefinition, Announce, Heartbeat

LOST = 7.0


def beat(peer: str, *, names: tuple[str, ...] = ("desk",), state: str = "ready", kind: str = "worker", build: str = "b1") -> Heartbeat:
    return Heartbeat(peer=peer, kind=kind, build=build, names=list(names), state=state)  # type: ignore[arg-type]


def swept(peers: Peers, *moments: float) -> list[str]:
    return [lost.peer for at in moments for lost in peers.sweep(at)]


def every(start: float, end: float, step: float = 0.5) -> list[float]:
    count = int((end - start) / step) + 1
    return [start + step * number for number in range(count)]


def test_a_silent_peer_is_lost_once() -> None:
    peers = Peers(LOST)
    peers.heard(beat("w-1"), 0.0)
    assert swept(peers, *every(0.0, 7.0)) == []
    assert swept(peers, *every(7.5, 20.0)) == ["w-1"]
    assert peers.get("w-1") is None
    assert peers.hosts("worker", "desk") == ()


def test_heartbeats_keep_a_peer_alive() -> None:
    peers = Peers(LOST)
    for at in every(0.0, 60.0, 2.0):
        peers.heard(beat("w-1"), at)
        assert swept(peers, at, at + 1.0) == []
    assert peers.hosts("worker", "desk") == ("w-1",)


def test_a_stopped_peer_is_gone_at_once_and_a_late_heartbeat_does_not_bring_it_back() -> None:
    peers = Peers(LOST)
    peers.heard(beat("w-1"), 0.0)
    gone = peers.stopped("w-1", "worker", 1.0)
    assert gone is not None
    assert peers.stopped("w-1", "worker", 1.1) is None
    assert peers.heard(beat("w-1"), 1.2) is False
    assert peers.get("w-1") is None


def test_a_draining_peer_lives_but_gets_no_new_work() -> None:
    peers = Peers(LOST)
    peers.heard(beat("w-1"), 0.0)
    peers.heard(beat("w-2"), 0.0)
    assert peers.heard(beat("w-1", state="draining"), 1.0) is True
    assert peers.hosts("worker", "desk") == ("w-2",)
    assert peers.get("w-1") is not None


def test_hosts_are_told_apart_by_kind_name_and_build() -> None:
    peers = Peers(LOST)
    peers.heard(beat("w-2", build="b2"), 0.0)
    peers.heard(beat("w-1", build="b1"), 0.0)
    peers.heard(beat("g-1", kind="gateway", names=("desk", "mail")), 0.0)
    assert peers.hosts("worker", "desk") == ("w-1", "w-2")
    assert peers.hosts("worker", "desk", "b2") == ("w-2",)
    assert peers.hosts("worker", "mail") == ()
    assert peers.hosts("gateway", "mail") == ("g-1",)


def test_hosts_follow_what_a_peer_says_next() -> None:
    peers = Peers(LOST)
    peers.heard(beat("w-1"), 0.0)
    assert peers.hosts("worker", "other") == ()
    assert peers.heard(beat("w-1", names=("desk", "other")), 1.0) is True
    assert peers.hosts("worker", "other") == ("w-1",)
    assert peers.heard(beat("w-1", names=("desk", "other")), 2.0) is False


def test_an_announcement_counts_as_a_heartbeat() -> None:
    peers = Peers(LOST)
    announce = Announce(peer="w-1", kind="worker", build="b1", agents=[AgentDefinition(name="desk", build="b1")])
    assert peers.announced(announce, 0.0) is True
    assert peers.hosts("worker", "desk", "b1") == ("w-1",)


def test_an_expected_worker_that_never_speaks_is_lost() -> None:
    peers = Peers(LOST)
    peers.sweep(0.0)
    peers.heard(beat("w-1"), 0.0)
    peers.expect(["w-1", "w-2"], 0.0)
    assert peers.get("w-2") is not None
    peers.heard(beat("w-1"), 6.0)
    assert swept(peers, *every(0.5, 8.0)) == ["w-2"]


def test_after_our_own_deafness_everybody_gets_their_full_time_again() -> None:
    peers = Peers(LOST)
    peers.heard(beat("w-1"), 0.0)
    peers.sweep(0.5)
    peers.deaf()
    assert swept(peers, 100.0) == []
    assert swept(peers, *every(100.5, 107.0)) == []
    assert swept(peers, *every(107.5, 109.0)) == ["w-1"]


def test_a_stalled_coordinator_blames_nobody_for_its_own_sleep() -> None:
    peers = Peers(LOST)
    peers.heard(beat("w-1"), 0.0)
    peers.sweep(0.5)
    assert swept(peers, 60.0) == [], "sixty seconds between two sweeps: heartbeats may still lie unread in the socket"
    peers.heard(beat("w-1"), 60.1)
    assert swept(peers, *every(60.5, 66.5)) == []


def test_a_worker_that_said_goodbye_before_its_runs_came_to_us_is_not_expected() -> None:
    peers = Peers(LOST)
    peers.stopped("w-1", "worker", 0.0)
    assert peers.expect(["w-1", "w-2"], 1.0) == ["w-1"]
    assert peers.get("w-1") is None
    assert peers.get("w-2") is not None


def test_a_pause_of_ours_just_too_short_to_be_noticed_costs_no_worker_its_runs() -> None:
    """A pause that is not told apart from a late sweep, the heartbeats of which are read after the sweep: all of it is below the limit."""
    lost_after, beat_seconds, sweep_seconds = LOST_AFTER_SECONDS, HEARTBEAT_SECONDS, 0.5
    peers = Peers(lost_after)
    peers.heard(beat("w-1"), 0.0)
    assert swept(peers, 0.5, beat_seconds - 0.01) == []
    assert swept(peers, beat_seconds - 0.01 + lost_after / 2) == []
    assert beat_seconds + lost_after / 2 + sweep_seconds < lost_after
