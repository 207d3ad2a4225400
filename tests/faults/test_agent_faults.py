"""List A: a bad agent is refused by every script in one line, before torch is imported; a strange good one works."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tests.faults.fault_cases_agent import BAD_AGENTS, BAD_CLASSES, EXTRA_TENSOR, GOOD_AGENTS
from tests.faults.recorded_runs import agent_recorded
from tests.faults.script_runs import (
    NO_TORCH,
    SCRIPTS,
    privileges_can_be_dropped,
    refused,
    without_privileges,
    words_of,
    works,
)
from tests.made_agents import mlp_agent
from tests.raised import parts

by_script = pytest.mark.parametrize("script", SCRIPTS)
AS_PROCESSES = {"A3 as it is", "A4 empty", "A22 policy_class"}  # one for each exit code


@by_script
@pytest.mark.parametrize("fault", BAD_AGENTS)
def test_a_bad_agent_is_refused_without_torch(fault: str, script: str, agent: Path) -> None:
    spoil, code, error = BAD_AGENTS[fault]
    spoil(agent / "agent.zip")
    words = words_of(script, agent)
    refused(words, code, error, agent.parent, orders=NO_TORCH, process=fault in AS_PROCESSES)


@by_script
@pytest.mark.parametrize("fault", GOOD_AGENTS)
def test_a_strange_agent_that_is_whole_works_and_runs_nothing(fault: str, script: str, agent: Path) -> None:
    spoil, flags = GOOD_AGENTS[fault]
    spoil(agent / "agent.zip")
    works(words_of(script, agent, fast=True, **flags), orders=NO_TORCH, process=fault in AS_PROCESSES)
    assert not list(agent.parent.rglob("marker"))


@by_script
def test_a_link_to_an_agent_is_followed_and_recorded(script: str, agent: Path) -> None:
    """A11: the real path and the hash of what it holds are recorded."""
    real = agent.parent / "elsewhere.zip"
    shutil.move(agent / "agent.zip", real)
    (agent / "agent.zip").symlink_to(real)
    works(words_of(script, agent, fast=True), process=script == "E")
    reported = agent_recorded(script, agent)
    assert reported["real_path"] == str(real.resolve())
    assert reported["agent_sha256"] == hashlib.sha256(real.read_bytes()).hexdigest()


@pytest.mark.skipif(not privileges_can_be_dropped(), reason="root cannot give up its privileges here")
@by_script
@pytest.mark.parametrize("unreadable", ["agent.zip", "."])
def test_an_agent_that_may_not_be_read_is_a_matter_of_the_machine(unreadable: str, script: str, agent: Path) -> None:
    """A13: exit 4, as for every permission."""
    path, words = agent / unreadable, words_of(script, agent)
    path.chmod(0)
    try:
        refused(words, 4, "Permission denied", agent.parent, orders=NO_TORCH, preexec_fn=without_privileges)
    finally:
        path.chmod(0o700)


@pytest.mark.parametrize(
    ("fault", "script"), [*(("A28 no class", script) for script in SCRIPTS), ("A28 no extractor", "E")]
)
def test_a_trusted_name_that_is_no_extractor_is_refused(fault: str, script: str, agent: Path) -> None:
    spoil, flags, error = BAD_CLASSES[fault]
    spoil(agent / "agent.zip")
    refused(words_of(script, agent, **flags), 2, error, agent.parent, process=script == "E")


@by_script
def test_a_tensor_too_many_is_refused(script: str, agent: Path) -> None:
    """A32."""
    EXTRA_TENSOR(agent / "agent.zip")
    error = parts(
        file="agent.zip: policy.pth",
        field="'q_net.q_net.9.bias'",
        found="a tensor that this network does not have",
        expected="none",
    )
    refused(words_of(script, agent), 2, error, agent.parent, orders=NO_TORCH, process=script == "P")


@by_script
def test_weights_that_are_not_finite_are_let_in_on_demand_and_never_written_as_numbers(
    script: str, agent: Path
) -> None:
    """A35: the flag lets the agent in; NaN among the results is one line, and no file that no reader takes."""
    BAD_AGENTS["A35 NaN"][0](agent / "agent.zip")
    error = parts(field="scores of the network", found="NaN or infinity", expected="finite numbers")
    words = words_of(script, agent, fast=True, allow_nonfinite=True)
    refused(words, 2, error, agent.parent, process=script == "W")


@by_script
def test_an_agent_that_is_replaced_while_it_runs_is_recorded_as_it_was_read(script: str, agent: Path) -> None:
    """A40: the bytes are read once; the hash is theirs."""
    before = (agent / "agent.zip").read_bytes()
    other = mlp_agent(agent.parent / "other", seed=1) / "agent.zip"
    orders = {"call": "read", "name": "_inputs.json", "number": 1, "swap": [str(other), str(agent / "agent.zip")]}
    works(words_of(script, agent, fast=True), orders=orders)
    assert (agent / "agent.zip").read_bytes() != before
    assert agent_recorded(script, agent)["agent_sha256"] == hashlib.sha256(before).hexdigest()


def test_the_commands_of_these_agents_work(agent: Path) -> None:
    """The commands of this file succeed where nothing is damaged: refusals are of the fault, not of the command."""
    for script in SCRIPTS:
        reported = works([*words_of(script, agent, fast=True), "--json"], orders=NO_TORCH)
        assert json.loads(reported.stdout)
