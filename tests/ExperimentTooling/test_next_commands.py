"""The ``next:`` lines of the scripts: each runs as printed, in the working directory, on what was just written."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from Neuron_Selection.AnalysisTooling.following_step import next_lines
from Neuron_Selection.next_command import loading_of, next_command
from tests.conftest import ROOT
from tests.in_process import in_process, typed

TOOLS = ROOT / "Neuron_Selection"
RUN, ANALYZE = TOOLS / "ExperimentTooling" / "run_experiments.py", TOOLS / "AnalysisTooling" / "analyze_metrics.py"
GENERATE, FIND = (TOOLS / "ExperimentTooling" / f"{name}.py" for name in ("generate_definitions", "find_minimal_sets"))
QUICK = ["--resamples", "99"]


@pytest.fixture
def working(tmp_path: Path) -> Path:
    """The working directory: a folder with the example agent in \"my agent\"."""
    shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", tmp_path / "my agent")
    return tmp_path


def run(script: Path, *words: str, working: Path) -> list[str]:
    """Run a script on the agent; the commands after ``next:``."""
    done = in_process([str(script), "--agent_path", "my agent", *words], cwd=working)
    assert done.returncode == 0, done.stderr
    return re.findall(r"^next: (python .*)$", done.stderr, re.MULTILINE)


def paste(command: str, working: Path, *, process: bool = False) -> list[str]:
    """Run a command as it was printed; the commands that it names in turn."""
    done = typed(command, working, process=process)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return re.findall(r"^next: (python .*)$", done.stderr, re.MULTILINE)


def test_from_definitions_of_ones_own_to_the_weights(working: Path) -> None:
    specs = ["--type", "custom", "--patch_spec", "q_net.2:78", "q_net.2:1"]
    (sweep,) = run(GENERATE, *specs, "--output", "own.json", working=working)
    (working / "my agent" / "own.json").write_text("[]")  # of the same name where it would be looked for first
    (analysis,) = paste(sweep, working, process=True)
    with_few = f"{analysis} --resamples 99"
    (weights,) = paste(with_few, working, process=True)
    assert "initial_test.py" in weights
    paste(weights, working, process=True)
    assert (working / "my agent" / "gradient_analysis" / "candidate_weights.json").exists()


def test_definitions_in_their_usual_place_and_a_sweep_of_another_name_or_place(working: Path) -> None:
    (sweep,) = run(GENERATE, "--type", "layer", working=working)
    assert "--definitions layer_definitions.json" in sweep
    paste(sweep, working)
    usual = json.loads((working / "my agent" / "layer_definitions.json").read_text())
    assert usual == [{"q_net.0": "all"}, {"q_net.2": "all"}]
    words = ["--definitions", "layer_definitions.json"]
    (by_name,) = run(RUN, *words, "--output_prefix", "an other", working=working)
    (by_path,) = run(RUN, *words, "--output_dir", "out", working=working)
    (here,) = run(RUN, *words, "--output_dir", ".", "--direction", "noising", working=working)
    for command, sweep_file in ((by_name, "an other.npz"), (by_path, "out/sweep.npz"), (here, "./sweep.npz")):
        assert sweep_file in command
        process = command == by_name  # its file's name has a blank
        assert (
            paste(f"{command} --overwrite --resamples 99", working, process=process) == []
        )  # whole layers: no neuron, no next command


def test_a_summary_elsewhere_is_handed_to_the_script_that_takes_one(working: Path) -> None:
    run(RUN, working=working)
    average, extract = run(ANALYZE, *QUICK, "--output_dir", "out", working=working)
    paste(average, working)
    paste(extract, working)
    assert (working / "my agent" / "gradient_analysis" / "candidate_weights.json").exists()
    assert run(ANALYZE, *QUICK, "--output_dir", "out", working=working) == [average, extract]  # up to date


def test_a_set_of_some_pairs_is_patched_in_these_pairs(working: Path) -> None:
    clean = json.loads((working / "my agent" / "activation_inputs" / "clean_inputs.json").read_text())
    (working / "some ids.txt").write_text("\n".join(list(clean)[:3]))
    words = ["--input_ids", "@some ids.txt", "--layers", "q_net.3", "--random_orders", "0", "--direction", "denoising"]
    (patching,) = run(FIND, *words, "--output_dir", "out here", working=working)
    paste(patching, working)
    patched = json.loads((working / "out here" / "minimal_sets_patched.json").read_text())
    assert list(patched) == list(clean)[:3]
    assert all(record["matches_source"] for record in patched.values())


def test_activations_of_one_run_are_patched_into_the_other(working: Path) -> None:
    (following,) = run(ROOT / "activation_extraction.py", "--inputs", "clean_inputs.json", working=working)
    assert "--target_input corrupted_inputs.json --source_activations clean_activations.npz" in following
    paste(following, working)


def test_activations_recorded_in_the_working_directory_are_not_taken_for_the_agents_own(working: Path) -> None:
    extraction = ROOT / "activation_extraction.py"
    run(extraction, "--engine", "fast", working=working)
    own = working / "my agent" / "activation_logging" / "clean_activations.npz"
    own.write_bytes(b"not this one")
    (following,) = run(
        extraction, "--inputs", "clean_inputs.json", "--output_dir", ".", "--engine", "fast", working=working
    )
    assert "--source_activations ./clean_activations.npz" in following
    paste(following, working)


def test_inputs_named_in_the_working_directory_are_those_that_are_recorded(working: Path) -> None:
    inputs = json.loads((working / "my agent" / "activation_inputs" / "clean_inputs.json").read_text())
    one = next(iter(inputs))
    (working / "clean_inputs.json").write_text(json.dumps({one: inputs[one]}))
    words = ["--inputs", "./clean_inputs.json", "--output_dir", "out", "--engine", "fast"]
    run(ROOT / "activation_extraction.py", *words, working=working)
    assert list(json.loads((working / "out" / "clean_activations_readable.json").read_text())) == [one]


def test_the_neurons_that_differ_are_patched_in_the_inputs_they_were_found_in(working: Path) -> None:
    inputs = working / "my agent" / "activation_inputs"
    shutil.copy(inputs / "corrupted_inputs.json", inputs / "other_inputs.json")
    run(ROOT / "activation_extraction.py", "--engine", "fast", working=working)
    ids = list(json.loads((inputs / "other_inputs.json").read_text()))[:2]
    words = ["--corrupted", "other_activations.npz", "--layers", "q_net.2", "--input_ids", *ids]
    (patching,) = run(TOOLS / "find_different_neurons.py", *words, working=working)
    assert "--target_input other_inputs.json" in patching
    paste(patching, working)
    assert list(json.loads((working / "my agent" / "patching_results" / "patching.json").read_text())) == ids


def test_neurons_that_were_patched_are_ablated_next_and_then_every_one(working: Path) -> None:
    words = ["--direction", "both", "--patch_spec", "q_net.2:0-63", "q_net.0:5", "--engine", "fast"]
    (by_the_mean,) = run(ROOT / "activation_patching.py", *words, working=working)
    assert "--ablate mean" in by_the_mean
    (by_zero,) = paste(by_the_mean, working)
    assert "--ablate zero" in by_zero
    (sweep,) = paste(by_zero, working)
    assert "run_experiments.py --agent_path 'my agent'" in sweep
    paste(sweep, working)
    (working / "my agent" / "activation_inputs" / "corrupted_inputs.json").unlink()
    assert paste(by_zero, working) == []  # no pairs, no sweep


def test_what_lets_a_custom_agent_in_is_handed_on_by_the_sweep(tmp_path: Path) -> None:
    made_by = {"trust": ["my.Net"], "features_extractor": "own file.py:Net", "activation_fn": 7, "policy": "p.py:P",
               "device": "cuda"}  # fmt: skip
    command = next_command("SaliencyTooling/initial_test.py", loading=loading_of(made_by))
    assert command.endswith("initial_test.py --trust my.Net --features_extractor 'own file.py:Net' --policy p.py:P")
    summary = tmp_path / "summary.json"
    summary.write_text(json.dumps({"common_neurons": {"q_net.0_neuron_1": {}}}))
    for line in next_lines(summary, agent_path=str(ROOT / "examples" / "lava_crossing" / "agent"), made_by=made_by)[:1]:
        assert line.endswith("--trust my.Net --features_extractor 'own file.py:Net' --policy p.py:P")
    assert "--trust" not in next_command("SaliencyTooling/initial_test.py", loading=loading_of({}))
