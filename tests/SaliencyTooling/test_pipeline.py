"""The saliency scripts as users run them: from anywhere, one by one or together, chained from the first step on."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import activation_extraction
from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.FileFormats.weights.candidate_weights import load_candidate_weights
from Neuron_Selection.FileFormats.weights.weight_gradients import load_weight_gradients
from SaliencyTooling import initial_test
from SaliencyTooling.InitialGradients import average, extract, gradients
from tests.conftest import ROOT
from tests.made_agents import mlp_agent
from tests.raised import DIFFERENT_RUN, NO_SUCH_FILE, Parts, parts, reports

KEYS = {
    "exp_1_q_net.0": {"patch": {"q_net.0": [0]}},
    "q_net.2_neuron_3": {},
    "exp_2_q_net.0": {"patch": {"q_net.0": [6]}},
}


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    folder = mlp_agent(tmp_path / "agent")
    (folder / "activation_inputs").mkdir()
    (folder / "patching_results").mkdir()
    random = np.random.default_rng(0)
    inputs = {f"env-{n}": {"input": random.normal(size=4).tolist()} for n in range(70)}
    (folder / "activation_inputs" / "clean_inputs.json").write_text(json.dumps(inputs))
    (folder / "patching_results" / "cross_metric_summary.json").write_text(json.dumps({"common_neurons": KEYS}))
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_three_steps_alone_give_what_the_master_script_gives(agent: Path) -> None:
    flags = ["--agent_path", str(agent), "--quiet"]
    assert initial_test.main([*flags, "--k", "2", "--m", "4"]) == 0
    together, alone = agent / "gradient_analysis", agent / "alone"
    assert gradients.main([*flags, "--output_dir", str(alone)]) == 0
    assert average.main(["--gradients_path", str(alone / "weight_gradients.json")]) == 0
    summary = agent / "patching_results" / "cross_metric_summary.json"
    words = ["--cross_metric_path", str(summary), "--average_gradients_path", str(alone / "average_gradients.json")]
    assert extract.main(words) == 0
    assert (alone / "weight_gradients.json").read_bytes() == (together / "weight_gradients.json").read_bytes()
    one, other = read(alone / "average_gradients.json"), read(together / "average_gradients.json")
    assert set(other) - set(one) == {"average_margin_gradients"}
    for name, values in other["average_gradients"].items():
        assert np.allclose(values, one["average_gradients"][name], rtol=1e-6, atol=1e-9)
    chosen = [load_candidate_weights(folder / "candidate_weights.json") for folder in (alone, together)]
    places = [[(t["layer_name"], t["neuron_index"], t["weight_index"]) for t in c["weight_targets"]] for c in chosen]
    assert places[0] == places[1]
    assert len(places[0]) == 2 * 3 + 4
    magnitudes = [t["gradient_magnitude"] for t in chosen[1]["weight_targets"]]
    assert magnitudes == sorted(magnitudes, reverse=True)
    for target in chosen[1]["weight_targets"]:
        row = other["average_gradients"][target["layer_name"]][target["neuron_index"]]
        assert target["gradient_magnitude"] == row[target["weight_index"]]


def test_files_hold_the_published_keys(agent: Path) -> None:
    assert initial_test.main(["--agent_path", str(agent), "--quiet"]) == 0
    folder = agent / "gradient_analysis"
    weights = read(folder / "weight_gradients.json")
    assert list(weights) == list(read(agent / "activation_inputs" / "clean_inputs.json"))
    first = weights["env-0"]
    assert set(first) == {"max_logit_action", "max_logit_value", "gradients"}
    assert {name: np.shape(values) for name, values in first["gradients"].items()} == {
        "q_net.0.weight": (8, 4), "q_net.0.bias": (8,), "q_net.2.weight": (6, 8), "q_net.2.bias": (6,),
        "q_net.4.weight": (3, 6), "q_net.4.bias": (3,),
    }  # fmt: skip
    average_file = read(folder / "average_gradients.json")
    assert average_file["metadata"]["num_examples"] == 70
    mean = np.mean([np.abs(entry["gradients"]["q_net.2.weight"]) for entry in weights.values()], axis=0)
    assert np.allclose(average_file["average_gradients"]["q_net.2.weight"], mean, rtol=1e-6)
    assert set(read(folder / "candidate_weights.json")) == {
        "weight_targets", "metadata", "neuron_weights", "top_k_per_neuron", "additional_weights",
    }  # fmt: skip


def test_json_and_npz_hold_the_same_gradients(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gradients.main(["--agent_path", str(agent), "--format", "both"]) == 0
    folder = agent / "gradient_analysis"
    pairs = zip(
        load_weight_gradients(folder / "weight_gradients.json"),
        load_weight_gradients(folder / "weight_gradients.npz"),
        strict=True,
    )
    count = 0
    for one, other in pairs:
        count += 1
        assert (one.input_id, one.action, one.value) == (other.input_id, other.action, other.value)
        assert all(np.array_equal(one.gradients[name], other.gradients[name]) for name in other.gradients)
    assert count == 70
    for name in ("json", "npz"):
        assert average.main(["--gradients_path", str(folder / f"weight_gradients.{name}"), "--output_dir",
                             str(agent / name), "--quiet"]) == 0  # fmt: skip
    one, other = (read(agent / name / "average_gradients.json")["average_gradients"] for name in ("json", "npz"))
    assert one == other


@pytest.mark.parametrize("where", ["SaliencyTooling", ".", "elsewhere"])
def test_the_seeds_commands_run_from_anywhere(where: str, agent: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    folder = folder if where == "elsewhere" else ROOT / where
    place = ROOT / "SaliencyTooling" if where == "elsewhere" else Path("SaliencyTooling" if where == "." else "")
    out = tmp_path / "out"
    commands = [
        [place / "initial_test.py", "--agent_path", agent, "--k", "2", "--m", "4", "--device", "cpu"],
        [place / "InitialGradients" / "gradients.py", "--agent_path", agent, "--output_dir", out],
        [place / "InitialGradients" / "average.py", "--gradients_path", out / "weight_gradients.json",
         "--output_dir", out],
        [place / "InitialGradients" / "extract.py", "--cross_metric_path",
         agent / "patching_results" / "cross_metric_summary.json", "--average_gradients_path",
         out / "average_gradients.json"],
    ]  # fmt: skip
    for command in commands:
        run = subprocess.run(
            [sys.executable, *map(str, command)], cwd=folder, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        assert run.stderr.splitlines()[-1].startswith("next: ")


def test_an_mlp_needs_no_torch(agent: Path) -> None:
    code = (
        "import sys\nfrom SaliencyTooling import initial_test\n"
        "assert initial_test.main(['--agent_path', sys.argv[1], '--quiet']) == 0\n"
        "assert not {'torch', 'stable_baselines3', 'gymnasium', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(agent)], check=True, cwd=ROOT, capture_output=True)


def test_a_second_run_leaves_everything_and_another_is_refused(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--agent_path", str(agent)]
    assert initial_test.main(flags) == 0
    before = files_of(agent)
    capsys.readouterr()
    assert initial_test.main(flags) == 0
    assert capsys.readouterr().err.count("up to date, left as it is") == 3
    with reports(InputError, file="candidate_weights.json", problem=DIFFERENT_RUN):
        assert initial_test.main([*flags, "--k", "3"]) == 2
    assert files_of(agent) == before
    assert initial_test.main([*flags, "--k", "3", "--overwrite"]) == 0
    assert files_of(agent) != before


@pytest.mark.parametrize("score", ["margin", "weight_x_gradient"])
def test_other_scores_rank_by_what_they_say(score: str, agent: Path) -> None:
    assert initial_test.main(["--agent_path", str(agent), "--quiet", "--score", score, "--k", "1", "--m", "0"]) == 0
    folder = agent / "gradient_analysis"
    averages = read(folder / "average_gradients.json")
    from Neuron_Selection.PatchingTooling import OpenedAgent

    weights = OpenedAgent(agent).online_weights
    for target in load_candidate_weights(folder / "candidate_weights.json")["weight_targets"]:
        layer, neuron = target["layer_name"], target["neuron_index"]
        row = np.array(
            averages["average_margin_gradients" if score == "margin" else "average_gradients"][layer][neuron]
        )
        row = row if score == "margin" else row * np.abs(weights[layer][neuron].astype(float))
        assert target["weight_index"] == int(np.argmax(row))
        assert target["gradient_magnitude"] == pytest.approx(row.max())


FAULTS: dict[str, tuple[Any, list[str], Parts]] = {
    "E1 no summary": (
        lambda a: (a / "patching_results" / "cross_metric_summary.json").unlink(),
        [],
        parts(file="cross_metric_summary.json", problem="no such file"),
    ),
    "C1 no inputs": (
        lambda a: (a / "activation_inputs" / "clean_inputs.json").unlink(),
        [],
        parts(file="clean_inputs.json", problem=NO_SUCH_FILE),
    ),
    "E12 nothing asked for": (None, ["--k", "0", "--m", "0"], parts(flags=["--k", "--m"])),
    "E13 k negative": (None, ["--k", "-1"], parts(names=["--k", "'-1'"])),
    "E14 k no number": (None, ["--k", "2.5"], parts(names=["--k", "'2.5'"])),
    "E11 empty summary": (
        lambda a: (a / "patching_results" / "cross_metric_summary.json").write_text('{"common_neurons": {}}'),
        [],
        parts(file="cross_metric_summary.json", field="common_neurons", problem="contains no important neuron"),
    ),
    "E7 unknown layer": (
        lambda a: (a / "patching_results" / "cross_metric_summary.json").write_text(
            '{"common_neurons": {"q_net.8_neuron_1": {}}}'
        ),
        [],
        parts(
            file="cross_metric_summary.json",
            field="common_neurons.q_net.8_neuron_1",
            problem="layer 'q_net.8' has no weight matrix; layers that have one: q_net.0, q_net.2, q_net.4",
        ),
    ),
    "E6 other network": (
        lambda a: (a / "patching_results" / "cross_metric_summary.json").write_text(
            '{"common_neurons": {"exp_100_q_net.0": {}}}'
        ),
        [],
        parts(
            file="cross_metric_summary.json",
            field="common_neurons.exp_100_q_net.0",
            found="neuron 99",
            expected="0..7 in q_net.0",
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_to_the_pipeline(fault: str, agent: Path) -> None:
    spoil, more, error = FAULTS[fault]
    if spoil is not None:
        spoil(agent)
    before = files_of(agent)
    with reports(InputError if "file" in error else UsageError, **error):
        assert initial_test.main(["--agent_path", str(agent), *more]) == 2
    assert files_of(agent) == before
    assert not (agent / "gradient_analysis").exists()


def test_the_error_of_a_missing_step_names_the_command_that_writes_its_file(agent: Path) -> None:
    summary = str(agent / "patching_results" / "cross_metric_summary.json")
    missing = agent / "none.json"
    with reports(InputError, file=missing, problem="no such file", hint="gradients.py makes it"):
        assert average.main(["--gradients_path", str(missing)]) == 2
    with reports(InputError, file=missing, problem="no such file", hint="average.py makes it"):
        assert extract.main(["--cross_metric_path", summary, "--average_gradients_path", str(missing)]) == 2
    with reports(UsageError, flags=["--gradients_path", "--agent_path"], hint=re.compile("gradients.py .*")):
        assert average.main([]) == 2
    with reports(UsageError, flags=["--inputs", "--agent_path"]):
        assert average.main(["--gradients_path", "any.json", "--inputs", "clean_inputs.json"]) == 2


def test_k_beyond_the_row_takes_the_row_and_m_beyond_the_rest_the_rest(
    agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert initial_test.main(["--agent_path", str(agent), "--k", "6", "--m", "99"]) == 0
    metadata = load_candidate_weights(agent / "gradient_analysis" / "candidate_weights.json")["metadata"]
    assert metadata["guaranteed_per_neuron"] == 4 + 6 + 4
    assert metadata["additional_selected"] == 2
    assert "fewer additional weights than the 99 requested" in capsys.readouterr().out


def test_a_score_that_the_file_lacks_is_an_error(agent: Path) -> None:
    assert gradients.main(["--agent_path", str(agent), "--quiet"]) == 0
    path = agent / "gradient_analysis" / "weight_gradients.json"
    assert average.main(["--gradients_path", str(path), "--quiet"]) == 0
    words = ["--cross_metric_path", str(agent / "patching_results" / "cross_metric_summary.json"),
             "--average_gradients_path", str(path.with_name("average_gradients.json"))]  # fmt: skip
    averages, names = path.with_name("average_gradients.json"), ["--score margin", "average.py --agent_path"]
    with reports(InputError, file=averages, field="average_margin_gradients", names=names):
        assert extract.main([*words, "--score", "margin"]) == 2
    with reports(UsageError, flags=["--score", "--agent_path"], names=["weight_x_gradient"]):
        assert extract.main([*words, "--score", "weight_x_gradient"]) == 2
    assert extract.main([*words, "--score", "weight_x_gradient", "--agent_path", str(agent)]) == 0


def test_gradients_of_another_agent_are_refused(agent: Path, tmp_path: Path) -> None:
    assert gradients.main(["--agent_path", str(agent), "--quiet"]) == 0
    other = mlp_agent(tmp_path / "other", seed=1)
    shutil.copytree(agent / "activation_inputs", other / "activation_inputs")
    path = agent / "gradient_analysis" / "weight_gradients.json"
    with reports(InputError, file=path, field="weights_sha256", problem="the gradients belong to another agent"):
        assert average.main(["--agent_path", str(other), "--gradients_path", str(path)]) == 2


def test_from_extraction_to_candidates_each_output_is_the_next_input(agent: Path) -> None:
    """Extraction, gradients, averages and candidates on one folder; the sweep between them has tests of its own."""
    flags = ["--agent_path", str(agent), "--quiet"]
    assert activation_extraction.main(flags) == 0
    assert initial_test.main(flags) == 0
    assert load_candidate_weights(agent / "gradient_analysis" / "candidate_weights.json")["weight_targets"]
