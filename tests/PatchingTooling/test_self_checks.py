"""The checks a run makes of itself: each passes on a sound run, and fails when what it guards is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

import activation_patching
from Neuron_Selection.errors import CheckError
from Neuron_Selection.PatchingTooling import PatchingExperiment, patching_records
from Neuron_Selection.PatchingTooling.patching_plan import plan_patching
from Neuron_Selection.PatchingTooling.patching_records import run_plan
from Neuron_Selection.PatchingTooling.sources import RecordedSource
from Neuron_Selection.PatchingTooling.torch_network.network import TorchNetwork
from tests.made_agents import mlp_agent, new_dqn, save_dqn
from tests.raised import parts, raises, reports


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


def run(experiment: PatchingExperiment) -> dict[str, str]:
    source = RecordedSource(inputs=experiment.inputs(rows(70, 1)))
    plan = plan_patching(experiment, rows(70), ["q_net.0:1", "q_net.2:all"], source=source)
    return run_plan(experiment, plan, command={}).metadata["self_checks"]


def test_a_sound_run_passes_every_check(tmp_path: Path) -> None:
    assert run(PatchingExperiment(mlp_agent(tmp_path))) == {
        "self_patch": "passed",
        "empty_patch": "passed",
        "whole_layer": "passed",
        "policy_action": "passed",
        "hooks_fired": "passed",
        "weights_unchanged": "passed",
    }


def test_checks_that_do_not_apply_say_why(tmp_path: Path) -> None:
    space = spaces.Dict({"a": spaces.Box(-5, 5, (3,), np.float32), "b": spaces.Box(-5, 5, (2,), np.float32)})
    experiment = PatchingExperiment(save_dqn(tmp_path, new_dqn(space, policy="MultiInputPolicy")))
    layer = "features_extractor.extractors.a"
    inputs = {"a": np.zeros((2, 3), np.float32), "b": np.zeros((2, 2), np.float32)}
    results = experiment.run_patching_experiment(inputs, {layer: np.ones((2, 3), np.float32)}, f"{layer}:0")
    assert results.metadata["self_checks"]["whole_layer"] == "not applicable: no patched layer is a cut"
    ablated = experiment.run_ablation_experiment(inputs, "q_net.0:1")
    assert ablated.metadata["self_checks"]["whole_layer"].startswith("not applicable: the source is no whole run")


def broken_self_patch(patch: pytest.MonkeyPatch, _: PatchingExperiment) -> None:
    right = TorchNetwork.activations
    patch.setattr(TorchNetwork, "activations", lambda *a: {k: v + 1 for k, v in right(*a).items()})


def broken_empty_patch(patch: pytest.MonkeyPatch, _: PatchingExperiment) -> None:
    right = TorchNetwork.patched

    def patched(self: TorchNetwork, observations: Any, intervention: Any) -> Any:
        def wrong(edit: Any) -> Any:
            if edit.neurons != ():
                return edit
            return replace(edit, neurons=(0,), values=tuple(array + 1 for array in edit.values))

        return right(self, observations, {layer: wrong(edit) for layer, edit in intervention.items()})

    patch.setattr(TorchNetwork, "patched", patched)


def broken_whole_layer(patch: pytest.MonkeyPatch, _: PatchingExperiment) -> None:
    right = patching_records.run_source

    def other(*arguments: Any) -> Any:
        source = right(*arguments)
        return replace(source, scores=source.scores[::-1].copy())

    patch.setattr(patching_records, "run_source", other)


def broken_policy_action(patch: pytest.MonkeyPatch, experiment: PatchingExperiment) -> None:
    policy = type(experiment.torch_network.policy)
    patch.setattr(policy, "_predict", lambda self, obs, deterministic=True: self.q_net(obs).argmin(dim=1))


def broken_hooks(patch: pytest.MonkeyPatch, experiment: PatchingExperiment) -> None:
    head = experiment.torch_network.module.q_net
    right = head.forward
    patch.setattr(head, "forward", lambda features: right(features) + 0 * right(features))


def broken_weights(patch: pytest.MonkeyPatch, experiment: PatchingExperiment) -> None:
    original = patching_records._patch_records

    def heavy(network: Any, *a: Any, **k: Any) -> Any:
        with torch.no_grad():
            network.module.q_net[0].weight[0, 0] += 1e-3
        return original(network, *a, **k)

    patch.setattr(patching_records, "_patch_records", heavy)


BREAKS: dict[str, Callable[[pytest.MonkeyPatch, PatchingExperiment], None]] = {
    "self_patch": broken_self_patch,
    "empty_patch": broken_empty_patch,
    "whole_layer": broken_whole_layer,
    "policy_action": broken_policy_action,
    "hooks_fired": broken_hooks,
    "weights_unchanged": broken_weights,
}


@pytest.mark.parametrize("check", BREAKS)
def test_each_check_fails_when_what_it_guards_is_broken(
    check: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = PatchingExperiment(mlp_agent(tmp_path))
    BREAKS[check](monkeypatch, experiment)
    more = parts(field=..., found=..., expected=...) if check == "hooks_fired" else {}
    with raises(CheckError, file=f"self-check {check} failed", **{"problem": ..., **more}):
        run(experiment)


def test_a_failed_check_is_exit_1_with_its_name_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = mlp_agent(tmp_path)
    (folder / "activation_inputs").mkdir()
    for name in ("clean", "corrupted"):
        (folder / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps({"a": rows(1)[0].tolist()}))
    broken_self_patch(monkeypatch, PatchingExperiment(folder))
    words = ["--agent_path", str(folder), "--direction", "denoising", "--patch_spec", "q_net.0:1"]
    with reports(CheckError, file="self-check self_patch failed", problem=...):
        assert activation_patching.main(words) == 1
    assert not (folder / "patching_results").exists()
