"""The part of Grafana Tempo's HTTP API that its data source in Grafana needs, answered from Waypost's log.

routes     paths and parameters
traceql    TraceQL as far as it is understood: one span set, conditions joined by `&&`, `select(…)`
fields     what a condition speaks of, and its value in a trace
finding    which runs a search reads, and which of them match
reading    the log of runs as traces
answers    the shapes of Tempo's answers
"""

__all__: list[str] = []
