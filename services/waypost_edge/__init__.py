"""The edge: what others reach by HTTP. It writes nothing: it asks the coordinator as its callers, and reads Postgres.

app        the application: routes, numbers of requests
auth       who asks, and how browsers sign in
api        `/v1/…` and `/openapi.json`
console    `/`: the web console
tempo      `/tempo/…`: traces by id, search, tags
problems   errors as problem details
serving    uvicorn under our own lifecycle
metrics    what it counts
"""

__all__: list[str] = []
