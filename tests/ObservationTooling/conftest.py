from __future__ import annotations

import pytest

from Neuron_Selection.ObservationTooling.grid_worlds.environments import first_seeds, make_environment
from Neuron_Selection.ObservationTooling.state_tables import tabulate_states


@pytest.fixture(scope="session")
def env():
    return make_environment("MiniGrid-LavaCrossingS9N1-v0")


@pytest.fixture(scope="session")
def layouts(env):
    """The 42 layouts of LavaCrossingS9N1, each with its first seed."""
    return first_seeds(env, range(400))


@pytest.fixture(scope="session")
def table(env, layouts):
    """All 7,056 states of the layouts (several seconds)."""
    return tabulate_states(env, layouts)
