from __future__ import annotations

from pathlib import Path

import pytest

from Neuron_Selection import __version__
from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.agent_zip.agent_zip import read_agent_zip
from Neuron_Selection.FileFormats.provenance import (
    StoredOutput,
    check_outputs,
    is_up_to_date,
    run_metadata,
    stored_output,
)
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of
from Neuron_Selection.FileFormats.storage.json_files import json_bytes
from tests.made_agents import write_zip
from tests.raised import DIFFERENT_RUN, INPUT_AND_OUTPUT, raises


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

    def done(complete, *, overwrite=False):
        return is_up_to_date(StoredOutput(files=(output,), complete=complete), planned, overwrite=overwrite)

    assert not done(None)
    output.touch()
    assert done({**planned, "command": {"script": "typed otherwise"}})
    assert not done(planned, overwrite=True)
    for stored in (None, {}, *({**planned, key: None} for key in ("format", "suite_version", "libraries", "run"))):
        with raises(InputError, file="out.json", problem=DIFFERENT_RUN):
            done(stored)
        assert not done(stored, overwrite=True)


def test_an_output_of_another_agent_is_an_error_that_names_it(here):
    _, planned = metadata(here, seed=3)
    output = Path("out.json")
    output.touch()
    stored = {**planned, "agent": {"path": "runs/rl_model_1000_steps.zip"}, "run": {"agent_sha256": "0" * 64}}
    with raises(InputError, file="out.json", names=["(rl_model_1000_steps.zip)"], flags=["--overwrite"]):
        is_up_to_date(StoredOutput(files=(output,), complete=stored), planned, overwrite=False)
    for odd in ({"run": []}, {"agent": "none"}, {"agent": {"path": 3}}, {"run": {"agent_sha256": None}}):
        with raises(InputError, file="out.json", problem=DIFFERENT_RUN):
            is_up_to_date(StoredOutput(files=(output,), complete={**stored, **odd}), planned, overwrite=False)


def test_several_files_are_complete_or_unfinished_or_neither(here):
    _, planned = metadata(here, seed=3)
    files = {"table_sha256": Path("t.csv"), "summary_sha256": Path("s.json")}
    written = {**planned, **{key: sha256_of(path.name.encode()) for key, path in files.items()}}

    def put(**contents):
        for path in files.values():
            path.unlink(missing_ok=True)
        for path in files.values():
            if path.stem in contents:
                path.write_text(contents[path.stem])
        return stored_output(written, files)

    whole = put(t="t.csv", s="s.json")
    assert (whole.complete, whole.unfinished) == (written, None)
    assert is_up_to_date(whole, planned, overwrite=False)
    half = put(s="s.json")
    assert (half.complete, half.unfinished) == (None, written)
    assert not is_up_to_date(half, planned, overwrite=False)
    with raises(InputError, file="s.json", problem=DIFFERENT_RUN):
        is_up_to_date(half, metadata(here, seed=4)[1], overwrite=False)
    edited = put(t="t.csv", s="other")
    assert (edited.complete, edited.unfinished) == (None, None)
    with raises(InputError, file="t.csv", problem=DIFFERENT_RUN):
        is_up_to_date(edited, planned, overwrite=False)
    assert stored_output(None, files).complete is None


def test_a_run_never_writes_over_what_it_reads():
    Path("in.json").touch()
    Path("link.json").symlink_to("in.json")
    check_outputs([Path("out.json")], [Path("in.json")])
    for output in ("in.json", "link.json", "sub/../in.json"):
        with raises(InputError, file=Path(output), problem=INPUT_AND_OUTPUT):
            check_outputs([Path("out.json"), Path(output)], [Path("in.json")])
