"""Differences between two runs: against the definition in loops, and neurons planted to be dead."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import activation_extraction
from Neuron_Selection import find_different_neurons
from Neuron_Selection.AnalysisTooling.measures.differences import (
    active_and_dead,
    dead_test_of,
    most_different,
    neuron_differences,
)
from Neuron_Selection.errors import InputError, UsageError
from tests.made_agents import planted_agent
from tests.raised import NO_SUCH_FILE, parts, reports


def test_differences_equal_the_definition_in_loops() -> None:
    random = np.random.default_rng(0)
    clean, corrupted = random.normal(size=(2, 3, 4, 2, 2))
    found = neuron_differences(clean, corrupted)
    for row in range(3):
        for neuron in range(4):
            places = [abs(clean[row, neuron, i, j] - corrupted[row, neuron, i, j]) for i in range(2) for j in range(2)]
            assert found[row, neuron] == pytest.approx(sum(places) / 4)


def test_the_top_is_by_mean_and_the_share_counts_inputs() -> None:
    differences = np.array([[5.0, 1.0, 0.0, 2.0], [0.0, 3.0, 0.0, 2.0], [0.0, 2.0, 0.0, 2.0]])
    top = most_different(differences, 2)
    assert [(n.neuron, n.difference, n.top_share) for n in top] == [
        (1, pytest.approx(2.0), pytest.approx(2 / 3)), (3, pytest.approx(2.0), 1.0)
    ]  # fmt: skip
    assert [n.neuron for n in most_different(differences, 9)] == [1, 3, 0]
    assert most_different(np.zeros((2, 3)), 2) == []


def test_dead_is_at_or_below_zero_before_a_relu_and_zero_behind_it() -> None:
    assert dead_test_of("pre-activation", "ReLU") == "<= 0"
    assert dead_test_of("post-activation", "ReLU") == "== 0"
    assert dead_test_of("pre-activation", "Tanh") is None
    assert dead_test_of("output", "Linear") is None
    before = np.array([[1.0, -1.0, 0.0], [2.0, 3.0, -4.0]])
    after = np.array([[-1.0, -1.0, 5.0], [0.0, 1.0, 4.0]])
    assert active_and_dead(before, after, "<= 0") == {0: 1.0}
    assert active_and_dead(after, before, "<= 0") == {2: 1.0}
    assert active_and_dead(np.maximum(before, 0), np.maximum(after, 0), "== 0") == {0: 1.0}
    channels = np.array([[[[0.0, 1.0]], [[0.0, 0.0]]]])
    assert active_and_dead(channels, channels * 0, "== 0") == {0: 1.0}


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """Neuron 0 copies the input, neuron 1 its negative, neuron 2 is dead, neuron 3 is constant."""
    layers = [([[1.0], [-1.0], [0.0], [0.0]], [0.0, 0.0, -1.0, 2.0]), (np.ones((2, 4)), [0.0, 1.0])]
    folder = planted_agent(tmp_path / "agent", layers)
    (folder / "activation_inputs").mkdir()
    for name, sign in (("clean", 1), ("corrupted", -1)):
        inputs = {"a,b": [2.0 * sign], "c": [3.0 * sign]}
        (folder / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(inputs))
    assert activation_extraction.main(["--agent_path", str(folder), "--quiet"]) == 0
    return folder


@pytest.mark.parametrize("ending", [".npz", "_readable.json"])
def test_planted_neurons_are_found_in_both_kinds_of_file(
    ending: str, agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--clean", f"clean_activations{ending}", "--corrupted", f"corrupted_activations{ending}"]
    capsys.readouterr()
    assert find_different_neurons.main(["--agent_path", str(agent), *files, "--json"]) == 0
    out, err = capsys.readouterr()
    reported = json.loads(out)["layers"]
    assert reported["q_net.0"]["top"] == [
        {"neuron": 0, "difference": 5.0, "top_share": 1.0}, {"neuron": 1, "difference": 5.0, "top_share": 1.0}
    ]  # fmt: skip
    assert [reported[layer]["dead_test"] for layer in ("q_net.0", "q_net.1", "q_net.2")] == ["<= 0", "== 0", None]
    for layer in ("q_net.0", "q_net.1"):
        assert reported[layer]["dead_in_corrupted"] == {"0": 1.0}
        assert reported[layer]["dead_in_clean"] == {"1": 1.0}
    assert "--patch_spec q_net.0:0,1" in err


def test_one_id_only_and_the_next_command_runs_as_printed(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shlex

    import activation_patching

    words = ["--agent_path", str(agent), "--input_ids", "a,b", "--top", "1"]
    capsys.readouterr()
    assert find_different_neurons.main(words) == 0
    out, err = capsys.readouterr()
    assert "1 inputs: " in out
    assert "neuron     0             4    100%" in out
    command = shlex.split(next(line for line in err.splitlines() if line.startswith("next: ")))
    assert activation_patching.main(command[3:]) == 0


def test_the_closing_line_is_a_patch_spec_that_patches(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import activation_patching

    capsys.readouterr()
    assert find_different_neurons.main(["--agent_path", str(agent), "--quiet"]) == 0
    spec = capsys.readouterr().out.splitlines()[-1]
    assert spec == "q_net.0:0,1"
    assert activation_patching.main(["--agent_path", str(agent), "--direction", "both", "--patch_spec", spec]) == 0
    same = ["--agent_path", str(agent), "--corrupted", "clean_activations.npz", "--quiet"]
    assert find_different_neurons.main(same) == 0
    assert "patch spec" not in capsys.readouterr().out


def test_unknown_layers_and_ids_are_refused(agent: Path) -> None:
    for words, kind, error in (
        (["--layers", "q_net.7"], InputError, parts(file="q_net", names=["'q_net.7'"])),
        (["--input_ids", "a"], InputError, parts(file="clean_activations.npz", names=["'a'"])),
        (
            ["--layers", "features_extractor.flatten"],
            InputError,
            parts(file="clean_activations.npz", field="features_extractor.flatten", names=["q_net.0"]),
        ),
        (["--clean", "nothing.npz"], InputError, parts(file="nothing.npz", problem=NO_SUCH_FILE)),
        (["--top", "0"], UsageError, parts(names=["--top", "'0'"])),
    ):
        with reports(kind, **error):
            assert find_different_neurons.main(["--agent_path", str(agent), *words]) == 2


def test_published_readable_activations_are_read(published_files: Path) -> None:
    from Neuron_Selection.FileFormats.readable_activations import load_readable

    layers = {name: name for name in ("features_extractor.mlp.0", "q_net.0", "q_net.2", "q_net.4")}
    loaded = load_readable(published_files / "v6_corrupted_activations_readable.json", layers)
    assert len(loaded.ids) == 2
    assert loaded.values["q_net.0"].shape == (2, 64)
    assert loaded.values["q_net.4"].shape == (2, 5)
