"""The Postgres adapter's parts: one facet of `ports.Store` per module, over the connections of `link`. Import `PostgresStore` instead."""

__all__: list[str] = []
