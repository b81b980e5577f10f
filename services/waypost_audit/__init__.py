"""The audit logger: every event of every run, in order, into an append-only log of its own.

reading    what is new and may be taken over; pure checks of its order and its digests
logger     the actor: wait for the bell, take over what is new, exclude other loggers
bell       NATS as a doorbell, listened to only while there is nothing to do
metrics    what it counts, and how far it is behind
"""

__all__: list[str] = []
