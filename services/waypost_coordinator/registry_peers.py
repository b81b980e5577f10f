"""Which workers and gateways live, by their heartbeats. Pure bookkeeping: time is an argument, nothing is sent.

A peer that says nothing for `LOST_AFTER_SECONDS` is lost; one that says `stopped` is lost at once. Silence only counts
while we could hear: after our own disconnection or stall every peer gets its full time again, because a coordinator
that was deaf must not declare a whole fleet dead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from waypost_proto.registry import LOST_AFTER_SECONDS, Announce, Heartbeat, Held

MAX_PEERS = 20_000
STOPPED_KEPT_SECONDS = 60.0
"""How long a late heartbeat cannot bring a stopped peer back."""

Kind = Literal["worker", "gateway"]


@dataclass(slots=True)
class Peer:
    """One live process. `seen_at` is monotonic seconds; a peer that is only expected has said nothing yet."""

    peer: str
    kind: Kind
    seen_at: float
    build: str = ""
    names: frozenset[str] = frozenset()
    held: tuple[Held, ...] = ()
    draining: bool = False
    frames: bool = False
    """Takes several activations in one message."""


class Peers:
    """The peers that live. Every method that learns something returns whether who-hosts-what has changed."""

    def __init__(self, lost_after_seconds: float = LOST_AFTER_SECONDS) -> None:
        self._lost_after = lost_after_seconds
        self._stalled_after = lost_after_seconds / 2
        """When two sweeps are further apart than this, we were not running and may have missed heartbeats."""
        self._peers: dict[str, Peer] = {}
        self._stopped: dict[str, tuple[Kind, float]] = {}
        self._hosts: dict[tuple[Kind, str, str], tuple[str, ...]] = {}
        self._swept_at: float | None = None
        self._deaf = False

    def announced(self, announce: Announce, now: float) -> bool:
        """A peer introduced itself: as good as a heartbeat."""
        names = frozenset(d.name for d in announce.agents) | frozenset(d.name for d in announce.tools)
        return self._alive(Peer(announce.peer, announce.kind, now, announce.build, names, frames=announce.frames), now)

    def heard(self, beat: Heartbeat, now: float) -> bool:
        """A heartbeat that says anything but `stopped` (for which see `stopped`)."""
        peer = Peer(
            beat.peer,
            beat.kind,
            now,
            beat.build,
            frozenset(beat.names),
            held=tuple(beat.held),
            draining=beat.state == "draining",
            frames=beat.frames,
        )
        return self._alive(peer, now)

    def stopped(self, peer: str, kind: Kind, now: float) -> Peer | None:
        """The peer is gone for good; what it was, if it was known. Idempotent."""
        self._stopped.setdefault(peer, (kind, now))  # told again by others, it is not kept for longer
        gone = self._peers.pop(peer, None)
        if gone is not None:
            self._hosts.clear()
        return gone

    def goodbyes(self) -> list[tuple[str, Kind]]:
        """Who said in the last `STOPPED_KEPT_SECONDS` that it stops: whoever listens only now has not heard it."""
        return [(peer, kind) for peer, (kind, _) in self._stopped.items()]

    def expect(self, workers: Iterable[str], now: float) -> list[str]:
        """Workers that hold runs of ours but were not heard yet: they are lost unless they speak up in time.

        Returns those that are gone already: they said so before their runs came to us.
        """
        gone = []
        for worker in workers:
            if worker in self._stopped:
                gone.append(worker)
            elif worker not in self._peers:
                self._peers[worker] = Peer(worker, "worker", now)
        return gone

    def expected(self, worker: str) -> bool:
        """Whether a worker is expected and was not heard yet."""
        peer = self._peers.get(worker)
        return peer is not None and not peer.names

    def deaf(self) -> None:
        """We could not hear for a while: silence until the next sweep counts for nothing."""
        self._deaf = True

    def sweep(self, now: float) -> list[Peer]:
        """Remove and return the peers that were silent for too long."""
        stalled = self._swept_at is not None and now - self._swept_at > self._stalled_after
        self._swept_at = now
        self._stopped = {peer: said for peer, said in self._stopped.items() if now - said[1] < STOPPED_KEPT_SECONDS}
        if self._deaf or stalled:
            self._deaf = False
            for peer in self._peers.values():
                peer.seen_at = now
            return []
        lost = [peer for peer in self._peers.values() if now - peer.seen_at > self._lost_after]
        for peer in lost:
            del self._peers[peer.peer]
        if lost:
            self._hosts.clear()
        return lost

    def living(self, kind: Kind) -> int:
        """How many of a kind have spoken up and take new work."""
        return sum(1 for peer in self._peers.values() if peer.kind == kind and peer.names and not peer.draining)

    def get(self, peer: str) -> Peer | None:
        return self._peers.get(peer)

    def hosts(self, kind: Kind, name: str, build: str = "") -> tuple[str, ...]:
        """Live peers that take new work for an agent (of one build, if given) or tool, in order of their ids."""
        key = (kind, name, build)
        found = self._hosts.get(key)
        if found is None:
            peers = self._peers.values()
            matching = (p.peer for p in peers if p.kind == kind and name in p.names and not p.draining and build in ("", p.build))
            found = self._hosts[key] = tuple(sorted(matching))
        return found

    def build_lives(self, agent: str, build: str) -> bool:
        """Whether a worker of this build of an agent was heard, draining or not."""
        return any(p.kind == "worker" and p.build == build and agent in p.names for p in self._peers.values())

    def _alive(self, peer: Peer, now: float) -> bool:
        if peer.peer in self._stopped:
            return False
        known = self._peers.get(peer.peer)
        if known is None and len(self._peers) >= MAX_PEERS:
            return False
        self._peers[peer.peer] = peer
        peer.seen_at = now
        same = known is not None and (known.names, known.build, known.draining, known.kind) == (
            peer.names,
            peer.build,
            peer.draining,
            peer.kind,
        )
        if not same:
            self._hosts.clear()
        return not same
