"""Which agents a worker hosts, under which build, and what it says when there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from waypost_io.settings import WorkerSettings
from waypost_proto.errors import Misconfigured
from waypost_worker.catalog import load_catalog
from waypost_worker.tuning import Tuning

AGENT = "from waypost import Context, agent\n\n@agent\nasync def {name}(ctx: Context, number: int) -> int:\n    return number + {plus}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def module(folder: Path, file: str, text: str) -> str:
    path = folder / file
    path.write_text(text)
    return str(path)


def test_agents_build_and_definitions(folder: Path) -> None:
    names = [
        module(folder, "cat_one.py", AGENT.format(name="first", plus=1)),
        module(folder, "cat_two.py", AGENT.format(name="second", plus=1)),
    ]
    catalog = load_catalog(names, [], WorkerSettings())
    assert sorted(catalog.agents) == ["first", "second"]
    assert {definition.build for definition in catalog.definitions} == {catalog.build}
    assert sorted(load_catalog(names, ["second"], WorkerSettings()).agents) == ["second"]


def test_the_build_follows_the_content_unless_it_is_set(folder: Path) -> None:
    one = load_catalog([module(folder, "cat_three.py", AGENT.format(name="works", plus=1))], [], WorkerSettings())
    other = load_catalog([module(folder, "cat_four.py", AGENT.format(name="works", plus=2))], [], WorkerSettings())
    assert one.build != other.build
    assert load_catalog([str(folder / "cat_four.py")], [], WorkerSettings(build="release-7")).build == "release-7"


def test_one_name_twice(folder: Path) -> None:
    names = [module(folder, f"cat_{n}.py", AGENT.format(name="twice", plus=1)) for n in ("five", "six")]
    with pytest.raises(Misconfigured, match="agent 'twice' is defined in cat_five and in cat_six"):
        load_catalog(names, [], WorkerSettings())


def test_an_agent_whose_types_have_no_schema(folder: Path) -> None:
    text = AGENT.format(name="odd", plus=1).replace("number: int", "number: complex")
    with pytest.raises(Misconfigured, match="odd"):
        load_catalog([module(folder, "cat_seven.py", text)], [], WorkerSettings())


def test_the_environment_sets_the_tuning() -> None:
    tuning = Tuning.of(WorkerSettings(concurrency=3, cache_runs=0, ack_wait_seconds=9, resend_seconds=4, drain_seconds=10))
    assert (tuning.concurrency, tuning.cache_runs, tuning.ack_wait_seconds, tuning.republish_seconds, tuning.drain_seconds) == (
        3,
        0,
        9,
        4,
        6,
    )
