"""The closing lines of the scripts: each runs as it stands, where the user stands, and reads what was just written."""

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
def stood(tmp_path: Path) -> Path:
    """Where the user stands: a folder with the example agent in \"my agent\"."""
    shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", tmp_path / "my agent")
    return tmp_path


def run(script: Path, *words: str, stood: Path) -> list[str]:
    """Run a script on the agent; the commands after ``next:``."""
    done = in_process([str(script), "--agent_path", "my agent", *words], cwd=stood)
    assert done.returncode == 0, done.stderr
    return re.findall(r"^next: (python .*)$", done.stderr, re.MULTILINE)


def paste(command: str, stood: Path, *, process: bool = False) -> list[str]:
    """Run a command as it was printed; the commands that it names in turn."""
    done = typed(command, stood, process=process)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return re.findall(r"^next: (python .*)$", done.stderr, re.MULTILINE)


def test_from_definitions_of_ones_own_to_the_weights(stood: Path) -> None:
    specs = ["--type", "custom", "--patch_spec", "q_net.2:78", "q_net.2:1"]
    (sweep,) = run(GENERATE, *specs, "--output", "own.json", stood=stood)
    (stood / "my agent" / "own.json").write_text("[]")  # of the same name where it would be looked for first
    (analysis,) = paste(sweep, stood, process=True)
    with_few = f"{analysis} --resamples 99"
    (weights,) = paste(with_few, stood, process=True)
    assert "initial_test.py" in weights
    paste(weights, stood, process=True)
    assert (stood / "my agent" / "gradient_analysis" / "candidate_weights.json").exists()


def test_definitions_in_their_usual_place_and_a_sweep_of_another_name_or_place(stood: Path) -> None:
    (sweep,) = run(GENERATE, "--type", "layer", stood=stood)
    assert "--definitions layer_definitions.json" in sweep
    paste(sweep, stood)
    usual = json.loads((stood / "my agent" / "layer_definitions.json").read_text())
    assert usual == [{"q_net.0": "all"}, {"q_net.2": "all"}]
    words = ["--definitions", "layer_definitions.json"]
    (by_name,) = run(RUN, *words, "--output_prefix", "an other", stood=stood)
    (by_path,) = run(RUN, *words, "--output_dir", "out", stood=stood)
    (here,) = run(RUN, *words, "--output_dir", ".", "--direction", "noising", stood=stood)
    for command, sweep_file in ((by_name, "an other.npz"), (by_path, "out/sweep.npz"), (here, "./sweep.npz")):
        assert sweep_file in command
        process = command == by_name  # its file's name has a blank
        assert (
            paste(f"{command} --overwrite --resamples 99", stood, process=process) == []
        )  # whole layers: no neuron, no next command


def test_a_summary_elsewhere_is_handed_to_the_script_that_takes_one(stood: Path) -> None:
    run(RUN, stood=stood)
    average, extract = run(ANALYZE, *QUICK, "--output_dir", "out", stood=stood)
    paste(average, stood)
    paste(extract, stood)
    assert (stood / "my agent" / "gradient_analysis" / "candidate_weights.json").exists()
    assert run(ANALYZE, *QUICK, "--output_dir", "out", stood=stood) == [average, extract]  # up to date


def test_a_set_of_some_pairs_is_patched_in_these_pairs(stood: Path) -> None:
    clean = json.loads((stood / "my agent" / "activation_inputs" / "clean_inputs.json").read_text())
    (stood / "some ids.txt").write_text("\n".join(list(clean)[:3]))
    words = ["--input_ids", "@some ids.txt", "--layers", "q_net.3", "--random_orders", "0", "--direction", "denoising"]
    (patching,) = run(FIND, *words, "--output_dir", "out here", stood=stood)
    paste(patching, stood)
    patched = json.loads((stood / "out here" / "minimal_sets_patched.json").read_text())
    assert list(patched) == list(clean)[:3]
    assert all(record["matches_source"] for record in patched.values())


def test_activations_of_one_run_are_patched_into_the_other(stood: Path) -> None:
    (following,) = run(ROOT / "activation_extraction.py", "--inputs", "clean_inputs.json", stood=stood)
    assert "--target_input corrupted_inputs.json --source_activations clean_activations.npz" in following
    paste(following, stood)


def test_activations_recorded_where_the_user_stands_are_not_taken_for_the_agents_own(stood: Path) -> None:
    extraction = ROOT / "activation_extraction.py"
    run(extraction, "--engine", "fast", stood=stood)
    own = stood / "my agent" / "activation_logging" / "clean_activations.npz"
    own.write_bytes(b"not this one")
    (following,) = run(
        extraction, "--inputs", "clean_inputs.json", "--output_dir", ".", "--engine", "fast", stood=stood
    )
    assert "--source_activations ./clean_activations.npz" in following
    paste(following, stood)


def test_inputs_named_where_the_user_stands_are_those_that_are_recorded(stood: Path) -> None:
    inputs = json.loads((stood / "my agent" / "activation_inputs" / "clean_inputs.json").read_text())
    one = next(iter(inputs))
    (stood / "clean_inputs.json").write_text(json.dumps({one: inputs[one]}))
    words = ["--inputs", "./clean_inputs.json", "--output_dir", "out", "--engine", "fast"]
    run(ROOT / "activation_extraction.py", *words, stood=stood)
    assert list(json.loads((stood / "out" / "clean_activations_readable.json").read_text())) == [one]


def test_the_neurons_that_differ_are_patched_in_the_inputs_they_were_found_in(stood: Path) -> None:
    inputs = stood / "my agent" / "activation_inputs"
    shutil.copy(inputs / "corrupted_inputs.json", inputs / "other_inputs.json")
    run(ROOT / "activation_extraction.py", "--engine", "fast", stood=stood)
    ids = list(json.loads((inputs / "other_inputs.json").read_text()))[:2]
    words = ["--corrupted", "other_activations.npz", "--layers", "q_net.2", "--input_ids", *ids]
    (patching,) = run(TOOLS / "find_different_neurons.py", *words, stood=stood)
    assert "--target_input other_inputs.json" in patching
    paste(patching, stood)
    assert list(json.loads((stood / "my agent" / "patching_results" / "patching.json").read_text())) == ids


def test_neurons_that_were_patched_are_taken_out_next_and_then_every_one(stood: Path) -> None:
    words = ["--direction", "both", "--patch_spec", "q_net.2:0-63", "q_net.0:5", "--engine", "fast"]
    (by_the_mean,) = run(ROOT / "activation_patching.py", *words, stood=stood)
    assert "--ablate mean" in by_the_mean
    (by_zero,) = paste(by_the_mean, stood)
    assert "--ablate zero" in by_zero
    (sweep,) = paste(by_zero, stood)
    assert "run_experiments.py --agent_path 'my agent'" in sweep
    paste(sweep, stood)
    (stood / "my agent" / "activation_inputs" / "corrupted_inputs.json").unlink()
    assert paste(by_zero, stood) == []  # no pairs, no sweep


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
