"""Every query names what the services really export, or what the database really has."""

from __future__ import annotations

import re

import asyncpg
import pytest

from tests.grafana.queries import label_values, named, promql, sql
from tests.grafana.scenario import Exported, Site

pytestmark = pytest.mark.slow
FROM_PROMETHEUS = {"instance", "job"}
"""Labels that every scrape adds."""


def test_queries_are_read_as_they_are_meant() -> None:
    found = named('sum by (a, b) (rate(x_total{c="1",d!="2"}[5m])) / ignoring (e) max(y) > 0.5 and on (f) time() - z{g=~"q|r"} offset 5m')
    assert found.metrics == {"x_total": {"c": {"1"}, "d": set()}, "y": {}, "z": {"g": set()}}
    assert found.groups == {"a", "b", "e", "f"}


def test_there_are_queries() -> None:
    assert len(list(promql())) > 100
    assert len(list(sql())) >= 8


def problems(exported: Exported, query: str) -> list[str]:
    """What a query names and nobody exports."""
    asked = named(query)
    found = [f"no metric {name}" for name in asked.metrics if name not in exported.labels]
    known = set(FROM_PROMETHEUS)
    for name, selected in asked.metrics.items():
        labels = exported.labels.get(name, set()) | FROM_PROMETHEUS
        known |= labels
        found += [f"{name} has no label {label}" for label in selected if label not in labels]
        for label, values in selected.items():
            shown = exported.values.get((name, label))
            found += [f"{name}{{{label}}} is never {value!r}: {sorted(shown)}" for value in values if shown and value not in shown]
    return found + [f"nothing has the label {label}" for label in asked.groups if label not in known]


RARE_VALUES = re.compile(r"is never '(refused|expired|escalated|denied)'")
"""Outcomes that no test waits for."""


def test_every_metric_and_label_of_every_query_is_exported(site: Site) -> None:
    found = {f"{where}: {problem}" for where, query in promql() for problem in problems(site.exported, query)}
    assert {problem for problem in found if not RARE_VALUES.search(problem)} == set()


def test_variables_list_labels_that_are_there(site: Site) -> None:
    for where, metric, label in label_values():
        assert label in site.exported.labels[metric], where


def test_a_query_that_names_nothing_is_found(site: Site) -> None:
    """The test above can fail."""
    assert problems(site.exported, "sum(waypost_runz)") == ["no metric waypost_runz"]
    assert problems(site.exported, 'sum(waypost_runs{colour="red"})') == ["waypost_runs has no label colour"]
    assert problems(site.exported, "sum by (colour) (waypost_runs)") == ["nothing has the label colour"]
    assert problems(site.exported, 'waypost_runs{status="asleep"}')[0].startswith("waypost_runs{status} is never 'asleep'")


def in_postgres(query: str, run_id: str) -> str:
    """A query as Grafana sends it."""
    query = query.replace("$run", run_id).replace("${agent:csv}", "desk").replace("${__from}", "1700000000000")
    query = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN now() - interval '1 day' AND now()", query)
    assert "$" not in query.replace("$$", ""), query
    return query


@pytest.mark.parametrize(("where", "query"), list(sql()), ids=[where for where, _ in sql()])
async def test_every_sql_query_runs_for_who_may_only_read(site: Site, where: str, query: str) -> None:
    connection = await asyncpg.connect(site.supervisor.postgres_url)
    try:
        async with connection.transaction(readonly=True):
            await connection.execute("SET LOCAL ROLE waypost_reader")
            rows = await connection.fetch(in_postgres(query, site.finished))
    finally:
        await connection.close()
    if "heads" not in where:
        assert rows, "the scenario has something to show for it"


async def test_the_thought_process_of_a_run(site: Site) -> None:
    query = next(query for where, query in sql() if "Thought process" in where)
    connection = await asyncpg.connect(site.supervisor.postgres_url)
    try:
        rows = await connection.fetch(in_postgres(query, site.finished))
        nothing = await connection.fetch(in_postgres(query, ""))
    finally:
        await connection.close()
    assert nothing == []
    shown = [(row["what"], row["name"], row["intent"], row["result"], row["answer or error"]) for row in rows]
    assert [each[:4] for each in shown] == [
        ("model", "small", "hello", "stop"),
        ("tool", "look", None, "completed"),
        ("tool", "shaky", None, "completed"),
        ("child", "helper", None, "child_completed"),
        ("run completed", None, None, None),
    ]
    assert shown[1][4] == "a"
