"""Custom classes while they run: what they print, raise, and draw at random."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from Neuron_Selection import inspect_agent
from Neuron_Selection.errors import InputError
from Neuron_Selection.PatchingTooling import PatchingExperiment
from tests import extractors
from tests.made_agents import new_dqn, save_dqn, vector_space
from tests.PatchingTooling.agent.test_custom_classes import FILE, cnn_agent, images, sb3_answer
from tests.raised import Parts, parts, raises


def test_what_a_custom_class_prints_stays_out_of_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = cnn_agent(tmp_path)
    talking = tmp_path / "talking.py"
    talking.write_text(FILE.read_text().replace("        self.cnn =", "        print('talk')\n        self.cnn ="))
    copy = f"{talking}:MinigridFeaturesExtractor"
    assert inspect_agent.main([str(folder), "--features_extractor", copy, "--json"]) == 0
    reported = capsys.readouterr()
    assert json.loads(reported.out)["loads"] is True
    assert "talk" in reported.err


@pytest.mark.parametrize(
    ("forward", "error"),
    [
        ("return {}['image']", parts(found="KeyError in a forward pass: 'image'", expected="scores")),
        (
            "return self.linear(observations)",
            parts(found=re.compile("RuntimeError in a forward pass: mat1 and .*"), expected="scores"),
        ),
        (
            "return torch.dropout(self.linear(self.cnn(observations)) + 1, 0.5, True)",
            parts(problem=re.compile("not deterministic: .*"), hint=re.compile("dropout or noise .*")),
        ),
    ],
)
def test_a_custom_class_that_cannot_be_run_is_an_error_of_input(forward: str, error: Parts, tmp_path: Path) -> None:
    folder, _ = cnn_agent(tmp_path)
    other = tmp_path / "other.py"
    other.write_text(FILE.read_text().replace("return self.linear(self.cnn(observations))", forward, 1))
    copy = f"{other}:MinigridFeaturesExtractor"
    with raises(InputError, file="custom classes", field=copy, **error):
        PatchingExperiment(folder, features_extractor=copy).q_values(images())


def test_the_error_of_a_custom_class_that_casts_to_float32_names_the_dtype(tmp_path: Path) -> None:
    folder, model = cnn_agent(tmp_path)
    other = tmp_path / "other.py"
    other.write_text(FILE.read_text().replace("self.cnn(observations))", "self.cnn(observations.float()))", 1))
    copy = f"{other}:MinigridFeaturesExtractor"
    with raises(
        InputError,
        file="custom classes",
        field=copy,
        found=re.compile("RuntimeError in a forward pass: .*"),
        expected="scores",
        hint="--dtype float32 computes as the agent was trained",
    ):
        PatchingExperiment(folder, features_extractor=copy, dtype="float64").q_values(images())
    found = PatchingExperiment(folder, features_extractor=copy, dtype="float32").q_values(images())
    assert np.array_equal(found, sb3_answer(model, images()))


def test_layers_that_take_their_size_from_the_first_pass_get_it(tmp_path: Path) -> None:
    model = new_dqn(vector_space(4), features_extractor_class=extractors.Lazy)
    for net in (model.q_net, model.q_net_target):
        net(torch.zeros(1, 4))
    model.policy.optimizer = torch.optim.Adam(model.policy.parameters())
    folder = save_dqn(tmp_path, model)
    before = torch.get_rng_state()
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    found = PatchingExperiment(folder, trust="tests.extractors.Lazy").q_values(rows)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(found, sb3_answer(model, rows))


def test_an_observation_that_a_custom_class_cannot_take_is_an_error_of_input(tmp_path: Path) -> None:
    folder, _ = cnn_agent(tmp_path)
    other = tmp_path / "other.py"
    table = "torch.zeros(9)[(255 * observations).long()].sum() + self.cnn(observations)"
    other.write_text(FILE.read_text().replace("self.cnn(observations))", table + ")", 1))
    experiment = PatchingExperiment(folder, features_extractor=f"{other}:MinigridFeaturesExtractor")
    with raises(
        InputError,
        file="custom classes",
        field=f"{other}:MinigridFeaturesExtractor",
        found=re.compile("IndexError in a forward pass: index .* is out of bounds .*"),
        expected="scores",
    ):
        experiment.q_values(images())
