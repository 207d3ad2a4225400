"""``--plot``: every script that computes a curve or a matrix draws it, the same bytes each time."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.in_process import in_process

EXPERIMENTS, WEIGHTS = "Neuron_Selection/ExperimentTooling", "Parameter_Selection/PerturbationTooling"
WORLD = ["--env", str(ROOT / "examples" / "lava_crossing" / "environment.py") + ":make_env"]
PLOTTED = {
    f"{EXPERIMENTS}/run_experiments.py": [],
    "Neuron_Selection/AnalysisTooling/analyze_metrics.py": ["--resamples", "19"],
    f"{EXPERIMENTS}/find_minimal_sets.py": ["--layers", "q_net.3", "--random_orders", "1"],
    "SaliencyTooling/initial_test.py": ["--format", "npz"],
    "SaliencyTooling/InitialGradients/average.py": [],
    f"{WEIGHTS}/perturb_weights.py": ["--values", "0", "2", "--control_sets", "5"],
    f"{WEIGHTS}/find_smallest_flips.py": [],
    f"{EXPERIMENTS}/patch_edges.py": ["--edges", "10", "--resamples", "9", "--random_orders", "1"],
    f"{EXPERIMENTS}/attribute_neurons.py": ["--layers", "q_net.3"],
    f"{EXPERIMENTS}/find_interactions.py": ["--neurons", "6", "--resamples", "9"],
    "Parameter_Selection/RolloutTooling/run_rollouts.py": ["--episodes", "2", "--neurons", "q_net.2:1,2", *WORLD],
}


def run(script: str, agent: Path, *words: str):
    return in_process([str(ROOT / script), "--agent_path", str(agent), *PLOTTED[script], *words])


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plots") / "agent"
    return shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", folder)


@pytest.mark.parametrize("script", PLOTTED)
def test_the_result_is_drawn_as_svg_and_png(script: str, agent: Path, tmp_path: Path) -> None:
    svg, png = tmp_path / "plot.svg", tmp_path / "PLOT.PNG"
    first = run(script, agent, "--plot", str(svg))
    assert first.returncode == 0, first.stderr
    assert str(svg) in first.stdout
    drawn = svg.read_bytes()
    assert drawn.startswith(b"<?xml")
    assert b"<dc:date>" not in drawn
    assert run(script, agent, "--plot", str(png)).returncode == 0
    assert png.read_bytes().startswith(b"\x89PNG")


def test_another_file_is_replaced_with_overwrite_only(agent: Path, tmp_path: Path) -> None:
    script = f"{EXPERIMENTS}/run_experiments.py"
    mine = tmp_path / "mine.svg"
    mine.write_text("mine")
    assert run(script, agent, "--plot", str(mine)).returncode == 2
    assert mine.read_text() == "mine"
    assert run(script, agent, "--plot", str(mine), "--overwrite").returncode == 0
    drawn = mine.read_bytes()
    assert run(script, agent, "--plot", str(mine)).returncode == 0  # up to date
    assert mine.read_bytes() == drawn != b"mine"


@pytest.mark.parametrize("name", ["plot.jpg", "plot", "svg"])
def test_another_ending_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    refused = run(f"{EXPERIMENTS}/run_experiments.py", tmp_path / "no agent", "--plot", name)
    assert refused.returncode == 2
    assert ".png or .svg" in refused.stderr


@pytest.mark.parametrize("script", PLOTTED)
def test_without_matplotlib_nothing_is_started(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    agent = shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", tmp_path / "agent")
    before = sorted(agent.rglob("*"))
    assert run(script, agent, "--plot", str(tmp_path / "plot.png")).returncode == 4
    assert sorted(agent.rglob("*")) == before
