"""An agent folder with every result, of a few pairs, and the page about it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from Neuron_Selection.AnalysisTooling import analyze
from Neuron_Selection.ExperimentTooling.edges import patch_edges
from Neuron_Selection.ExperimentTooling.minimal_sets import find_minimal_sets
from Neuron_Selection.ExperimentTooling.sweeps import run_sweep
from Neuron_Selection.PatchingTooling import open_agent
from Parameter_Selection.PerturbationTooling.exact_flips import find_smallest_flips
from Parameter_Selection.PerturbationTooling.perturbations import perturb_weights
from Parameter_Selection.RolloutTooling.rollouts import Changes, exact_rollouts, run_rollouts
from ReportTooling.reports import make_report
from SaliencyTooling import find_candidate_weights
from tests.conftest import ROOT

ENVIRONMENT = str(ROOT / "examples" / "lava_crossing" / "environment.py") + ":make_env"
NEURONS = "1,5,20,78,82,91,116"
EXAMPLE = ROOT / "examples" / "lava_crossing" / "agent"


@pytest.fixture(scope="session")
def with_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example agent with the results of twelve of its pairs. Copy it to change it."""
    folder = tmp_path_factory.mktemp("report") / "agent"
    shutil.copytree(EXAMPLE, folder)
    agent = open_agent(folder)
    ids = agent.inputs("clean_inputs.json").ids[::9]
    run_sweep(agent, input_ids=ids)
    analyze(folder, resamples=99, max_neurons=3)
    find_minimal_sets(agent, layers=["q_net.3"], input_ids=ids, random_orders=2)
    find_candidate_weights(agent, format="npz")
    perturb_weights(agent, values=[0.0, -1.0], control_sets=20, input_ids=ids)
    find_smallest_flips(agent, input_ids=ids)
    patch_edges(agent, input_ids=ids, edges=20, resamples=19, random_orders=2, subsets=2)
    changes = Changes(neurons=[f"q_net.2:{NEURONS}"])
    exact_rollouts(agent, changes, env=ENVIRONMENT)
    run_rollouts(agent, changes, env=ENVIRONMENT, episodes=3, frames=True)
    return folder


@pytest.fixture(scope="session")
def page(with_results: Path) -> Path:
    """The page about that agent."""
    return make_report(open_agent(with_results)).path


@pytest.fixture(scope="session")
def html(page: Path) -> str:
    """Its text."""
    return page.read_text(encoding="utf-8")


def table_in(html: str, name: str) -> list[list[str]]:
    """The cells of a table on a page, as markup."""
    (table,) = re.findall(rf'<table id="{name}">.*?</table>', html, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", table.partition("<tbody>")[2], re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]


def text_of(markup: str) -> str:
    """Markup without its tags."""
    return re.sub(r"<[^>]*>", "", markup)


def values_in(markup: str) -> list[float]:
    """The exact numbers in markup."""
    return [float(value) for value in re.findall(r'<data value="([^"]*)"', markup)]
