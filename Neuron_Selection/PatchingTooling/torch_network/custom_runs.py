"""Runs of networks with custom classes, which may raise anything and draw random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import noise_floor
from Neuron_Selection.errors import InputError, SuiteError, is_lack_of_memory, shown
from Neuron_Selection.PatchingTooling.agent.custom_classes import CustomClasses


@contextmanager
def errors_reported(custom: CustomClasses, *, dtype: str) -> Iterator[None]:
    """Inside the block, an exception of a custom class becomes an error of one line; any other is a bug.

    :param dtype: of the network; classes that cast to float32 themselves cannot run in float64
    """
    try:
        yield
    except SuiteError:
        raise
    except Exception as error:  # a custom class may raise anything
        if not custom.names or is_lack_of_memory(error):
            raise
        raise InputError(
            "custom classes",
            shown(", ".join(custom.names), limit=120, quoted=False),
            found=f"{type(error).__name__} in a forward pass: {shown(str(error), limit=160, quoted=False)}",
            expected="scores",
            hint="--dtype float32 computes as the agent was trained" if dtype == "float64" else "",
        ) from error


def refuse_other_actors(scores: np.ndarray, logits: np.ndarray, custom: CustomClasses) -> None:
    """Raise if a custom policy draws its actions from something else than the outputs of ``action_net``.

    :param scores: outputs of ``action_net`` for what its ``mlp_extractor`` makes of the features, (n, n_actions)
    :param logits: of the policy's own distribution, the same up to a constant for each input
    """
    differences = scores - logits
    if np.ptp(differences, axis=1).max() > 2 * noise_floor(scores):
        raise InputError(
            "custom classes",
            shown(", ".join(custom.names), limit=120, quoted=False),
            found="a policy whose distribution does not follow from action_net(mlp_extractor.forward_actor(features))",
            expected="one whose logits are these outputs",
        )


def refuse_other_values(once: np.ndarray, again: np.ndarray, custom: CustomClasses) -> None:
    """Raise if two passes on the same observations gave different scores: no comparison of runs would mean anything.

    :param once: (n, n_actions)
    :param again: (n, n_actions)
    """
    if not np.allclose(once, again, rtol=0, atol=noise_floor(np.nan_to_num(once)), equal_nan=True):
        raise InputError(
            "custom classes",
            shown(", ".join(custom.names), limit=120, quoted=False),
            "not deterministic: two forward passes on the same observation gave different scores",
            hint="dropout or noise that ignores eval mode, or a state kept between passes",
        )
