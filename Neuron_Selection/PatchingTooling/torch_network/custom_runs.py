"""A network with classes of the user's own while it runs: it may raise anything, and draw random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import noise_floor
from Neuron_Selection.errors import InputError, SuiteError, is_lack_of_memory, shown
from Neuron_Selection.PatchingTooling.agent.custom_classes import CustomClasses


@contextmanager
def errors_told(custom: CustomClasses, *, dtype: str) -> Iterator[None]:
    """Inside the block, what a custom class raises becomes one line; without any it is a bug of ours, and stays one.

    :param dtype: of the Q-network; classes that cast to float32 themselves cannot run in float64
    """
    try:
        yield
    except SuiteError:
        raise
    except Exception as error:  # the user's own class may raise anything
        if not custom.names or is_lack_of_memory(error):
            raise
        raise InputError(
            "custom classes",
            shown(", ".join(custom.names), limit=120, quoted=False),
            found=f"{type(error).__name__} in a forward pass: {shown(str(error), limit=160, quoted=False)}",
            expected="Q-values",
            hint="--dtype float32 computes as the agent was trained" if dtype == "float64" else "",
        ) from error


def refuse_other_values(once: np.ndarray, again: np.ndarray, custom: CustomClasses) -> None:
    """Raise where the same observations gave other Q-values a second time: no comparison of runs would mean a thing.

    :param once: (n, n_actions)
    :param again: (n, n_actions)
    """
    if not np.allclose(once, again, rtol=0, atol=noise_floor(np.nan_to_num(once)), equal_nan=True):
        raise InputError(
            "custom classes",
            shown(", ".join(custom.names), limit=120, quoted=False),
            found="other Q-values for the same observation a second time",
            expected="the same",
            hint="dropout or noise that ignores eval mode, or a state kept between passes",
        )
