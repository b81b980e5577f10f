"""The message bus: one contract, two adapters. Nothing is re-exported, so that the adapter in memory never imports nats-py.

ports       the contract: `Bus`, `Puller`, `Delivery`, specs of streams and consumers
jetstream   `JetStreamBus`, on NATS
memory      `MemoryBus` and `MemoryBroker`, for tests and simulations
topology    the streams and consumers that Waypost needs
"""
