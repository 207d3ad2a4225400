"""Commands that saliency and perturbation scripts print as the next step: each can be pasted into a shell and runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from torch import nn

from tests.conftest import ROOT
from tests.extractors import MinigridFeaturesExtractor
from tests.in_process import in_process, typed
from tests.made_agents import mlp_agent, new_dqn, save_dqn

PERTURBATION = ROOT / "Parameter_Selection" / "PerturbationTooling"
SALIENCY = ROOT / "SaliencyTooling"


def run(command: str, folder: Path, *, process: bool = False) -> str:
    """The stderr of a command that succeeds."""
    done = typed(command, folder, process=process)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stderr


def following(stderr: str) -> str:
    """The command that the last line names."""
    line = stderr.splitlines()[-1]
    assert line.startswith(("next: python ", "back again: python ")), line
    assert "<" not in line
    return line.partition(": ")[2]


def scripts_from(command: str, folder: Path, *, process: bool = False) -> list[str]:
    """The command, then whatever each names, until an edited agent was turned back: the scripts that ran."""
    ran: list[str] = []
    while not ran or ran[-1:] != ["write_agent"] or ran[-2:-1] != ["write_agent"]:
        ran.append(re.findall(r"(\w+)\.py", command)[0])
        command = following(run(command, folder, process=process))
    return ran


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example agent, swept and analysed, in a folder whose name has to be quoted."""
    folder = tmp_path_factory.mktemp("next") / "it's a folder"
    agent = Path(shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", folder / "my agent"))
    for script in ("ExperimentTooling/run_experiments.py", "AnalysisTooling/analyze_metrics.py"):
        words = [str(ROOT / "Neuron_Selection" / script), "--agent_path", str(agent), "--quiet"]
        assert in_process(words).returncode == 0
    return folder


CHAIN = ["perturb_weights", "find_smallest_flips", "write_agent", "write_agent"]


@pytest.mark.parametrize("where", ["outside", "inside", "step by step"])
def test_from_gradients_to_an_agent_and_back_every_next_command_runs(where: str, example: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(example, tmp_path / "a b"))
    folder_of_user, agent = {
        "outside": (folder, "'my agent'"),
        "inside": (folder / "my agent", "."),
        "step by step": (folder, "'my agent'"),
    }[where]
    if where == "step by step":
        command = f"python {SALIENCY}/InitialGradients/gradients.py --agent_path {agent} --format npz"
        assert scripts_from(command, folder_of_user) == ["gradients", "average", "extract", *CHAIN]
    else:
        command = f"python {SALIENCY}/initial_test.py --agent_path {agent} --format npz"
        assert scripts_from(command, folder_of_user, process=where == "outside") == ["initial_test", *CHAIN]
        assert {path.name for path in folder_of_user.glob("*.zip")} - {"agent.zip"} == {
            "edited.zip", "edited_restored.zip",
        }  # fmt: skip


def test_without_an_agent_the_next_command_has_a_placeholder_for_it(example: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(example, tmp_path / "a b"))
    run(f"python {SALIENCY}/InitialGradients/gradients.py --agent_path 'my agent' --format npz", folder)
    path = "'my agent/gradient_analysis/weight_gradients.npz'"
    command = following(run(f"python {SALIENCY}/InitialGradients/average.py --gradients_path {path}", folder))
    assert "--agent_path AGENT_FOLDER" in command
    command = command.replace("AGENT_FOLDER", "'my agent'")
    assert "perturb_weights.py" in following(run(command, folder))


def test_from_inside_the_project_the_script_is_named_from_there(example: Path) -> None:
    agent = f"--agent_path '{str(example / 'my agent').replace(chr(39), chr(39) + chr(92) + chr(39) + chr(39))}'"
    script = "../Parameter_Selection/PerturbationTooling/perturb_weights.py"
    stderr = run(f"python {script} {agent} --weights 'q_net.0.weight[1,2]' --values 0 --control_sets 0", SALIENCY)
    command = following(stderr)
    assert command.startswith("python ../Parameter_Selection/PerturbationTooling/write_agent.py ")
    assert "--edits 'q_net.0.weight[1,2]=" in command


def with_inputs(agent: Path, rows: list[object]) -> Path:
    (agent / "activation_inputs").mkdir()
    inputs = {f"id-{n}": {"input": row} for n, row in enumerate(rows)}
    for name in ("clean", "own"):
        (agent / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(inputs))
    return agent


def test_after_weights_by_hand_the_strongest_change_is_written(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(5, 4)).tolist()
    with_inputs(mlp_agent(tmp_path / "agent", activation_fn=nn.Tanh), rows)
    words = "--agent_path agent --weights 'q_net.0.weight[1,2];q_net.4.weight[0,3]' --values 0 9 --control_sets 0"
    ran = scripts_from(f"python {PERTURBATION}/perturb_weights.py {words}", tmp_path)
    assert ran == ["perturb_weights", "write_agent", "write_agent"]
    strongest = json.loads((tmp_path / "agent" / "perturbation_results" / "results.json").read_text())["summary"]
    (edit,) = json.loads((tmp_path / "edited.edits.json").read_text())["edits"]
    target = f"{edit['layer_name']}[{edit['neuron_index']},{edit['weight_index']}]"
    assert (target, edit["value"]) == (strongest["strongest"]["target"], strongest["strongest"]["weight_after"])


def test_the_flags_that_load_a_custom_agent_are_repeated_to_the_end(tmp_path: Path) -> None:
    image = spaces.Box(0, 255, (3, 7, 7), np.uint8)
    model = new_dqn(image, policy="CnnPolicy", net_arch=[5], features_extractor_class=MinigridFeaturesExtractor)
    agent = save_dqn(tmp_path / "agent", model)
    random = np.random.default_rng(0)
    with_inputs(agent, random.integers(0, 256, (3, 3, 7, 7)).tolist())
    (agent / "patching_results").mkdir()
    keys = {"common_neurons": {"features_extractor.cnn.0_neuron_1": {}}}
    (agent / "patching_results" / "cross_metric_summary.json").write_text(json.dumps(keys))
    trust = f"--features_extractor '{ROOT}/tests/extractors.py:MinigridFeaturesExtractor'"
    command = f"python {SALIENCY}/InitialGradients/gradients.py --agent_path agent {trust}"
    ran = scripts_from(command, tmp_path)
    assert ran == ["gradients", "average", "extract", "perturb_weights", "write_agent", "write_agent"]
