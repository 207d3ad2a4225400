"""Files of other runs, agents and inputs; devices; metadata."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from Neuron_Selection import __version__
from Neuron_Selection.errors import EngineError, InputError, MachineError, UsageError
from Neuron_Selection.FileFormats.weights.candidate_weights import load_candidate_weights
from Neuron_Selection.PatchingTooling import OpenedAgent
from SaliencyTooling import gradient_runs, initial_test
from SaliencyTooling.InitialGradients import average, extract, gradients
from tests.extractors import MinigridFeaturesExtractor, MlpOfDict
from tests.made_agents import mlp_agent, new_dqn, save_dqn, vector_space
from tests.raised import DIFFERENT_RUN, NO_SUCH_FILE, parts, reports

KEYS = {"exp_1_q_net.0": {"patch": {"q_net.0": [0]}}, "q_net.2_neuron_3": {}, "exp_2_q_net.0": {}}


def filled(folder: Path, keys: Any = None, *, width: int = 4) -> Path:
    for name in ("activation_inputs", "patching_results"):
        (folder / name).mkdir()
    random = np.random.default_rng(0)
    for name in ("clean", "other"):
        inputs = {f"env-{n}": {"input": random.normal(size=width).tolist()} for n in range(7)}
        (folder / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(inputs))
    (folder / "patching_results" / "cross_metric_summary.json").write_text(
        json.dumps({"common_neurons": KEYS if keys is None else keys})
    )
    (folder / "own.json").write_text(json.dumps([{"q_net.0": [0]}, {"q_net.0": [6]}]))
    return folder


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    return filled(mlp_agent(tmp_path / "agent"))


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def words_for(agent: Path, *more: str) -> list[str]:
    summary, folder = agent / "patching_results" / "cross_metric_summary.json", agent / "gradient_analysis"
    return [
        "--cross_metric_path", str(summary), "--average_gradients_path", str(folder / "average_gradients.json"), *more
    ]  # fmt: skip


def edit_candidates(agent: Path) -> None:
    path = agent / "gradient_analysis" / "candidate_weights.json"
    document = read(path)
    document["weight_targets"][0]["weight_index"] ^= 1
    path.write_text(json.dumps(document))


def edit_definitions(agent: Path) -> None:
    (agent / "own.json").write_text(json.dumps([{"q_net.0": [0]}, {"q_net.0": [5]}]))


def lengthen_definitions(agent: Path) -> None:
    (agent / "own.json").write_text(json.dumps([{"q_net.0": [0]}, {"q_net.0": [6]}, {"q_net.0": [1]}]))


@pytest.mark.parametrize("change", [edit_candidates, edit_definitions, lengthen_definitions])
def test_what_decides_the_candidates_decides_whether_they_are_up_to_date(
    change: Callable[[Path], None], agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--agent_path", str(agent), "--useful_neurons_path", "own.json"]
    assert initial_test.main(words) == 0
    assert initial_test.main(words) == 0
    assert capsys.readouterr().err.count("up to date") == 3
    run = read(agent / "gradient_analysis" / "candidate_weights.json")["metadata"]["run"]
    assert run["definitions_sha256"] == hashlib.sha256((agent / "own.json").read_bytes()).hexdigest()
    change(agent)
    before = files_of(agent)
    with reports(InputError, file="candidate_weights.json", problem=DIFFERENT_RUN):
        assert initial_test.main(words) == 2
    with reports(InputError, file="candidate_weights.json", problem=DIFFERENT_RUN):
        assert extract.main(words_for(agent, "--useful_neurons_path", "own.json")) == 2
    assert files_of(agent) == before
    assert initial_test.main([*words, "--overwrite"]) == 0


@pytest.mark.parametrize("score", ["gradient", "weight_x_gradient"])
def test_averages_of_another_agent_are_refused_and_the_agents_fingerprint_is_recorded(
    score: str, agent: Path, tmp_path: Path
) -> None:
    assert average.main(["--agent_path", str(agent), "--quiet"]) == 0
    other = filled(mlp_agent(tmp_path / "other", seed=1))
    words = words_for(agent, "--useful_neurons_path", "own.json", "--score", score)
    fingerprints = [OpenedAgent(one).agent_zip.weights_sha256[:12] for one in (agent, other)]
    with reports(InputError, file="average_gradients.json", field="metadata.run.weights_sha256", names=fingerprints):
        assert extract.main([*words, "--agent_path", str(other)]) == 2
    assert not (agent / "gradient_analysis" / "candidate_weights.json").exists()
    # published averages do not record their agent: the agent that provides the weights decides
    path = agent / "gradient_analysis" / "average_gradients.json"
    document = read(path)
    path.write_text(json.dumps({**document, "metadata": {"num_examples": 7}}))
    shutil.copy(agent / "own.json", other / "own.json")
    assert extract.main([*words, "--agent_path", str(agent)]) == 0
    run = load_candidate_weights(path.with_name("candidate_weights.json"))["metadata"]["run"]
    assert run["weights_sha256"] == OpenedAgent(agent).agent_zip.weights_sha256
    with reports(InputError, file="candidate_weights.json", problem=DIFFERENT_RUN):
        assert extract.main([*words, "--agent_path", str(other)]) == 2


@pytest.mark.parametrize("script", ["initial_test", "extract"])
def test_a_summary_of_another_agent_is_refused(script: str, agent: Path) -> None:
    path = agent / "patching_results" / "cross_metric_summary.json"
    metadata = {"format": 1, "run": {"weights_sha256": "0" * 64}}
    path.write_text(json.dumps({"common_neurons": {"q_net.2_neuron_3": {}}, "metadata": metadata}))
    if script == "extract":
        assert average.main(["--agent_path", str(agent), "--quiet"]) == 0
    before = files_of(agent)
    words = words_for(agent) if script == "extract" else ["--agent_path", str(agent)]
    with reports(InputError, file=path, field="weights_sha256", names=["(000000000000"]):
        assert (extract if script == "extract" else initial_test).main(words) == 2
    assert files_of(agent) == before


def other_averages(agent: Path) -> None:
    assert average.main(["--agent_path", str(agent), "--inputs", "other_inputs.json", "--quiet"]) == 0


def other_candidates(agent: Path) -> None:
    assert (
        initial_test.main(["--agent_path", str(agent), "--k", "1", "--quiet", "--useful_neurons_path", "own.json"]) == 0
    )
    for name in ("weight_gradients.json", "weight_gradients.meta.json", "average_gradients.json"):
        (agent / "gradient_analysis" / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "file"), [(other_averages, "average_gradients.json"), (other_candidates, "candidate_weights.json")]
)
def test_an_output_of_a_different_run_is_found_before_the_first_file_is_written(
    spoil: Callable[[Path], None], file: str, agent: Path
) -> None:
    spoil(agent)
    before = files_of(agent)
    with reports(InputError, file=file, problem=DIFFERENT_RUN):
        assert initial_test.main(["--agent_path", str(agent), "--useful_neurons_path", "own.json"]) == 2
    assert files_of(agent) == before


def test_the_error_for_a_neuron_of_a_normalisation_has_a_hint(tmp_path: Path) -> None:
    class Normed(MlpOfDict):
        def __init__(self, observation_space: spaces.Dict, features_dim: int = 8) -> None:
            super().__init__(observation_space, features_dim)
            self.mlp = nn.Sequential(self.mlp[0], nn.LayerNorm(features_dim), nn.ReLU())

    space = spaces.Dict({"MLP_input": vector_space(4)})
    model = new_dqn(space, policy="MultiInputPolicy", net_arch=[5], features_extractor_class=Normed)
    agent = filled(save_dqn(tmp_path / "agent", model), {"features_extractor.mlp.1_neuron_2": {}})
    file = tmp_path / "normed.py"
    file.write_text(
        "from torch import nn\nfrom tests.extractors import MlpOfDict\n\n\nclass Normed(MlpOfDict):\n"
        "    def __init__(self, observation_space, features_dim=8):\n"
        "        super().__init__(observation_space, features_dim)\n"
        "        self.mlp = nn.Sequential(self.mlp[0], nn.LayerNorm(features_dim), nn.ReLU())\n"
    )
    before = files_of(agent)
    error = parts(
        field="common_neurons.features_extractor.mlp.1_neuron_2",
        problem=re.compile("layer 'features_extractor.mlp.1' .*: features_extractor.mlp.0, q_net.0, q_net.2"),
        hint=re.compile("generate_definitions.py --layers .* run_experiments.py --definitions"),
    )
    with reports(InputError, file="cross_metric_summary.json", **error):
        assert initial_test.main(["--agent_path", str(agent), "--features_extractor", f"{file}:Normed"]) == 2
    assert files_of(agent) == before


@pytest.mark.parametrize("script", [gradients, average, initial_test])
def test_an_absent_device_is_never_silently_the_cpu(script: Any, agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = ["--agent_path", str(agent), *(["--useful_neurons_path", "own.json"] if script is initial_test else [])]
    before = files_of(agent)
    with reports(MachineError, names=["device cuda ", "0 CUDA devices"]):
        assert script.main([*words, "--device", "cuda"]) == 4
    assert files_of(agent) == before
    assert script.main([*words, "--quiet"]) == 0  # on the CPU; with its results there, an absent device is an error too
    with reports(MachineError, names=["device cuda ", "0 CUDA devices"]):
        assert script.main([*words, "--device", "cuda"]) == 4


def test_the_metadata_records_what_ran_and_where(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--agent_path", str(agent), "--quiet"]
    assert gradients.main([*words, "--device", "auto"]) == 0
    assert average.main(words) == 0
    for name in ("weight_gradients.meta.json", "average_gradients.json"):
        metadata = read(agent / "gradient_analysis" / name)
        metadata = metadata.get("metadata", metadata)
        run = metadata["run"]
        assert (run["gradients_by"], run["engine"], run["device"], run["dtype"]) == ("numpy", "numpy", "cpu", "float64")
        assert run["stored_dtype"] == "float32"
        assert set(metadata["libraries"]) == {"python", "numpy"}
    monkeypatch.setattr("Neuron_Selection.PatchingTooling.numpy_network.loading.build_numpy_network", refuse)
    assert gradients.main([*words, "--overwrite", "--device", "cpu"]) == 0
    metadata = read(agent / "gradient_analysis" / "weight_gradients.meta.json")
    run = metadata["run"]
    assert (run["gradients_by"], run["engine"], run["device"], run["dtype"]) == ("autograd", "torch", "cpu", "float32")
    assert {"torch", "stable-baselines3"} < set(metadata["libraries"])


def refuse(*_arguments: Any) -> Any:
    raise EngineError("no MLP")


@pytest.mark.parametrize(("kind", "announced"), [("json", True), ("npz", False), ("both", True)])
def test_much_text_is_announced_before_it_is_written(
    kind: str, *, announced: bool, agent: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--agent_path", str(agent), "--format", kind, "--overwrite"]
    assert gradients.main(words) == 0
    assert "warning: " not in capsys.readouterr().err
    monkeypatch.setattr(gradient_runs, "_LARGE_FILE", 10_000)
    weights = sum(array.size for array in OpenedAgent(agent).online_weights.values())
    assert gradients.main(words) == 0
    size = f"up to about 0.0 GB, {weights:,} gradients of 7 inputs (--format npz: 0.0 GB)\n"
    assert (f"warning: weight_gradients.json: {size}" in capsys.readouterr().err) == announced


@pytest.mark.parametrize("dead", [False, True])
def test_what_the_npz_would_save_is_what_it_saves(
    *, dead: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = new_dqn(vector_space(4), net_arch=[200, 200])
    if dead:  # a gradient of 0.0 and its comma are as short as four bytes
        model.policy.state_dict()["q_net.q_net.2.bias"].fill_(-1000.0)
    agent = filled(save_dqn(tmp_path / "agent", model))
    flags = ["--agent_path", str(agent), "--useful_neurons_path", "own.json"]
    both = ["--format", "both", "--output_dir", str(agent / "both"), "--quiet"]
    assert gradients.main([*flags[:2], *both]) == 0
    text, binary = ((agent / "both" / f"weight_gradients.{kind}").stat().st_size for kind in ("json", "npz"))
    share = 1 - binary / text
    assert share < 0.01 if dead else share > 0.5
    capsys.readouterr()
    assert gradients.main(flags[:2]) == 0
    assert initial_test.main(flags) == 0
    remarks = [line for line in capsys.readouterr().err.splitlines() if "--format npz would save" in line]
    assert len(remarks) == 2
    for line in remarks:
        if dead:
            assert line.endswith("would save no space here")
        else:
            percent = line.partition(" about ")[2].partition("% of it")[0]
            assert float(percent) / 100 == pytest.approx(share, abs=0.02)
    assert initial_test.main([*flags, "--format", "npz", "--overwrite"]) == 0
    assert "would save" not in capsys.readouterr().err


def test_every_file_records_the_suite_and_the_command(agent: Path) -> None:
    assert gradients.main(["--agent_path", str(agent), "--quiet"]) == 0
    folder = agent / "gradient_analysis"
    path = folder / "weight_gradients.json"
    assert average.main(["--gradients_path", str(path), "--quiet"]) == 0
    assert extract.main(words_for(agent, "--quiet", "--useful_neurons_path", "own.json")) == 0
    for name in ("average_gradients.json", "candidate_weights.json"):
        metadata = read(folder / name)["metadata"]
        assert metadata["suite_version"] == __version__
        assert set(metadata["libraries"]) == {"python", "numpy"}
        assert metadata["command"]["task"] == metadata["run"]["task"]
        assert metadata["run"]["weights_sha256"] == OpenedAgent(agent).agent_zip.weights_sha256
    assert read(folder / "average_gradients.json")["metadata"]["command"]["gradients_path"] == str(path)


def test_magnitudes_and_margins_of_one_file_are_at_the_same_inputs(agent: Path) -> None:
    assert gradients.main(["--agent_path", str(agent), "--quiet"]) == 0
    words = ["--agent_path", str(agent), "--gradients_path", "weight_gradients.json"]
    found, expected = (re.compile(f"'{name}_inputs.json' [(][0-9a-f]{{12}}[)]") for name in ("clean", "other"))
    with reports(InputError, file="weight_gradients.json", field="inputs", found=found, expected=expected):
        assert average.main([*words, "--inputs", "other_inputs.json"]) == 2
    path = agent / "gradient_analysis" / "average_gradients.json"
    assert not path.exists()
    assert average.main(words) == 0
    run = read(path)["metadata"]["run"]
    assert run["inputs"] == run["gradients_inputs"]
    assert len(run["gradients_sha256"]) == 64
    (agent / "gradient_analysis" / "weight_gradients.meta.json").unlink()  # published gradients record no inputs
    assert average.main([*words, "--inputs", "other_inputs.json", "--overwrite"]) == 0
    assert read(path)["metadata"]["run"]["gradients_inputs"] is None


@pytest.mark.parametrize("words", [[], ["--agent_path"]])
def test_one_action_has_no_margin(words: list[str], tmp_path: Path) -> None:
    agent = filled(mlp_agent(tmp_path / "agent", n_actions=1), {"q_net.2_neuron_3": {}})
    error = parts(flags=["--score"], names=["--score margin", "one action"])
    with reports(UsageError, **error):
        assert initial_test.main(["--agent_path", str(agent), "--score", "margin"]) == 2
    assert not (agent / "gradient_analysis").exists()
    assert average.main(["--agent_path", str(agent), "--quiet"]) == 0
    more = [*words, str(agent)] if words else []
    with reports(UsageError, **error):
        assert extract.main(words_for(agent, "--score", "margin", *more)) == 2


def test_a_row_shorter_than_k_is_selected_whole_and_reported(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--agent_path", str(agent), "--useful_neurons_path", "own.json", "--m", "0"]
    assert initial_test.main([*words, "--k", "5"]) == 0
    assert "rows of fewer than 5 weights are selected whole" in capsys.readouterr().out
    assert initial_test.main([*words, "--k", "4", "--overwrite"]) == 0
    assert "selected whole" not in capsys.readouterr().out


@pytest.mark.parametrize("by", ["initial_test", "extract", "extract with its agent"])
def test_a_bare_definitions_file_is_looked_for_in_the_agents_folder_first(
    by: str, agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "own.json").write_text(json.dumps([{"q_net.0": [0]}, {"q_net.0": [2]}]))
    monkeypatch.chdir(elsewhere)
    if by == "initial_test":
        assert initial_test.main(["--agent_path", str(agent), "--useful_neurons_path", "own.json"]) == 0
    else:
        assert average.main(["--agent_path", str(agent), "--quiet"]) == 0
        more = ["--agent_path", str(agent)] if by.endswith("agent") else []
        assert extract.main(words_for(agent, "--useful_neurons_path", "own.json", *more)) == 0
    assert "warning: own.json: is in " in capsys.readouterr().err
    chosen = load_candidate_weights(agent / "gradient_analysis" / "candidate_weights.json")["neuron_weights"]
    assert chosen["exp_2_q_net.0"]["neuron_index"] == 6


def test_bare_names_are_looked_for_in_the_agents_folder_first(
    agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "cross_metric_summary.json").write_text(json.dumps({"common_neurons": {"q_net.0_neuron_1": {}}}))
    monkeypatch.chdir(elsewhere)
    of_agent = ["--agent_path", str(agent), "--useful_neurons_path", "own.json", "--quiet"]
    bare = ["--cross_metric_path", "cross_metric_summary.json", "--average_gradients_path", "average_gradients.json"]
    with reports(InputError, file="weight_gradients.json", problem=NO_SUCH_FILE, hint="gradients.py makes it"):
        assert average.main([*of_agent[:2], "--gradients_path", "weight_gradients.json"]) == 2
    with reports(InputError, file="average_gradients.json", problem=NO_SUCH_FILE, hint="average.py makes it"):
        assert extract.main([*bare, *of_agent]) == 2
    assert gradients.main([*of_agent[:2], "--quiet"]) == 0
    assert average.main([*of_agent[:2], "--gradients_path", "weight_gradients.json", "--quiet"]) == 0
    capsys.readouterr()
    assert extract.main([*bare, *of_agent[:-1]]) == 0
    assert "warning: cross_metric_summary.json: is in " in capsys.readouterr().err
    chosen = load_candidate_weights(agent / "gradient_analysis" / "candidate_weights.json")["neuron_weights"]
    assert set(chosen) == set(KEYS)
    (agent / "patching_results" / "cross_metric_summary.json").unlink()
    (elsewhere / "cross_metric_summary.json").unlink()
    hint = "analyze_metrics.py makes it"
    with reports(InputError, file="cross_metric_summary.json", problem=NO_SUCH_FILE, hint=hint):
        assert extract.main([*bare, *of_agent]) == 2


def test_weights_of_a_custom_agent_are_data_and_need_no_class(tmp_path: Path) -> None:
    image = spaces.Box(0, 255, (3, 7, 7), np.uint8)
    model = new_dqn(image, policy="CnnPolicy", net_arch=[5], features_extractor_class=MinigridFeaturesExtractor)
    agent = save_dqn(tmp_path / "agent", model)
    for name in ("activation_inputs", "patching_results"):
        (agent / name).mkdir()
    inputs = {"a": {"input": np.full((3, 7, 7), 9).tolist()}}
    (agent / "activation_inputs" / "clean_inputs.json").write_text(json.dumps(inputs))
    keys = {"common_neurons": {"q_net.0_neuron_1": {}}}
    (agent / "patching_results" / "cross_metric_summary.json").write_text(json.dumps(keys))
    trust = ["--trust", "tests.extractors.MinigridFeaturesExtractor"]
    assert average.main(["--agent_path", str(agent), "--quiet", *trust]) == 0
    assert extract.main(words_for(agent, "--score", "weight_x_gradient", "--agent_path", str(agent))) == 0


@pytest.mark.parametrize("kinds", ["json", "both"])
def test_gradients_that_were_interrupted_are_made_by_the_same_command(
    kinds: str, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--agent_path", str(agent), "--format", kinds, "--quiet"]
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if Path(target).name == "weight_gradients.json":
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        assert gradients.main(words) == 130
    assert "weight_gradients.json" not in {path.name for path in (agent / "gradient_analysis").iterdir()}
    assert gradients.main(words) == 0
    interrupted = files_of(agent)
    assert gradients.main([*words, "--overwrite"]) == 0
    assert files_of(agent) == interrupted
