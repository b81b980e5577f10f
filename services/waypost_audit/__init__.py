"""The audit logger: every event of every run is a leaf of a Merkle log, with signed heads.

logger     the actor: wait for the bell, append what is new, exclude other loggers
signing    heads, and keys that take over from one another
reading    whether the log that is there can be gone on with
anchors    where heads are kept outside
bell       NATS as a doorbell, listened to only while there is nothing to do
metrics    what it counts, and how far it is behind
"""

__all__: list[str] = []
