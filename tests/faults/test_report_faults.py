"""List G, reports: damaged results are refused by make_report.py and compare_agents.py; missing ones are listed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tests.faults.made_runs import copied, words
from tests.faults.script_runs import refused, run, works
from tests.made_agents import mlp_agent
from tests.raised import DIFFERENT_RUN, Parts, parts

Spoil = Callable[[Path], object]


def written(name: str, content: str) -> Spoil:
    return lambda agent: (agent / name).write_text(content)


def cut(name: str) -> Spoil:
    return lambda agent: (agent / name).write_bytes((agent / name).read_bytes()[:-20])


def edges(change: Callable[[dict[str, object]], object]) -> Spoil:
    def spoil(agent: Path) -> None:
        path = agent / "patching_results" / "edges.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return spoil


any_value = {"field": ..., "found": ..., "expected": ..., "problem": ...}
# name: (what happens to the folder, the error of a report, and of a comparison if that reads the file)
DAMAGED: dict[str, tuple[Spoil, Parts, bool]] = {
    "G24 the agent": (cut("agent.zip"), parts(file="agent.zip", **any_value), True),
    "G24 clean inputs": (written("activation_inputs/clean_inputs.json", "{"), parts(file=..., **any_value), False),
    "G24 a pair less": (
        lambda agent: _without_last(agent / "activation_inputs" / "corrupted_inputs.json"),
        parts(file="corrupted_inputs.json", problem=...),
        False,
    ),
    "G24 a table without metadata": (
        written("patching_results/results.csv", "experiment,patch\n"),
        parts(file="results.meta.json", **any_value),
        True,
    ),
    "G24 minimal sets, cut": (cut("patching_results/minimal_sets.json"), parts(file=..., **any_value), True),
    "G24 minimal sets, edited": (
        written("patching_results/minimal_sets.csv", "a"),
        parts(file="minimal_sets.meta.json", problem=..., hint=...),
        True,
    ),
    "G24 curves": (
        lambda agent: _with_own_hash(agent / "patching_results", "minimal_sets", "curves", b"a,b\n1,2\n"),
        parts(file="minimal_sets_curves.csv", **any_value),
        True,
    ),
    "G24 edges, no object": (
        written("patching_results/edges.json", "[]"),
        parts(file="edges.json", **any_value),
        False,
    ),
    "G24 a curve of edges": (
        written("patching_results/edges_curve.csv", "ranking\n"),
        parts(file="edges.meta.json", **any_value),
        False,
    ),
    "G24 a circuit": (
        written("patching_results/circuit.json", '{"edges": []}'),
        parts(file="circuit.json", **any_value),
        False,
    ),
    "G24 a circuit that is gone": (
        lambda agent: (agent / "patching_results" / "circuit.json").unlink(),
        parts(file="circuit.json", problem=...),
        False,
    ),
    "G24 episodes, edited": (
        written("rollout_results/rollouts.csv", "a"),
        parts(file="rollouts.meta.json", problem=..., hint=...),
        True,
    ),
    "G24 a sweep": (written("patching_results/sweep.npz", "PK"), parts(file="sweep.npz", **any_value), False),
    "G24 perturbations": (
        written("perturbation_results/results.json", '{"perturbations": 3}'),
        parts(file="results.json", **any_value),
        False,
    ),
    "G24 names": (written("encoding.json", '{"actions": ["only"]}'), parts(file="encoding.json", **any_value), False),
}


def _without_last(path: Path) -> None:
    document = json.loads(path.read_text())
    document.popitem()
    path.write_text(json.dumps(document))


def _with_own_hash(folder: Path, stem: str, kind: str, data: bytes) -> None:
    """Another table, with metadata that describe it."""
    (folder / f"{stem}_{kind}.csv").write_bytes(data)
    path = folder / f"{stem}.meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), f"{kind}_sha256": sha256(data).hexdigest()}))


@pytest.mark.parametrize("fault", DAMAGED)
def test_a_damaged_result_is_refused_and_the_page_is_kept(fault: str, world: Path) -> None:
    spoil, error, is_compared = DAMAGED[fault]
    (world / "perturbation_results").mkdir(exist_ok=True)
    spoil(world)
    refused(words("report", world, "--overwrite"), 2, error, world.parent)
    if is_compared:
        more = ["--overwrite", "--output_dir", str(world.parent / "comparison")]
        refused(words("compare", world, *more), 2, error, world.parent)


def test_a_page_of_other_results_is_kept(world: Path) -> None:
    """G25."""
    shutil.rmtree(world / "rollout_results")
    refused(words("report", world), 2, parts(file="report.html", problem=DIFFERENT_RUN), world)
    more = ["--output_dir", str(world.parent / "comparison")]
    error = parts(file="comparison.csv", problem=DIFFERENT_RUN)
    refused(words("compare", world, *more), 2, error, world.parent)


def test_steps_that_were_not_run_and_results_of_other_weights_are_listed(world: Path) -> None:
    """G26."""
    mlp_agent(world, seed=7)
    for name in ("activation_inputs", "rollout_results", "report"):
        shutil.rmtree(world / name)
    reported = run(words("report", world, "--json"))
    assert reported.returncode == 0
    listed = json.loads(reported.stdout)
    assert {"inputs", "pairs", "sweep", "rollouts"} <= set(listed["not_run"])
    assert {"patching_results/minimal_sets.json", "patching_results/edges.json"} <= set(listed["not_shown"])


def test_agents_that_cannot_be_compared_are_refused(world: Path, tmp_path: Path) -> None:
    """G27."""
    more = ["--output_dir", str(tmp_path / "elsewhere")]
    (world / "agent.json").write_text('{"kind": ["dqn"], "algorithm": "dqn"}')
    for flags, error in (
        ([str(world)], parts(names=[world])),
        ([str(tmp_path / "none")], parts(file="none", problem=...)),
        (["--group_by", "("], parts(field="group_by", found="'('", expected=..., hint=...)),
        (["--group_by", "agent"], parts(names=["agent"], field=...)),
        (["--group_by", "(z)"], parts(names=["(z)"], field=...)),
        (["--group_by", "kind"], parts(file="agent.json", field="kind", found="a list", expected=...)),
    ):
        refused(words("compare", world, *flags, *more), 2, error, tmp_path)
    (world / "agent.json").write_text("[]")
    error = parts(file="agent.json", found="a list", expected="an object")
    refused(words("compare", world, "--group_by", "kind", *more), 2, error, tmp_path)


def test_one_bad_agent_of_several_writes_no_comparison(world: Path, tmp_path: Path) -> None:
    """G28."""
    good = copied(world, tmp_path / "good")
    (world / "agent.zip").write_bytes(b"PK")
    error = parts(file="agent.zip", **any_value)
    refused(words("compare", good, str(world), "--output_dir", str(tmp_path / "new")), 2, error, tmp_path)
    works(words("compare", good, "--output_dir", str(tmp_path / "new")))
