"""``--vecnormalize``: the decisions of an agent trained with VecNormalize, from raw observations."""

from __future__ import annotations

import argparse
import json
import pickle
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecNormalize

from Neuron_Selection import inspect_agent
from Neuron_Selection.errors import InputError, SuiteWarning, UntrustedError
from Neuron_Selection.FileFormats.activations import load_activations, stored_npz_metadata
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of
from Neuron_Selection.next_command import loading_of, next_command
from Neuron_Selection.PatchingTooling import PatchingExperiment, open_agent
from SaliencyTooling.gradient_runs import average_gradients, compute_gradients
from tests.conftest import ROOT
from tests.in_process import Completed, in_process
from tests.made_actors import IMAGE, new_agent, save_agent
from tests.made_agents import new_dqn, save_dqn, vector_space
from tests.made_normalizers import new_normalizer, saved
from tests.raised import DIFFERENT_RUN, NO_SUCH_FILE, parts, raises, reports

NAME = "vecnormalize.pkl"
FLIPS = str(ROOT / "Parameter_Selection" / "PerturbationTooling" / "find_smallest_flips.py")
DIFFERENCES = str(ROOT / "Neuron_Selection" / "find_different_neurons.py")
EXTRACTION = str(ROOT / "activation_extraction.py")
RAW = np.random.default_rng(1).normal(3, 3, (9, 5)).astype(np.float32)


def greedy(experiment: PatchingExperiment, inputs: Any) -> list[int]:
    return experiment.q_values(inputs).argmax(axis=1).tolist()


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """A PPO agent with its vecnormalize.pkl and inputs."""
    folder = save_agent(tmp_path / "agent", new_agent("PPO"))
    saved(new_normalizer(vector_space(5), clip_obs=1.5), folder / NAME)
    (folder / "activation_inputs").mkdir()
    inputs = {f"id-{number}": {"input": row.tolist()} for number, row in enumerate(RAW)}
    (folder / "activation_inputs" / "clean_inputs.json").write_text(json.dumps(inputs))
    return folder


def normalizer_of(folder: Path) -> VecNormalize:
    normalizer: VecNormalize = pickle.loads((folder / NAME).read_bytes())
    return normalizer


# ---------------------------------------------------------------- decisions


@pytest.mark.parametrize("engine", ["torch", "numpy"])
def test_raw_observations_give_the_decisions_of_stable_baselines3(agent: Path, engine: str) -> None:
    normal = normalizer_of(agent).normalize_obs(RAW)
    experiment = PatchingExperiment(agent, engine=engine, vecnormalize=NAME)
    assert experiment.inputs(RAW).observations.tobytes() == normal.tobytes()
    assert greedy(experiment, RAW) == new_agent("PPO").predict(normal, deterministic=True)[0].tolist()
    with pytest.warns(SuiteWarning, match="trained with VecNormalize"):
        without = PatchingExperiment(agent, engine=engine)
    assert experiment.q_values(RAW).tobytes() == without.q_values(normal).tobytes()
    assert greedy(experiment, RAW) != greedy(without, RAW)
    assert experiment.q_values("clean_inputs.json").tobytes() == experiment.q_values(RAW).tobytes()
    once = experiment.inputs(RAW)
    assert experiment.inputs(once) is once  # normalised already


@pytest.mark.parametrize("keys", [None, ["vector"]])
def test_of_a_dict_the_keys_of_the_file_are_normalised(tmp_path: Path, keys: list[str] | None) -> None:
    space = spaces.Dict({"grid": spaces.Box(-9, 9, (2, 2), np.int16), "vector": vector_space(3)})
    normalizer = new_normalizer(space, norm_obs_keys=keys)
    model = new_dqn(space, policy="MultiInputPolicy", net_arch=[7])
    folder = save_dqn(tmp_path / "agent", model)
    saved(normalizer, folder / NAME)
    space.seed(0)
    rows = [space.sample() for _ in range(8)]
    normal = normalizer.normalize_obs({key: np.stack([row[key] for row in rows]) for key in space.spaces})
    experiment = PatchingExperiment(folder, vecnormalize=NAME)
    inputs = {str(number): row for number, row in enumerate(rows)}
    assert greedy(experiment, inputs) == model.predict(normal, deterministic=True)[0].tolist()


@pytest.mark.parametrize("space", [IMAGE, None])
def test_images_are_normalised_too(tmp_path: Path, space: spaces.Box | None) -> None:
    """Of an agent with the float32 space that Stable-Baselines3 makes today (None), and with the uint8 space of old."""
    normalizer = new_normalizer(IMAGE)
    settings = {} if space else {"normalize_images": False}
    model = new_dqn(space or normalizer.observation_space, policy="CnnPolicy", **settings)
    folder = save_dqn(tmp_path / "agent", model)
    saved(normalizer, folder / NAME)
    pixels = np.random.default_rng(0).integers(0, 256, (6, *IMAGE.shape), np.uint8)
    experiment = PatchingExperiment(folder, vecnormalize=NAME)
    normal = normalizer.normalize_obs(pixels)
    assert np.asarray(experiment.inputs(pixels).observations).tobytes() == normal.tobytes()  # and nothing warns
    assert greedy(experiment, pixels) == model.predict(normal, deterministic=True)[0].tolist()


def test_bounds_are_those_of_raw_observations(agent: Path) -> None:
    experiment = PatchingExperiment(agent, vecnormalize=NAME)
    normalizer = new_normalizer(vector_space(5), clip_obs=1e6)
    normalizer.obs_rms.var[:] = 1e-6
    saved(normalizer, agent / NAME)
    beyond = PatchingExperiment(agent, vecnormalize=NAME)
    assert np.abs(beyond.inputs(RAW).observations).max() > 1000  # normalised values outside of the space: no warning
    with pytest.warns(SuiteWarning, match="1 inputs are outside the observation space's bounds"):
        experiment.inputs(np.full((1, 5), 11.0, np.float32))


def test_a_published_agent_decides_on_raw_observations(published_agents: Path) -> None:
    folder = published_agents / "a2c-Acrobot-v1"
    experiment = PatchingExperiment(folder, vecnormalize=NAME)
    known = experiment.normalizer
    assert known is not None
    statistics = known.statistics[""]
    random = np.random.default_rng(0)
    raw = random.uniform([-1, -1, -1, -1, -4, -9], [1, 1, 1, 1, 4, 9], (70, 6)).astype(np.float32)
    normalizer = new_normalizer(spaces.Box(-30, 30, (6,), np.float32))
    normalizer.obs_rms.mean, normalizer.obs_rms.var = statistics.mean, statistics.variance
    normal = normalizer.normalize_obs(raw)
    expected = experiment.torch_network.policy.predict(normal, deterministic=True)[0]
    assert greedy(experiment, raw) == expected.tolist()
    assert greedy(experiment, raw) != experiment.torch_network.policy.predict(raw, deterministic=True)[0].tolist()


# ---------------------------------------------------------------- which file


def test_the_file_is_looked_up_in_the_agent_folder_and_in_the_working_directory(
    agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (agent / "CartPole-v1").mkdir()
    shutil.copy(agent / NAME, agent / "CartPole-v1" / NAME)
    (agent / NAME).rename(agent.parent / "here.pkl")
    monkeypatch.chdir(agent.parent)
    for name in ("here.pkl", "./here.pkl", agent.parent / "here.pkl", f"CartPole-v1/{NAME}"):
        assert PatchingExperiment(agent, vecnormalize=name).normalizer is not None
    with raises(InputError, file="other.pkl", problem=NO_SUCH_FILE):
        PatchingExperiment(agent, vecnormalize="other.pkl")
    with raises(InputError, file="other.pkl", problem="no such file"):
        PatchingExperiment(agent, vecnormalize="no/other.pkl")


def test_statistics_of_another_agent_are_refused(agent: Path) -> None:
    saved(new_normalizer(vector_space(4)), agent / NAME)
    with raises(
        InputError,
        file="vecnormalize.pkl",
        field="obs_rms.mean",
        found="shape (4,)",
        expected="(5,), as in the agent's observation space",
    ):
        open_agent(agent, vecnormalize=NAME)


# ---------------------------------------------------------------- metadata and commands


def test_metadata_record_the_file_only_if_it_is_used(agent: Path) -> None:
    experiment = PatchingExperiment(agent, vecnormalize=NAME)
    with_it = experiment.metadata({"task": "x"}, command={})
    assert experiment.normalizer is not None
    assert with_it["run"].pop("vecnormalize") == {"file": NAME, "sha256": experiment.normalizer.sha256}
    assert with_it["command"].pop("vecnormalize") == NAME
    with pytest.warns(SuiteWarning, match="trained with VecNormalize"):
        assert PatchingExperiment(agent).metadata({"task": "x"}, command={}) == with_it


def test_inspection_describes_the_statistics_and_whether_they_are_used(
    agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def described(*words: str) -> dict[str, Any]:
        assert inspect_agent.main([str(agent), *words, "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)["vecnormalize"]
        return found

    settings = {"norm_obs": True, "keys": None, "epsilon": 1e-8, "clip_obs": 1.5}
    used, stored = described("--vecnormalize", NAME), described()
    assert (used.pop("used"), stored.pop("used")) == (True, False)
    assert used == stored == {"file": str(agent / NAME), "sha256": sha256_of((agent / NAME).read_bytes()), **settings}
    assert inspect_agent.main([str(agent)]) == 0
    assert f"vecnormalize: {agent / NAME}, not used" in capsys.readouterr().out
    (agent / NAME).write_bytes(b"cos\nsystem\n(Vtouch here\ntR.")
    assert described().keys() == {"file", "used", "problem"}
    (agent / NAME).unlink()
    assert inspect_agent.main([str(agent), "--json"]) == 0
    assert "vecnormalize" not in json.loads(capsys.readouterr().out)


def test_next_commands_repeat_the_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    loading = argparse.Namespace(trust=None, vecnormalize="my norm.pkl")
    for known in (loading, loading_of({"vecnormalize": "my norm.pkl"})):
        assert shlex.split(next_command("x.py", loading=known))[2:] == ["--vecnormalize", "my norm.pkl"]
    monkeypatch.setenv("AGENT_FLAGS", "--vecnormalize 'my norm.pkl'")
    assert shlex.split(next_command("x.py", loading=loading))[2:] == []


def test_activations_recorded_without_it_are_reported(agent: Path) -> None:
    assert extraction(agent, "--vecnormalize", NAME).returncode == 0
    patch = ("clean_inputs.json", "clean_activations.npz", "mlp_extractor.policy_net.0:1")
    PatchingExperiment(agent, vecnormalize=NAME).run_patching_experiment(*patch)  # and nothing warns
    with pytest.warns(SuiteWarning, match="trained with"):
        without = PatchingExperiment(agent)
    with pytest.warns(SuiteWarning, match=r"recorded with --vecnormalize \(SHA-256 .*\), unlike this run"):
        without.run_patching_experiment(*patch)
    place = agent / "activation_logging"
    (place / "clean_activations.npz").rename(place / "normalised.npz")
    extraction(agent, "--overwrite")
    done = in_process([DIFFERENCES, "--agent_path", str(agent), "--clean", "normalised.npz", "--corrupted",
                       "clean_activations.npz", "--vecnormalize", NAME])  # fmt: skip
    assert done.returncode == 0
    assert "recorded with different normalisation of observations" in done.stderr


def test_gradients_with_and_without_it_are_not_averaged_together(agent: Path) -> None:
    opened = open_agent(agent, vecnormalize=NAME)
    files = compute_gradients(opened).files
    average_gradients(opened, gradients_path=files[0])
    with pytest.warns(SuiteWarning, match="trained with"):
        without = open_agent(agent)
    with raises(InputError, file="weight_gradients.json", field="vecnormalize", problem=...):
        average_gradients(without, gradients_path=files[0], overwrite=True)


# ---------------------------------------------------------------- scripts


def extraction(agent: Path, *words: str) -> Completed:
    return in_process([EXTRACTION, "--agent_path", str(agent), *words], cwd=agent.parent)


def test_a_payload_ends_with_exit_code_3_and_runs_nothing(agent: Path) -> None:
    marker = agent / "marker"
    (agent / NAME).write_bytes(f"cos\nsystem\n(Vtouch {marker}\ntR.".encode())
    error = parts(file=NAME, found="a call of 'os.system'", expected="a VecNormalize saved by Stable-Baselines3")
    with reports(UntrustedError, **error):
        assert extraction(agent, "--vecnormalize", NAME).returncode == 3
    assert not marker.exists()
    assert not (agent / "activation_logging").exists()
    flips = [FLIPS, "--agent_path", str(agent), "--vecnormalize", NAME, "--weights", "mlp_extractor.policy_net.0[0,0]"]
    with reports(UntrustedError, **error):
        assert in_process(flips, cwd=agent.parent).returncode == 3
    assert not marker.exists()


@pytest.mark.parametrize("words", [["--vecnormalize", NAME], []])
def test_activation_extraction_normalises_raw_inputs(
    agent: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = agent / "activation_logging" / "clean_activations.npz"
    plain = extraction(agent)
    assert f"{NAME}: trained with VecNormalize; inputs must be normalised observations, unless" in plain.stderr
    before = path.read_bytes()
    if not words:
        monkeypatch.setenv("AGENT_FLAGS", f"--vecnormalize {NAME}")
    with reports(InputError, file=path, problem=DIFFERENT_RUN):
        assert extraction(agent, *words).returncode == 2
    done = extraction(agent, *words, "--overwrite")
    assert done.returncode == 0
    assert "VecNormalize" not in done.stderr
    assert ("--vecnormalize" in done.stdout + done.stderr) is bool(words)  # in the next command
    metadata = stored_npz_metadata(path)
    assert metadata is not None
    assert metadata["run"]["vecnormalize"]["file"] == metadata["command"]["vecnormalize"] == NAME
    layer = "mlp_extractor.policy_net.0"
    normal = normalizer_of(agent).normalize_obs(RAW)
    weight, bias = (PatchingExperiment(agent, vecnormalize=NAME).online_weights[f"{layer}.{part}"]
                    for part in ("weight", "bias"))  # fmt: skip
    recorded = load_activations(path, {layer: layer}).values[layer]
    np.testing.assert_allclose(recorded, normal @ weight.T + bias, rtol=1e-5, atol=1e-5)
    assert "up to date" in extraction(agent, *words).stderr
    monkeypatch.delenv("AGENT_FLAGS", raising=False)
    assert extraction(agent, "--overwrite").returncode == 0
    assert path.read_bytes() == before  # outputs without the flag do not change
