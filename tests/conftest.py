"""Shared by all tests. MKL_CBWR and threads are set before anything can import numpy or torch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from Neuron_Selection.command_line import THREAD_VARIABLES

for variable in THREAD_VARIABLES:  # one each, as in every script: more wait for one another where tests run in parallel
    os.environ.setdefault(variable, "1")

os.environ.pop("AGENT_FLAGS", None)  # of the session that runs the tests

import Neuron_Selection.PatchingTooling  # noqa: E402, F401 - sets MKL_CBWR

settings.register_profile("suite", deadline=None)  # how long an example takes is no property of it
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parents[1]


def folder_from(variable: str) -> Path:
    """The folder that an environment variable names; a test that needs it is skipped with the reason otherwise."""
    if variable not in os.environ:
        pytest.skip(f"{variable} names no folder of real files")
    return Path(os.environ[variable])


@pytest.fixture
def published_agents() -> Path:
    """Agents by others: CartPole-v1, Acrobot-v1 (DQN of 2021) and qrdqn-CartPole-v1."""
    return folder_from("SUITE_AGENTS")


@pytest.fixture
def published_files() -> Path:
    """Files of the formats that others published."""
    return folder_from("SUITE_PUBLISHED")
