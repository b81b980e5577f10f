"""What a database consists of, read from its catalogs, as lines that can be compared."""

from __future__ import annotations

import asyncpg

QUERIES = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attstorage::text,
               pg_get_expr(d.adbin, d.adrelid)
          FROM pg_attribute a
          JOIN pg_class c ON c.oid = a.attrelid
          LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped""",
    "tables": """
        SELECT c.relname, c.relkind::text, c.reloptions, c.relacl::text, obj_description(c.oid), pg_get_partkeydef(c.oid),
               pg_get_expr(c.relpartbound, c.oid)
          FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace""",
    "column grants": """
        SELECT c.relname, a.attname, a.attacl::text, col_description(c.oid, a.attnum)
          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         WHERE c.relnamespace = 'public'::regnamespace AND (a.attacl IS NOT NULL OR col_description(c.oid, a.attnum) IS NOT NULL)""",
    "indexes": "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "statistics": "SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE stxnamespace = 'public'::regnamespace",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
         WHERE connamespace = 'public'::regnamespace""",
    "functions": """
        SELECT pg_get_functiondef(p.oid), p.proacl::text, obj_description(p.oid)
          FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'""",
}


async def catalog_of(url: str) -> dict[str, list[str]]:
    """Sorted lines per kind of object of schema public."""
    connection = await asyncpg.connect(url)
    try:
        return {kind: sorted(str(tuple(row)) for row in await connection.fetch(query)) for kind, query in QUERIES.items()}
    finally:
        await connection.close()
