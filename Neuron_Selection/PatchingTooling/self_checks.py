"""Self-checks of every patching run, on its first 64 inputs; the results of a run that fails one are not written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import greedy_actions, noise_floor
from Neuron_Selection.errors import CheckError
from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.PatchingTooling.agent.interventions import replacing
from Neuron_Selection.PatchingTooling.agent.network import Network
from Neuron_Selection.PatchingTooling.patching_plan import PatchingPlan
from Neuron_Selection.PatchingTooling.sources import SourceRun

NOT_APPLICABLE = "not applicable"
PASSED = "passed"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Checked:
    network: Network
    observations: Observations
    layers: list[str]
    own: dict[str, np.ndarray]
    baseline: np.ndarray
    source: SourceRun


def run_self_checks(network: Network, plan: PatchingPlan, *, baseline: np.ndarray, source: SourceRun) -> dict[str, str]:
    """Run every check that is made before the patches.

    :param baseline: (n, n_actions), the target run's scores
    :return: check to "passed", or to the reason why it does not apply
    :raises CheckError: with the name of the check that failed
    """
    rows = slice(0, CHUNK_ROWS)
    observations = rows_of(plan.target.observations, rows)
    checked = _Checked(
        network=network,
        observations=observations,
        layers=list(plan.layers),
        own=network.activations(observations, plan.layers),
        baseline=baseline[rows],
        source=source,
    )
    return {name: check(checked) or PASSED for name, check in CHECKS.items()}


def checks_after(network: Network, weights: str) -> dict[str, str]:
    """The checks that are made after the patches.

    ``hooks_fired``: each hook fired once in each pass; the hooks themselves raise in a pass where it is not so.
    ``weights_unchanged``: the weights are the same bits as before the run.

    :param weights: the network's fingerprint before the run
    :raises CheckError: with the name of the check that failed
    """
    if network.fingerprint() != weights:
        raise CheckError("weights_unchanged", "the run changed the agent's weights")
    without_hooks = f"{NOT_APPLICABLE}: the {network.engine} engine sets no hooks"
    return {"hooks_fired": PASSED if network.engine == "torch" else without_hooks, "weights_unchanged": PASSED}


def _self_patch(checked: _Checked) -> str | None:
    """Every patched layer held at its own values: nothing changes, bit for bit."""
    whole: dict[str, Neurons] = dict.fromkeys(checked.layers, "all")
    run = checked.network.patched(checked.observations, replacing(whole, checked.own))
    if not np.array_equal(run.scores, checked.baseline) or any(counts.any() for counts in run.changed.values()):
        raise CheckError("self_patch", "patching a run with its own activations changed it")
    return None


def _empty_patch(checked: _Checked) -> str | None:
    """No neuron patched: nothing changes, bit for bit."""
    nothing: dict[str, Neurons] = dict.fromkeys(checked.layers, ())
    run = checked.network.patched(checked.observations, replacing(nothing, checked.own))
    if not np.array_equal(run.scores, checked.baseline):
        raise CheckError("empty_patch", "patching no neuron changed the run")
    return None


def _whole_layer(checked: _Checked) -> str | None:
    """A whole bottleneck layer from the source gives the source's scores."""
    table = checked.network.layers
    cuts = [name for name in checked.layers if table.layers[name].is_cut and name != table.output]
    if not cuts:
        return f"{NOT_APPLICABLE}: no patched layer is a cut"
    if checked.source.scores is None or not checked.source.is_of_this_agent:
        return f"{NOT_APPLICABLE}: the source is no whole run that is known to be of this agent"
    expected = checked.source.scores[: len(checked.baseline)]
    run = checked.network.patched(checked.observations, replacing({cuts[0]: "all"}, checked.source.values))
    check_whole_layer(cuts[0], run.scores, expected)
    return None


def check_whole_layer(layer: str, scores: np.ndarray, expected: np.ndarray) -> None:
    """Raise if a whole layer from the source gave other scores than the source's, beyond float noise.

    :param scores: (n, n_actions), like ``expected``
    """
    if np.abs(scores - expected).max() > noise_floor(expected):
        raise CheckError("whole_layer", f"all of {layer} from the source gave other scores than the source's")


def _policy_action(checked: _Checked) -> str | None:
    """The policy itself chooses the baseline actions on the same inputs."""
    actions = checked.network.policy_actions(checked.observations)
    if actions is None:
        return f"{NOT_APPLICABLE}: the {checked.network.engine} engine builds no policy"
    if not np.array_equal(actions, greedy_actions(checked.baseline)):
        raise CheckError("policy_action", "the policy chooses other actions than the greatest scores of the baseline")
    return None


CHECKS: dict[str, Callable[[_Checked], str | None]] = {
    "self_patch": _self_patch,
    "empty_patch": _empty_patch,
    "whole_layer": _whole_layer,
    "policy_action": _policy_action,
}
