"""The commands and the snippet of the patching guide, as written there, on a copy of the example agent."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from Neuron_Selection.errors import InputError
from tests.conftest import ROOT
from tests.in_process import Completed, in_process
from tests.raised import DIFFERENT_RUN, reports

AGENT = "../Agent_Storage/SpawnTests/biased/biased-v1"
GUIDE_ID = "MiniGrid-LavaCrossingS11N5-v0-81110-6,4,0-0763"
EXAMPLES = {
    "experiment1": f"""
   python activation_patching.py \
       --agent_path {AGENT} \
       --target_input corrupted_inputs.json \
       --source_activations clean_activations.npz \
       --patch_spec "q_net.0:5,6,7;q_net.2:10,11" \
       --output_prefix experiment1
   """,
    "experiment2": f"""
   python activation_patching.py \
       --agent_path {AGENT} \
       --target_input corrupted_inputs.json \
       --source_activations clean_activations.npz \
       --patch_spec "q_net.2:all" \
       --output_prefix experiment2
   """,
    "experiment3": f"""
   python activation_patching.py \
       --agent_path {AGENT} \
       --target_input corrupted_inputs.json \
       --source_activations clean_activations.npz \
       --patch_spec "q_net.0:5,6,7" \
       --input_ids "{GUIDE_ID}" \
       --output_prefix experiment3
   """,
}


def run(command: str, folder: Path, root: Path, *, process: bool = False) -> Completed:
    """The command as a user types it in ``folder``; ``python`` is this one, scripts are those of ``root``.

    :param process: start it; else what ``root`` is a copy of runs in this process
    """
    python, script, *words = shlex.split(command)
    assert python == "python"
    assert (root / script).exists()
    if not process:
        return in_process([str(ROOT / script), *words], cwd=folder)
    path = str(root / script) if folder != root else script
    return subprocess.run([sys.executable, path, *words], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the project next to ../Agent_Storage, whose agent's inputs hold the guide's own id as well."""
    base = tmp_path_factory.mktemp("guide")
    root = base / "project"
    root.mkdir()
    for name in ("activation_extraction.py", "activation_patching.py"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "Neuron_Selection", root / "Neuron_Selection")
    agent = base / "Agent_Storage" / "SpawnTests" / "biased" / "biased-v1"
    shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", agent)
    for name in ("clean", "corrupted"):
        path = agent / "activation_inputs" / f"{name}_inputs.json"
        inputs = json.loads(path.read_text())
        inputs[GUIDE_ID] = next(iter(inputs.values()))
        path.write_text(json.dumps(inputs))
    for name in ("clean", "corrupted"):
        done = run(f"python activation_extraction.py --agent_path {AGENT} --inputs {name}_inputs.json", root, root)
        assert done.returncode == 0, done.stderr
    return root


def agent_of(checkout: Path) -> Path:
    return (checkout / AGENT).resolve()


@pytest.mark.parametrize("where", ["the root", "another folder"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_of_the_guide_works_as_written(name: str, where: str, checkout: Path) -> None:
    folder = checkout
    if where == "another folder":
        folder = checkout.parent / "elsewhere"
        folder.mkdir(exist_ok=True)
    results = agent_of(checkout) / "patching_results" / f"{name}.json"
    results.unlink(missing_ok=True)
    results.with_name(f"{name}.meta.json").unlink(missing_ok=True)
    done = run(EXAMPLES[name], folder, checkout, process=name == "experiment1")
    assert done.returncode == 0, done.stderr
    records = json.loads(results.read_text())
    assert str(results.name) in done.stdout
    assert done.stdout.startswith("denoising: source ")
    assert len(records) == (1 if name == "experiment3" else 101)
    for record in records.values():
        assert {"baseline_output", "baseline_action", "patched_output", "patched_action"} < set(record)
        assert isinstance(record["action_changed"], bool)
        assert isinstance(record["baseline_action"], int)
        assert np.array(record["patched_output"]).shape == (1, 3)
    if name == "experiment3":
        assert list(records) == [GUIDE_ID]
    if name == "experiment2":
        assert all(record["matches_source"] for record in records.values())
        assert sum(record["action_changed"] for record in records.values()) == 101


def test_the_snippet_of_the_guide_works_as_written(checkout: Path) -> None:
    snippet = """
from Neuron_Selection.PatchingTooling import PatchingExperiment

experiment = PatchingExperiment(agent_path="path/to/agent")
results = experiment.run_patching_experiment(
    target_input_file="inputs.json",
    source_activation_file="activations.npz",
    patch_spec={
        "q_net.0": [5, 10, 15],  # Specific neurons
        "q_net.2": "all"         # Entire layer
    }
)
print(len(results), sum(result["matches_source"] for result in results.values()))
"""
    agent = checkout / "path" / "to" / "agent"
    shutil.copytree(agent_of(checkout), agent)
    shutil.copy(agent / "activation_inputs" / "corrupted_inputs.json", checkout / "inputs.json")
    shutil.copy(agent / "activation_logging" / "clean_activations.npz", checkout / "activations.npz")
    done = subprocess.run([sys.executable, "-c", snippet], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["101", "101"], done.stderr


def test_the_analysis_script_of_the_guide_reads_the_readable_files(checkout: Path) -> None:
    folder = agent_of(checkout) / "activation_logging"
    clean, corrupted = (
        json.loads((folder / f"{n}_activations_readable.json").read_text()) for n in ("clean", "corrupted")
    )
    input_id = next(iter(clean))
    differences = np.abs(np.array(clean[input_id]["q_net.2"]) - np.array(corrupted[input_id]["q_net.2"]))
    top = np.argsort(differences[0])[-10:]
    assert len(top) == 10
    assert differences[0][top].min() > 0


def test_the_same_command_again_leaves_the_file_alone(checkout: Path) -> None:
    command = EXAMPLES["experiment1"].replace("experiment1", "again")
    first = run(command, checkout, checkout)
    path = agent_of(checkout) / "patching_results" / "again.json"
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    second = run(command, checkout, checkout)
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert "up to date, left as it is" in second.stderr
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    with reports(InputError, file=path.name, problem=DIFFERENT_RUN):
        assert run(command.replace("5,6,7", "5,6"), checkout, checkout).returncode == 2
    assert run(command.replace("5,6,7", "5,6") + " --overwrite", checkout, checkout).returncode == 0
    assert path.read_bytes() != before[0]


def test_the_same_run_writes_the_same_bytes(checkout: Path) -> None:
    spec = EXAMPLES["experiment1"]
    assert run(spec.replace("experiment1", "one"), checkout, checkout).returncode == 0
    two = spec.replace("experiment1", "two") + " --threads 2"  # which a process takes when it starts
    assert run(two, checkout, checkout, process=True).returncode == 0
    folder = agent_of(checkout) / "patching_results"
    for suffix in (".json", ".meta.json"):
        assert (folder / f"one{suffix}").read_bytes() == (folder / f"two{suffix}").read_bytes()


def test_a_dry_run_checks_and_writes_nothing(checkout: Path) -> None:
    done = run(EXAMPLES["experiment1"].replace("experiment1", "dry") + " --dry_run", checkout, checkout)
    assert done.returncode == 0, done.stderr
    assert "would patch 101 inputs" in done.stdout
    assert not list((agent_of(checkout) / "patching_results").glob("dry*"))
    wrong = run(EXAMPLES["experiment1"].replace("10,11", "999") + " --dry_run", checkout, checkout)
    assert wrong.returncode == 2
