"""The edge: what others reach by HTTP. It reads Postgres and writes nothing. Its first form answers the part of Tempo's API that Grafana
needs, straight from the log; the REST API and the console come beside it.

app        routes, errors as problem details, numbers of requests
access     who may read, and of which tenant
serving    uvicorn under our own lifecycle
metrics    what it counts
tempo      `/tempo/…`: traces by id, search, tags
"""

__all__: list[str] = []
