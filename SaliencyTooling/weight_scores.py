"""What weights are ranked by: mean |gradient| of the greatest Q-value, or of the margin, or times |weight|."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.FileFormats.agent_zip.agent_zip import AgentZip
from Neuron_Selection.FileFormats.agent_zip.spaces import DiscreteSpace, Space
from Neuron_Selection.FileFormats.weights.average_gradients import MARGIN, AverageGradients

_ONE_ACTION = "score margin: found an agent of one action, which has no margin, expected two actions or more"


def weight_matrices(parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights that have rows: of Linear and convolution; no bias, slope of a PReLU or weight of a normalisation."""
    return {name: array for name, array in parameters.items() if name.endswith(".weight") and array.ndim > 1}


def refuse_margin_of_one_action(score: str, action_space: Space) -> None:
    """Raise where there is no second best action."""
    if score == "margin" and isinstance(action_space, DiscreteSpace) and action_space.n < 2:
        raise UsageError(_ONE_ACTION)


def scores_of(
    average: AverageGradients,
    matrices: Mapping[str, np.ndarray],
    score: str,
    *,
    agent: AgentZip | None,
    where: Path,
) -> dict[str, np.ndarray]:
    """Weight matrix to an array of its shape.

    :param matrices: the mean magnitudes
    :param agent: whose weights weight_x_gradient takes
    :param where: the file of the averages
    :raises SuiteError: averages or an agent that lack what the score needs
    """
    if score == "gradient":
        return dict(matrices)
    if score == "margin":
        if MARGIN not in average.means:
            if agent is not None:
                refuse_margin_of_one_action(score, agent.action_space)
            if average.metadata.get("run", {}).get("n_actions") == 1:
                raise UsageError(_ONE_ACTION)
            expected, hint = "one for --score margin", "average.py --agent_path writes it"
            raise InputError(where, MARGIN, found="no such key", expected=expected, hint=hint)
        return {name: average.means[MARGIN][name] for name in matrices}
    if agent is None:
        raise UsageError("score weight_x_gradient: found no agent, expected --agent_path to read its weights")
    scores = {}
    for name, array in matrices.items():
        weights = agent.tensors.get(f"q_net.{name}")
        if weights is None or weights.shape != array.shape:
            raise InputError(where, name, found=f"gradients of shape {array.shape}", expected="as in this agent")
        if not np.isfinite(weights).all():
            raise InputError(agent.path, name, found="NaN or infinity", expected="finite weights to rank by")
        scores[name] = np.abs(weights.astype(np.float64)) * array
    return scores
