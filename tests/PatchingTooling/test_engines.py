"""Two networks with one interface: the same answers; the output names the engine; numpy refuses what it cannot do."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

import activation_extraction
import activation_patching
from Neuron_Selection.errors import EngineError, UsageError
from Neuron_Selection.PatchingTooling import PatchingExperiment
from tests.conftest import ROOT
from tests.made_agents import mlp_agent, new_dqn, save_dqn
from tests.raised import raises, reports

EXAMPLE = ROOT / "examples" / "lava_crossing" / "agent"


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "agent"))


def run(agent: Path, engine: str, prefix: str, *words: str) -> dict:
    flags = ["--agent_path", str(agent), "--engine", engine, "--output_prefix", prefix, "--quiet", *words]
    assert activation_patching.main(flags) == 0
    return json.loads((agent / "patching_results" / f"{prefix}.json").read_text())


WORDS = {
    "patch": ["--direction", "denoising", "--patch_spec", "q_net.0:5,6,7;q_net.2:10,11"],
    "several layers": ["--direction", "noising", "--patch_spec", "q_net.0:0-63;q_net.3:1;q_net.1:3,100"],
    "mean": ["--target_input", "clean_inputs.json", "--ablate", "mean", "--patch_spec", "q_net.3:all"],
    "noise": ["--target_input", "clean_inputs.json", "--ablate", "noise", "--seed", "4", "--patch_spec", "q_net.0:0-9"],
}


@pytest.mark.parametrize("name", WORDS)
def test_both_engines_give_the_same_results(name: str, agent: Path) -> None:
    hooks, fast = (run(agent, engine, engine, *WORDS[name]) for engine in ("torch", "numpy"))
    assert list(hooks) == list(fast)
    largest = max(abs(q) for record in hooks.values() for q in record["patched_output"][0])
    for one, other in zip(hooks.values(), fast.values(), strict=True):
        for key in ("baseline_output", "patched_output"):
            assert np.abs(np.subtract(one[key], other[key])).max() <= 1e-5 * largest
        assert one["patched_action"] == other["patched_action"] or one["near_tie"]
        assert {site: counts["sites"] for site, counts in one["applied"].items()} == {
            site: counts["sites"] for site, counts in other["applied"].items()
        }
    meta = {e: json.loads((agent / "patching_results" / f"{e}.meta.json").read_text()) for e in ("torch", "numpy")}
    assert [meta[engine]["run"]["engine"] for engine in meta] == ["torch", "numpy"]
    assert meta["numpy"]["run"]["dtype"] == "float64"
    assert meta["numpy"]["self_checks"]["policy_action"].startswith("not applicable: the numpy engine builds no policy")
    assert meta["numpy"]["self_checks"]["hooks_fired"] == "not applicable: the numpy engine sets no hooks"
    assert meta["numpy"]["self_checks"]["self_patch"] == "passed"


def test_the_console_reports_which_engine_ran(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--agent_path", str(agent)]
    patching = [*words, "--direction", "noising", "--patch_spec", "q_net.0:1"]
    for engine, dtype in (("torch", "float32"), ("numpy", "float64")):
        for main, flags in ((activation_extraction.main, words), (activation_patching.main, patching)):
            assert main([*flags, "--engine", engine, "--overwrite"]) == 0
            assert f"engine: {engine}, {dtype}\n" in capsys.readouterr().err
            assert main([*flags, "--engine", engine, "--json"]) == 0
            reported = json.loads(capsys.readouterr().out)
            assert reported.get("engine", reported.get("runs", [{}])[0].get("engine")) == engine


def test_fast_equals_float64_hooks_to_twelve_digits(agent: Path) -> None:
    fast, hooks = PatchingExperiment(agent, engine="numpy"), PatchingExperiment(agent, dtype="float64")
    one, other = fast.activations("clean_inputs.json"), hooks.activations("clean_inputs.json")
    for layer in other:
        assert np.abs(one[layer] - other[layer]).max() <= 1e-12 * np.abs(other[layer]).max()
    assert one.keys() == other.keys()


def test_files_of_one_engine_are_taken_by_the_other(agent: Path) -> None:
    flags = ["--agent_path", str(agent), "--quiet"]
    assert activation_extraction.main([*flags, "--engine", "numpy"]) == 0
    with np.load(agent / "activation_logging" / "clean_activations.npz") as stored:
        kinds = {stored[key].dtype.name for key in stored.files if key != "__metadata__"}
    assert kinds == {"float32"}
    words = ["--target_input", "corrupted_inputs.json", "--source_activations", "clean_activations.npz"]
    hooks = run(agent, "torch", "one", *words, "--patch_spec", "q_net.2:all")
    assert sum(record["matches_source"] for record in hooks.values()) == 100


def test_a_fast_run_imports_neither_torch_nor_sb3(agent: Path) -> None:
    code = (
        "import sys, activation_extraction, activation_patching\n"
        "flags = ['--agent_path', sys.argv[1], '--engine', 'numpy', '--quiet']\n"
        "assert activation_extraction.main(flags) == 0\n"
        "assert activation_patching.main([*flags, '--target_input', 'corrupted_inputs.json', '--source_activations',\n"
        "    'clean_activations.npz', '--patch_spec', 'q_net.0:5,6,7']) == 0\n"
        "assert not {'torch', 'stable_baselines3', 'gymnasium', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(agent)], check=True, cwd=ROOT, capture_output=True)


def test_what_fast_cannot_compute_is_refused_by_naming_the_layer(tmp_path: Path) -> None:
    space = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    folder = save_dqn(tmp_path, new_dqn(space, policy="CnnPolicy"))
    words = ["--agent_path", str(folder), "--engine", "numpy", "--target_input", "x.json", "--ablate", "zero"]
    layer = "layer features_extractor.cnn.0"
    with reports(EngineError, file="engine numpy", field=layer, found="a convolution", expected=...):
        assert activation_patching.main([*words, "--patch_spec", "q_net.0:1"]) == 2


def test_fast_has_float64_on_the_cpu_only(tmp_path: Path) -> None:
    folder = mlp_agent(tmp_path)
    for more in ({"dtype": "float32"}, {"device": "cuda"}):
        with raises(EngineError, flags=["--engine"], names=["float64", "cpu"]):
            PatchingExperiment(folder, engine="numpy", **more)
    with raises(UsageError, field="engine", found="'jax'", expected="auto, numpy or torch"):
        PatchingExperiment(folder, engine="jax")
    assert PatchingExperiment(folder, engine="numpy").q_values(np.zeros((1, 4))).dtype == np.float64


def test_the_engines_have_their_names_of_version_0_1_0_as_well(agent: Path) -> None:
    for former, now in (("fast", "numpy"), ("hooks", "torch")):
        assert PatchingExperiment(agent, engine=former).engine == now
        run(agent, former, former, *WORDS["mean"])
        meta = json.loads((agent / "patching_results" / f"{former}.meta.json").read_text())
        assert meta["run"]["engine"] == now
