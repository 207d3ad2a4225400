"""The saliency and perturbation scripts as functions: the same files, byte for byte, and results as typed records."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from Neuron_Selection.AnalysisTooling import analyze_metrics
from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.ExperimentTooling import run_experiments
from Neuron_Selection.PatchingTooling import PatchingExperiment
from Parameter_Selection.PerturbationTooling.exact_flips import find_smallest_flips
from Parameter_Selection.PerturbationTooling.perturbations import perturb_weights
from Parameter_Selection.PerturbationTooling.weights import write_agent
from SaliencyTooling import average_gradients, compute_gradients, find_candidate_weights, select_weights
from tests.conftest import ROOT
from tests.in_process import in_process
from tests.raised import DIFFERENT_RUN, raises

SALIENCY, PERTURBATION = ROOT / "SaliencyTooling", ROOT / "Parameter_Selection" / "PerturbationTooling"
SUMMARY = ["--cross_metric_path", "cross_metric_summary.json", "--average_gradients_path", "average_gradients.json"]
EDITS = "q_net.0.weight[61,5]=0.25; q_net.2.weight[0,3]=-1"
WEIGHTS = "q_net.0.weight[61,5]; q_net.2.weight[0,3]"
IDS = ["--input_ids", "@ids.txt"]


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example agent with a summary of its important neurons, gradients, averages and candidates."""
    folder = tmp_path_factory.mktemp("analysed") / "agent"
    shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", folder)
    flags = ["--agent_path", str(folder), "--quiet"]
    assert run_experiments.main(flags) == 0
    assert analyze_metrics.main(flags) == 0
    find_candidate_weights(PatchingExperiment(folder))
    return folder


@pytest.fixture
def agent(analysed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(analysed, tmp_path / "agent"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def ids(agent: Path) -> list[str]:
    chosen = list(PatchingExperiment(agent).inputs("clean_inputs.json").ids[:10])
    (agent.parent / "ids.txt").write_text("\n".join(chosen))
    return chosen


# name to the script, its flags, the function, and its keyword arguments
CASES: dict[str, tuple[Path, list[str], Any, dict[str, Any]]] = {
    "gradients": (
        SALIENCY / "InitialGradients" / "gradients.py", ["--output_dir", "OUT", "--format", "both"],
        compute_gradients, {"output_dir": "OUT", "format": "both"},
    ),
    "average": (SALIENCY / "InitialGradients" / "average.py", ["--output_dir", "OUT"], average_gradients,
                {"output_dir": "OUT"}),
    "average of a file": (
        SALIENCY / "InitialGradients" / "average.py", ["--output_dir", "OUT", "--gradients_path",
                                                       "weight_gradients.json"],
        average_gradients, {"output_dir": "OUT", "gradients_path": "weight_gradients.json"},
    ),
    "extract": (SALIENCY / "InitialGradients" / "extract.py", [*SUMMARY, "--output_dir", "OUT", "--k", "3"],
                select_weights, {"output_dir": "OUT", "k": 3}),
    "initial_test": (
        SALIENCY / "initial_test.py", ["--output_dir", "OUT", "--score", "margin", "--m", "1"],
        find_candidate_weights, {"output_dir": "OUT", "score": "margin", "m": 1},
    ),
    "perturb_weights": (
        PERTURBATION / "perturb_weights.py", ["--output_dir", "OUT", "--values", "0", "-1", *IDS],
        perturb_weights, {"output_dir": "OUT", "values": [0.0, -1.0], "input_ids": ids},
    ),
    "find_smallest_flips": (
        PERTURBATION / "find_smallest_flips.py", ["--output_dir", "OUT", "--weights", WEIGHTS, *IDS],
        find_smallest_flips, {"output_dir": "OUT", "weights": WEIGHTS, "input_ids": ids},
    ),
    "flips of layers": (
        PERTURBATION / "find_smallest_flips.py", ["--output_dir", "OUT", "--all_weights", "q_net.4", "q_net.2"],
        find_smallest_flips, {"output_dir": "OUT", "all_weights": ["q_net.4", "q_net.2"]},
    ),
    "write_agent": (PERTURBATION / "write_agent.py", ["--output", "OUT/edited.zip", "--edits", EDITS], write_agent,
                    {"output": "OUT/edited.zip", "edits": EDITS}),
    "write_agent by candidates": (
        PERTURBATION / "write_agent.py", ["--output", "OUT/edited.zip", "--candidates", "candidate_weights.json",
                                          "--value", "-1"],
        write_agent, {"output": "OUT/edited.zip", "candidates": "candidate_weights.json", "value": -1.0},
    ),
}  # fmt: skip


def paths_in(result: Any) -> Iterator[Path]:
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        yield from value if field.name == "files" else paths_in(value) if dataclasses.is_dataclass(value) else ()


def written(result: Any) -> bool:
    steps = [getattr(result, field.name) for field in dataclasses.fields(result)]
    return bool(getattr(result, "written", None) or any(getattr(step, "written", False) for step in steps))


@pytest.mark.parametrize("case", CASES)
def test_the_function_writes_the_bytes_of_the_script(case: str, agent: Path) -> None:
    script, flags, function, arguments = CASES[case]
    out = agent / "out"
    chosen = ids(agent)
    words = [word.replace("OUT", str(out)) for word in flags]
    done = in_process([str(script), "--agent_path", str(agent), *words, "--quiet"], cwd=agent.parent)
    assert done.returncode == 0, done.stderr
    by_script = files_of(out)
    assert by_script
    shutil.rmtree(out)
    opened = PatchingExperiment(agent, engine="numpy" if case == "perturb_weights" else "torch")
    keywords = {
        name: chosen if value is ids else value.replace("OUT", str(out)) if isinstance(value, str) else value
        for name, value in arguments.items()
    }
    shown: list[int | None] = []

    def progress(items: Iterable[Any], *, total: int | None, unit: str) -> Iterable[Any]:
        assert unit
        shown.append(total)
        return items

    result = function(opened, **keywords, progress=progress)
    assert files_of(out) == by_script
    assert written(result)
    paths = list(paths_in(result))
    assert {path.name for path in paths} <= {path.name for path in out.iterdir()}
    assert shown or case == "average"
    assert not written(function(opened, **keywords))
    assert files_of(out) == by_script


def test_averages_and_candidates_need_no_agent(agent: Path, tmp_path: Path) -> None:
    gradients = agent / "gradient_analysis" / "weight_gradients.json"
    averages = average_gradients(gradients_path=gradients, output_dir=tmp_path / "out")
    summary = agent / "patching_results" / "cross_metric_summary.json"
    candidates = select_weights(cross_metric_path=summary, average_gradients_path=averages.files[0])
    assert candidates.files == (tmp_path / "out" / "candidate_weights.json",)
    assert candidates.metadata["k_per_neuron"] == 2
    assert candidates.weights == 2 * candidates.neurons + 4


def test_arguments_that_exclude_each_other_are_refused_as_flags_are(agent: Path, tmp_path: Path) -> None:
    opened, output = PatchingExperiment(agent), tmp_path / "edited.zip"
    with raises(UsageError, flags=["--edits", "--candidates"]):
        write_agent(opened, output=output)
    with raises(UsageError, flags=["--value", "--edits"]):
        write_agent(opened, output=output, edits=EDITS, value=1.0)
    with raises(UsageError, flags=["--weights", "--all_weights"]):
        perturb_weights(opened, weights=WEIGHTS, all_weights=["q_net.0"])
    with raises(UsageError, field="format", found="'csv'", expected="one of json, npz, both"):
        compute_gradients(opened, format="csv")
    with raises(UsageError, field="k and m", found="-1 and 4", expected="whole numbers from 0"):
        select_weights(opened, k=-1)
    with raises(UsageError, field="score", found="'size'", expected="one of gradient, margin, weight_x_gradient"):
        select_weights(opened, score="size")


PACKAGES = {
    "SaliencyTooling": ["average_gradients", "compute_gradients", "find_candidate_weights", "select_weights"],
    "Parameter_Selection.PerturbationTooling.perturbations": ["perturb_weights"],
    "Parameter_Selection.PerturbationTooling.exact_flips": ["find_smallest_flips"],
    "Parameter_Selection.PerturbationTooling.weights": ["write_agent"],
}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_api_is_listed_and_importing_its_package_imports_neither_numpy_nor_torch(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__ == PACKAGES[package]
    assert all(getattr(module, name).__name__ == name for name in module.__all__)
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = module.other
    code = f"import sys, {package}; assert not {{'numpy', 'torch', 'gymnasium'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("name", ["results", "smallest_flips"])
def test_a_result_file_without_its_summary_is_not_up_to_date(name: str, agent: Path) -> None:
    function: Any = perturb_weights if name == "results" else find_smallest_flips
    opened = PatchingExperiment(agent, engine="numpy")
    arguments: dict[str, Any] = {"weights": WEIGHTS, "input_ids": ids(agent)}
    path = function(opened, **arguments).files[0]
    document = json.loads(path.read_text())
    del document["summary"]["inputs"]
    path.write_text(json.dumps(document))
    with raises(InputError, file=path, problem=DIFFERENT_RUN):
        function(opened, **arguments)
    assert function(opened, **arguments, overwrite=True).written
