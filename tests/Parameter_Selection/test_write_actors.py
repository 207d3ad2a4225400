"""Edited actors and quantile networks: their own libraries load them, with the scores that the suite predicts."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from Neuron_Selection.PatchingTooling import OpenedAgent
from Parameter_Selection.PerturbationTooling import write_agent
from Parameter_Selection.PerturbationTooling.weights.agent_edits import edits_from
from tests.made_actors import new_agent, samples, save_agent
from tests.PatchingTooling.test_actors import scores_of_sb3

pytestmark = pytest.mark.filterwarnings("ignore:.*trained with action masks")
EDITS = {
    "PPO": "mlp_extractor.policy_net.0.weight[3,2]=0.75; action_net.weight[1,5]=-0.5",
    "TRPO": "mlp_extractor.policy_net.2.weight[3,2]=0.75",
    "MaskablePPO": "action_net.weight[1,5]=-0.5",
    "PPO, CNN": "features_extractor.cnn.0.weight[3,2]=0.75; action_net.weight[1,5]=-0.5",
    "PPO, CNN, two extractors": "features_extractor.cnn.0.weight[3,2]=0.75",
    "QR-DQN": "quantile_net.0.weight[3,2]=0.75; quantile_net.4.weight[20,6]=-0.5",
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_agent_loads_and_gives_the_predicted_scores(name: str, tmp_path: Path) -> None:
    model = new_agent(name)
    folder, output, restored = save_agent(tmp_path / "agent", model), tmp_path / "edited.zip", tmp_path / "restored.zip"
    words = ["--edits", EDITS[name], "--output", str(output)]
    assert write_agent.main(["--agent_path", str(folder), *words]) == 0
    opened = OpenedAgent(folder, engine="torch")
    inputs = opened.inputs(samples(model.observation_space, count=64))
    with opened.network.with_weights(edits_from(EDITS[name], opened)) as edited:
        predicted = edited.scores(inputs.observations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = type(model).load(output, device="cpu")
    loaded.policy.set_training_mode(False)
    assert np.array_equal(scores_of_sb3(loaded, inputs.observations), predicted)
    assert np.abs(predicted - opened.q_values(inputs)).max() > 1e-5
    assert np.array_equal(OpenedAgent(output, engine="torch").q_values(inputs), predicted)
    inverse = ["--edits", str(tmp_path / "edited.inverse.json"), "--output", str(restored)]
    assert write_agent.main(["--agent_path", str(output), *inverse]) == 0
    hashes = [OpenedAgent(path).agent_zip.weights_sha256 for path in (folder, output, restored)]
    assert hashes[0] == hashes[2] != hashes[1]


def test_a_shared_features_extractor_is_edited_under_all_its_names(tmp_path: Path) -> None:
    folder, output = save_agent(tmp_path / "agent", new_agent("PPO, CNN")), tmp_path / "edited.zip"
    words = ["--edits", EDITS["PPO, CNN"], "--output", str(output)]
    assert write_agent.main(["--agent_path", str(folder), *words]) == 0
    before, after = OpenedAgent(folder).agent_zip.tensors, OpenedAgent(output).agent_zip.tensors
    changed = {tensor for tensor in before if not np.array_equal(before[tensor], after[tensor])}
    extractors = ("features_extractor", "pi_features_extractor", "vf_features_extractor")
    assert changed == {"action_net.weight", *(f"{extractor}.cnn.0.weight" for extractor in extractors)}
