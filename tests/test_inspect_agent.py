"""What ``inspect_agent.py`` shows of a zip: all that is in it, in lines that a file cannot forge."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from Neuron_Selection import inspect_agent
from Neuron_Selection.FileFormats.agent_zip import agent_zip
from Neuron_Selection.FileFormats.agent_zip.inventory import take_inventory
from tests.FileFormats.crafted import Call, dumps, gym_dict, policy_pth, stub, tensor
from tests.made_agents import (
    data_fields,
    mlp_agent,
    mlp_state,
    pickled,
    serialized,
    state_bytes,
    vector_space,
    write_zip,
)

ESCAPE = "\x1b[2J\x9b1m\nforged: line\u2028"


def reported(path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert inspect_agent.main([str(path), *words]) == 0
    return capsys.readouterr().out


def test_the_content_of_a_file_cannot_forge_a_line_nor_move_the_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = serialized(dumps(Call(stub("no", "thing"))).replace(b"\x8c\x05thing", b"\x8c\x05th\nng"))
    space = serialized(dumps(gym_dict(**{ESCAPE: vector_space(4)})))
    state = mlp_state() | {ESCAPE: mlp_state()["q_net.q_net.0.weight"]}
    fields = data_fields(observation_space=space) | {ESCAPE: evil, f"{ESCAPE}2": {":serialized:": "?"}}
    path = write_zip(tmp_path / "a.zip", data=fields, policy=state, version=ESCAPE)
    lines = reported(path, capsys).split("\n")
    assert all(line.isprintable() for line in lines)
    assert not [line for line in lines if line.startswith("forged")]
    assert sum("forged: line" in line for line in lines) == 5  # version, space, tensor, and both fields
    document = json.loads(reported(path, capsys, "--json"))
    assert document["pickled_names"][ESCAPE] == ["no.th\nng"]
    assert ESCAPE in document["tensors"]


def test_a_tensor_name_with_half_a_surrogate_pair_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_zip(tmp_path / "a.zip", policy=policy_pth({"w\ud800": tensor()}, storages=(bytes(24),)))
    assert "policy.pth: not readable: 'w\\ud800': found a tensor name that is not valid UTF-8" in reported(path, capsys)


def inventory(path: Path) -> Any:
    return take_inventory(path, path.read_bytes())


def test_a_field_called_as_a_member_hides_nothing(tmp_path: Path) -> None:
    evil = pickled(os.system)
    fields = data_fields() | {"policy.pth": evil, "data: policy.pth": evil, "data": evil}
    names = inventory(write_zip(tmp_path / "a.zip", data=fields)).names
    for place in ("data: policy.pth", "data: policy.pth'", "data: data"):
        assert names[place] == (f"{os.name}.system",)
    assert "torch._utils._rebuild_tensor_v2" in names["policy.pth"]


def test_every_pickle_of_a_torch_file_is_listed(tmp_path: Path) -> None:
    import io
    import zipfile

    buffer = io.BytesIO(state_bytes(mlp_state()))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("more/data.pkl", b"cos\nsystem\n.")
    found = inventory(write_zip(tmp_path / "a.zip", policy=buffer.getvalue()))
    assert found.names["policy.pth: more/data.pkl"] == ("os.system",)
    assert found.unread == {"policy.pth": "found 2 members called data.pkl, expected one"}
    assert found.tensors == {}


def test_bytes_are_read_once_for_the_inventory_and_the_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = mlp_agent(tmp_path / "a")
    other = (mlp_agent(tmp_path / "b", seed=1) / "agent.zip").read_bytes()
    assert "does not load" not in reported(folder, capsys)
    read = agent_zip.read_bytes
    times = []

    def replaced_meanwhile(path: Path, **more: Any) -> bytes:
        times.append(path)
        data = read(path, **more)
        path.write_bytes(other)
        return data

    monkeypatch.setattr(agent_zip, "read_bytes", replaced_meanwhile)
    assert "does not load: the file changed while it was read" in reported(folder, capsys)
    assert len(times) == 2  # for what is shown, and for the network


def test_a_warning_is_printed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = mlp_agent(tmp_path)
    (folder / "vecnormalize.pkl").write_bytes(b"")
    assert inspect_agent.main([str(folder)]) == 0
    assert capsys.readouterr().err.count("trained with VecNormalize") == 1


def test_the_next_command_records_inputs_where_there_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = mlp_agent(tmp_path)
    assert inspect_agent.main([str(folder)]) == 0
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"record_inputs.py --agent_path {folder} --env ENV")
    (folder / "activation_inputs").mkdir()
    (folder / "activation_inputs" / "clean_inputs.json").write_text("{}")
    assert inspect_agent.main([str(folder)]) == 0
    assert "activation_extraction.py" in capsys.readouterr().err.splitlines()[-1]
