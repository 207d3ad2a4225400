"""docs/definitions.md against the files that the scripts write for the example agent: every key is described there."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Neuron_Selection.AnalysisTooling.experiment_metrics import default_metrics
from Neuron_Selection.AnalysisTooling.measures.published_metrics import PUBLISHED_METRICS
from tests.conftest import ROOT
from tests.in_process import typed

EVERY_METRIC = (*default_metrics(), *PUBLISHED_METRICS)

DEFINITIONS = (ROOT / "docs" / "definitions.md").read_text()
DESCRIBED = set(re.findall(r"`([\w.]+)`", DEFINITIONS))
EDIT = "q_net.0.weight[0,0]=0"
PAIRS = "python Neuron_Selection/ObservationTooling/make_pairs.py --agent_path my_agent --n_pairs 4"
MAKE_ENV = f"{ROOT}/examples/lava_crossing/environment.py:make_env"
COMMANDS = f"""\
python activation_patching.py --agent_path my_agent --direction both --patch_spec q_net.2:0-63 --output_prefix half
python activation_patching.py --agent_path my_agent --direction both --patch_spec q_net.2:0-63 --by_input
python Neuron_Selection/ExperimentTooling/run_experiments.py --agent_path my_agent
python Neuron_Selection/AnalysisTooling/analyze_metrics.py --agent_path my_agent --metrics {" ".join(EVERY_METRIC)}
python Neuron_Selection/ExperimentTooling/find_minimal_sets.py --agent_path my_agent --layers q_net.3 --budget 100
python Neuron_Selection/ExperimentTooling/attribute_neurons.py --agent_path my_agent
python Neuron_Selection/ExperimentTooling/find_interactions.py --agent_path my_agent --neurons 9 --resamples 99
python Neuron_Selection/ExperimentTooling/patch_edges.py --agent_path my_agent --edges 20 --resamples 99
python Neuron_Selection/ExperimentTooling/check_circuit.py --agent_path my_agent --random_circuits 19
python SaliencyTooling/initial_test.py --agent_path my_agent
python Parameter_Selection/PerturbationTooling/perturb_weights.py --agent_path my_agent --values 0
python Parameter_Selection/PerturbationTooling/find_smallest_flips.py --agent_path my_agent
python Parameter_Selection/PerturbationTooling/write_agent.py --agent_path my_agent --edits {EDIT} --output e.zip
{PAIRS} --inputs clean_inputs.json --output_dir nearest
{PAIRS} --inputs clean_inputs.json --method features --output_dir features
{PAIRS} --method environment --env {MAKE_ENV} --n_env_seeds 4 --output_dir environment
python ReportTooling/make_report.py --agent_path my_agent
python ReportTooling/compare_agents.py my_agent e.zip --output_dir my_agent/comparison
""".splitlines()  # fmt: skip
# names that are data, not keys: input ids, experiments, layers, parameters, values of a perturbation
IS_DATA = re.compile(
    r"MiniGrid[-_].*|make_env-.*|exp_\d+_.*|q_net\..*|features_extractor\..*|-?\d+\.\d+|\d+|\d+ -> \d+"
    r"|denoising|noising|dead|.*\.svg_sha256"
)
PROVENANCE = {"command", "libraries", "agent", "run"}
# of smallest flips of networks with another activation function than ReLU
BRACKETS = {"method", "inner_ends", "inner_end", "certified", "brackets", "tolerance", "relative_step", "absolute_step"}
OPTIONAL = {"margin_effect", "ablation", "random_sets", *BRACKETS}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("definitions")
    shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", folder / "my_agent")
    for command in COMMANDS:
        script, *words = command.removeprefix("python ").split(" ", 1)
        run = typed(f"python {ROOT / script} {' '.join(words)}", folder)
        assert run.returncode == 0, f"{command}\n{run.stderr}"
    return folder / "my_agent"


def keys_of(document: Any) -> Iterator[str]:
    """Every key below ``document``; of provenance, whose settings differ from script to script, the outer ones."""
    if isinstance(document, list):
        for element in document[:1]:
            yield from keys_of(element)
    elif isinstance(document, dict):
        for key, value in document.items():
            if not IS_DATA.fullmatch(key):
                yield key
            if key not in PROVENANCE:
                yield from keys_of(value)


def documents(agent: Path) -> dict[str, Any]:
    """What is written as JSON, but for activations, whose keys are ids and layers."""
    files = [path for path in agent.parent.rglob("*.json") if "_readable" not in path.name and path.stem != "encoding"]
    read = {str(path.relative_to(agent.parent)): json.loads(path.read_text()) for path in files}
    sweep = np.load(agent / "patching_results" / "sweep.npz")
    return {**read, "sweep.npz": json.loads(bytes(sweep["__metadata__"]))}


def test_every_key_of_every_output_is_described(agent: Path) -> None:
    missing = {name: set(keys_of(document)) - DESCRIBED for name, document in documents(agent).items()}
    assert not any(missing.values()), {name: keys for name, keys in missing.items() if keys}


def test_every_column_of_every_table_is_described(agent: Path) -> None:
    tables = list(agent.rglob("*.csv"))
    assert len(tables) == 10
    for path in tables:
        with path.open() as file:
            missing = set(next(csv.reader(file))) - DESCRIBED
        assert not missing, f"{path.name}: describe in docs/definitions.md: {sorted(missing)}"


def test_every_metric_is_described() -> None:
    assert set(EVERY_METRIC) <= DESCRIBED


def test_every_key_that_is_described_exists(agent: Path) -> None:
    there = {key for document in documents(agent).values() for key in keys_of(document)} | OPTIONAL
    for path in agent.rglob("*.csv"):
        with path.open() as file:
            there |= set(next(csv.reader(file)))
    for table in re.findall(r"^\| (?:[a-z ]*key|column|metric)\b.*\n(?:\|.*\n)+", DEFINITIONS, re.MULTILINE):
        for cell in re.findall(r"^\| (.*?) \|", table, re.MULTILINE):
            missing = set(re.findall(r"`(\w+)`", cell)) - there
            assert not missing, f"docs/definitions.md describes {sorted(missing)}, which no output contains"
