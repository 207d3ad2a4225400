from __future__ import annotations

from pathlib import Path

import pytest

from Neuron_Selection import __version__
from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.agent_zip.agent_zip import read_agent_zip
from Neuron_Selection.FileFormats.run_metadata import check_outputs, is_up_to_date, run_metadata
from Neuron_Selection.FileFormats.storage.json_files import json_bytes
from tests.made_agents import write_zip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def metadata(here, **run):
    Path("link.zip").unlink(missing_ok=True)
    Path("link.zip").symlink_to(write_zip(here / "real.zip"))
    agent = read_agent_zip(Path("link.zip"))
    return agent, run_metadata(command={"script": "x.py"}, run=run, agent=agent, libraries=["numpy", "no-such-library"])


def test_metadata_names_the_link_the_real_path_and_the_hashes_of_the_agent(here):
    agent, found = metadata(here, seed=3)
    assert found["agent"] == {"path": "link.zip", "real_path": str(here.resolve() / "real.zip"), "sb3_version": "2.9.2"}
    assert found["run"] == {"agent_sha256": agent.sha256, "weights_sha256": agent.weights_sha256, "seed": 3}
    assert found["suite_version"] == __version__
    assert found["libraries"]["no-such-library"] == "none"
    assert found["libraries"]["numpy"][0].isdigit()
    json_bytes(found)


def test_an_output_is_up_to_date_if_all_that_decides_it_is_equal(here):
    _, planned = metadata(here, seed=3)
    output = Path("out.json")
    assert not is_up_to_date(output, None, planned, overwrite=False)
    output.touch()
    assert is_up_to_date(output, {**planned, "command": {"script": "typed otherwise"}}, planned, overwrite=False)
    assert not is_up_to_date(output, planned, planned, overwrite=True)
    for stored in (None, {}, *({**planned, key: None} for key in ("format", "suite_version", "libraries", "run"))):
        with pytest.raises(UsageError) as raised:
            is_up_to_date(output, stored, planned, overwrite=False)
        expected = "out.json: found the output of another run, expected none (--overwrite replaces it)"
        assert str(raised.value) == expected
        assert not is_up_to_date(output, stored, planned, overwrite=True)


def test_an_output_of_another_agent_is_said_to_be_one(here):
    _, planned = metadata(here, seed=3)
    output = Path("out.json")
    output.touch()
    stored = {**planned, "agent": {"path": "runs/rl_model_1000_steps.zip"}, "run": {"agent_sha256": "0" * 64}}
    with pytest.raises(UsageError) as raised:
        is_up_to_date(output, stored, planned, overwrite=False)
    assert str(raised.value) == (
        "out.json: found the output of another agent (rl_model_1000_steps.zip), expected none "
        "(--overwrite replaces it, an output folder of its own keeps both)"
    )
    for odd in ({"run": []}, {"agent": "none"}, {"agent": {"path": 3}}, {"run": {"agent_sha256": None}}):
        with pytest.raises(UsageError, match="found the output of another run"):
            is_up_to_date(output, {**stored, **odd}, planned, overwrite=False)


def test_a_run_never_writes_over_what_it_reads():
    Path("in.json").touch()
    Path("link.json").symlink_to("in.json")
    check_outputs([Path("out.json")], [Path("in.json")])
    for output in ("in.json", "link.json", "sub/../in.json"):
        with pytest.raises(UsageError, match="found as input and as output, expected two files$"):
            check_outputs([Path("out.json"), Path(output)], [Path("in.json")])
