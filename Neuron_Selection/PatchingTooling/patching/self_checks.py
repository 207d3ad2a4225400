"""Checks that every run makes of itself, on its first chunk of inputs: a run that fails one is not to be believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import greedy_actions, noise_floor
from Neuron_Selection.errors import CheckError
from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.PatchingTooling.agent.engines import Engine
from Neuron_Selection.PatchingTooling.patching.plan import PatchingPlan
from Neuron_Selection.PatchingTooling.patching.source_runs import SourceRun

NOT_APPLICABLE = "not applicable"
PASSED = "passed"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Checked:
    engine: Engine
    observations: Observations
    layers: list[str]
    own: dict[str, np.ndarray]
    baseline: np.ndarray
    source: SourceRun


def run_self_checks(engine: Engine, plan: PatchingPlan, *, baseline: np.ndarray, source: SourceRun) -> dict[str, str]:
    """Make every check.

    :param baseline: (n, n_actions), the target run's Q-values
    :return: check to "passed", or to why it does not apply
    :raises CheckError: with the name of the check that failed
    """
    rows = slice(0, CHUNK_ROWS)
    observations = rows_of(plan.target.observations, rows)
    checked = _Checked(
        engine=engine,
        observations=observations,
        layers=list(plan.layers),
        own=engine.activations(observations, plan.layers),
        baseline=baseline[rows],
        source=source,
    )
    return {name: check(checked) or PASSED for name, check in CHECKS.items()}


def hooks_fired(engine: Engine) -> str:
    """Each hook fired once in each forward pass; ``hooks`` counts, and has raised in the pass where it was not so."""
    return PASSED if engine.name == "hooks" else f"{NOT_APPLICABLE}: the {engine.name} engine sets no hooks"


def check_weights(before: str, engine: Engine) -> str:
    """The weights are the same bits as before the run."""
    if engine.weights_fingerprint() != before:
        raise CheckError("weights_unchanged", "the run changed the agent's weights")
    return PASSED


def _self_patch(checked: _Checked) -> str | None:
    """Every patched layer held at its own values changes nothing, bit for bit."""
    whole: dict[str, Neurons] = dict.fromkeys(checked.layers, "all")
    q_values, changed = checked.engine.patched_q_values(checked.observations, checked.own, whole)
    if not np.array_equal(q_values, checked.baseline) or any(counts.any() for counts in changed.values()):
        raise CheckError("self_patch", "patching a run with its own activations changed it")
    return None


def _empty_patch(checked: _Checked) -> str | None:
    """No neuron patched changes nothing, bit for bit."""
    nothing: dict[str, Neurons] = dict.fromkeys(checked.layers, ())
    q_values, _ = checked.engine.patched_q_values(checked.observations, checked.own, nothing)
    if not np.array_equal(q_values, checked.baseline):
        raise CheckError("empty_patch", "patching no neuron changed the run")
    return None


def _whole_layer(checked: _Checked) -> str | None:
    """A whole layer that everything behind depends on alone gives the source's Q-values; a law, not a finding."""
    table = checked.engine.layers
    cuts = [name for name in checked.layers if table.layers[name].is_cut and name != table.output]
    if not cuts:
        return f"{NOT_APPLICABLE}: no patched layer is a cut"
    if checked.source.q_values is None or not checked.source.is_of_this_agent:
        return f"{NOT_APPLICABLE}: the source is no whole run that is known to be of this agent"
    expected = checked.source.q_values[: len(checked.baseline)]
    q_values, _ = checked.engine.patched_q_values(checked.observations, checked.source.values, {cuts[0]: "all"})
    check_whole_layer(cuts[0], q_values, expected)
    return None


def check_whole_layer(layer: str, q_values: np.ndarray, expected: np.ndarray) -> None:
    """Raise where a whole layer from the source gave other Q-values than the source's, beyond float noise.

    :param q_values: (n, n_actions), and so ``expected``
    """
    if np.abs(q_values - expected).max() > noise_floor(expected):
        raise CheckError("whole_layer", f"all of {layer} from the source gave other Q-values than the source's")


def _policy_action(checked: _Checked) -> str | None:
    """The policy itself chooses the baseline actions, on the same chunk."""
    actions = checked.engine.policy_actions(checked.observations)
    if actions is None:
        return f"{NOT_APPLICABLE}: the {checked.engine.name} engine builds no policy"
    if not np.array_equal(actions, greedy_actions(checked.baseline)):
        raise CheckError("policy_action", "the policy chooses other actions than the baseline's greatest Q-values")
    return None


CHECKS: dict[str, Callable[[_Checked], str | None]] = {
    "self_patch": _self_patch,
    "empty_patch": _empty_patch,
    "whole_layer": _whole_layer,
    "policy_action": _policy_action,
}
