"""The worker: executes agents. It needs NATS and nothing else.

__main__    composition root
service     puts the parts together, drains at the end
catalog     which agents, which build
work_loop   takes activations of one consumer
runs        every run on this worker
slot        one run: an actor
outbox      what a run has told the coordinator and has not been confirmed
frames      items to advances: encoding, large values, splitting
effects     local effects as tasks
journal     a run's history, read when its coroutine is not in memory
upkeep      in-progress heartbeats, publishing again
suspects    activations that may be what kills workers
hosting     what the runs share; contracts between the parts
tuning      bounds and intervals
"""
