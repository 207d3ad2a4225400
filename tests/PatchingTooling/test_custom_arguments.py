"""Arguments of custom classes, and what is saved instead of classes: tuples, functions, classes by value."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn
from torch.nn import functional

from Neuron_Selection import inspect_agent
from Neuron_Selection.errors import UntrustedError, UsageError
from Neuron_Selection.PatchingTooling import PatchingExperiment
from tests import extractors
from tests.made_agents import new_dqn, save_dqn, vector_space
from tests.PatchingTooling.agent.test_custom_classes import (
    BY_FILE,
    BY_NAME,
    FILE,
    by_value,
    cnn_agent,
    images,
    sb3_answer,
)
from tests.raised import parts, raises

LEAKY = """from torch import nn


class Leaky(nn.LeakyReLU):
    def __init__(self):
        super().__init__(0.2)
"""


def test_a_tuple_among_the_arguments_of_an_extractor_stays_one(tmp_path: Path) -> None:
    model = new_dqn(
        vector_space(4), features_extractor_class=extractors.Widths, features_extractor_kwargs={"widths": (5, 3)}
    )
    experiment = PatchingExperiment(save_dqn(tmp_path, model), trust="tests.extractors.Widths")
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    assert np.array_equal(experiment.q_values(rows), sb3_answer(model, rows))


@pytest.mark.parametrize(
    ("activation", "found"),
    [
        (functools.partial(nn.LeakyReLU, negative_slope=0.2), "a functools.partial instead of a class"),
        (lambda: nn.LeakyReLU(0.2), "a function instead of a class"),
    ],
)
def test_an_activation_that_is_no_class_is_replaced_by_one_of_yours(
    activation: Any, found: str, tmp_path: Path
) -> None:
    model = new_dqn(vector_space(4), net_arch=[8], activation_fn=activation)
    folder = save_dqn(tmp_path, model)
    hint = re.compile("--activation_fn FILE.py:Class .*")
    error = parts(field="policy_kwargs.activation_fn", found=found, expected=..., hint=hint)
    with raises(UntrustedError, file="agent.zip: data", **error):
        PatchingExperiment(folder)
    (tmp_path / "leaky.py").write_text(LEAKY)
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    experiment = PatchingExperiment(folder, activation_fn=f"{tmp_path / 'leaky.py'}:Leaky")
    assert np.array_equal(experiment.q_values(rows), sb3_answer(model, rows))


def test_a_class_by_value_among_the_arguments_is_read_from_the_file_of_the_extractor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_value(extractors.Swish, monkeypatch)
    folder, model = cnn_agent(tmp_path, features_extractor_kwargs={"features_dim": 16, "activation": extractors.Swish})
    monkeypatch.undo()
    with raises(
        UntrustedError,
        file="agent.zip: data",
        field="policy_kwargs.an argument",
        found="the class 'Swish', whose code is stored in the zip",
        expected="plain values and torch.nn's classes",
        hint="--features_extractor FILE.py:Class uses both from one file",
    ):
        PatchingExperiment(folder, trust=BY_NAME)
    for copy in (BY_FILE, extractors.MinigridFeaturesExtractor):
        found = PatchingExperiment(folder, features_extractor=copy).q_values(images())
        assert np.array_equal(found, sb3_answer(model, images()))


def test_a_policy_by_value_is_replaced_by_the_users_own_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    by_value(extractors.DuellingPolicy, monkeypatch)
    model = new_dqn(vector_space(4), policy=extractors.DuellingPolicy)
    folder = save_dqn(tmp_path, model)
    monkeypatch.undo()
    with raises(
        UntrustedError,
        file="agent.zip: data",
        field="policy_class",
        found="the class 'DuellingPolicy', whose code is stored in the zip",
        expected=re.compile("a policy of DQN, .*"),
        hint="--policy FILE.py:DuellingPolicy uses your own copy",
    ):
        PatchingExperiment(folder)
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    for copy in (f"{FILE}:DuellingPolicy", extractors.DuellingPolicy):
        experiment = PatchingExperiment(folder, policy=copy)
        assert np.array_equal(experiment.q_values(rows), sb3_answer(model, rows))
        assert experiment.custom_classes.described["policy"]["class"].endswith("DuellingPolicy")
    assert inspect_agent.main([str(folder), "--policy", f"{FILE}:DuellingPolicy"]) == 0
    assert capsys.readouterr().err.rstrip().endswith(f"--policy_class {FILE}:DuellingPolicy")


@pytest.mark.parametrize(
    "name",
    [
        "Swish",
        "MinigridFeaturesExtractor",
    ],
)
def test_a_copy_of_a_policy_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    folder = save_dqn(tmp_path, new_dqn(vector_space(4), policy=extractors.QuietPolicy, net_arch=[8], loudness=3))
    found = "a class that is not a DQNPolicy"
    with raises(UsageError, field=f"{FILE}:{name}", found=found, expected="a subclass of DQNPolicy"):
        PatchingExperiment(folder, policy=f"{FILE}:{name}").layers()


def test_a_function_of_torch_among_the_arguments_is_trusted_by_name(tmp_path: Path) -> None:
    model = new_dqn(
        vector_space(4),
        features_extractor_class=extractors.Functional,
        features_extractor_kwargs={"bend": functional.elu},
    )
    folder = save_dqn(tmp_path, model)
    own = "tests.extractors.Functional"
    with raises(
        UntrustedError,
        file="agent.zip: data",
        field="policy_kwargs.an argument",
        found="the custom class 'torch.nn.functional.elu'",
        expected="plain values and torch.nn's classes",
        hint="--trust torch.nn.functional.elu imports it",
    ):
        PatchingExperiment(folder, trust=own)
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    found = PatchingExperiment(folder, trust=[own, "torch.nn.functional.elu"]).q_values(rows)
    assert np.array_equal(found, sb3_answer(model, rows))


def test_another_function_among_the_arguments_is_not_allowed(tmp_path: Path) -> None:
    model = new_dqn(
        vector_space(4), features_extractor_class=extractors.Functional, features_extractor_kwargs={"bend": np.tanh}
    )
    folder = save_dqn(tmp_path, model)
    with pytest.raises((UsageError, UntrustedError)):
        PatchingExperiment(folder, trust=["tests.extractors.Functional", "numpy.tanh"]).q_values(np.zeros((1, 4)))
