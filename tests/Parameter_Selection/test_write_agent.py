"""Edited agents: they differ in the named weights only, Stable-Baselines3 loads them, and the inverse undoes them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3 import DQN

from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.FileFormats.agent_zip.edited_agent import TensorEdit, edited_agent_bytes
from Neuron_Selection.FileFormats.weights.edits_file import load_weight_edits
from Neuron_Selection.PatchingTooling import OpenedAgent
from Parameter_Selection.PerturbationTooling import write_agent
from Parameter_Selection.PerturbationTooling.weights.agent_edits import edits_from
from tests.made_agents import data_fields, mlp_agent, mlp_state, state_bytes, write_zip
from tests.raised import DIFFERENT_RUN, INPUT_AND_OUTPUT, Parts, parts, raises, reports

EDITS = "q_net.0.weight[7,3]=0.1; q_net.2.weight[0,0]=-0.0;q_net.4.weight[2,5] = 1e-3 ;"


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    return mlp_agent(tmp_path / "agent")


def state_of(path: Path) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in DQN.load(path).policy.state_dict().items()}


def test_the_edited_agent_gives_the_predicted_q_values_in_stable_baselines3(agent: Path, tmp_path: Path) -> None:
    original, output = (agent / "agent.zip").read_bytes(), tmp_path / "edited.zip"
    assert write_agent.main(["--agent_path", str(agent), "--edits", EDITS, "--output", str(output)]) == 0
    assert (agent / "agent.zip").read_bytes() == original
    opened = OpenedAgent(agent, engine="numpy")
    observations = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    with opened.network.with_weights(edits_from(EDITS, opened)) as edited:
        predicted = edited.scores(observations)
    loaded = DQN.load(output)
    with torch.no_grad():
        q_values = loaded.policy.q_net.double().q_net(torch.from_numpy(observations).double()).numpy()
    assert np.allclose(q_values, predicted, rtol=0, atol=1e-12)
    assert np.abs(predicted - opened.q_values(observations)).max() > 1e-4


def test_only_the_named_weights_differ_and_the_inverse_restores_them_bit_for_bit(agent: Path, tmp_path: Path) -> None:
    output, restored = tmp_path / "edited.zip", tmp_path / "restored.zip"
    assert write_agent.main(["--agent_path", str(agent), "--edits", EDITS, "--output", str(output)]) == 0
    before, after = DQN.load(agent / "agent.zip").policy.state_dict(), DQN.load(output).policy.state_dict()
    differ = {name: (before[name] != after[name]).nonzero().tolist() for name in before}
    assert {name: places for name, places in differ.items() if places} == {
        "q_net.q_net.0.weight": [[7, 3]],
        "q_net.q_net.2.weight": [[0, 0]],
        "q_net.q_net.4.weight": [[2, 5]],
    }
    assert np.signbit(after["q_net.q_net.2.weight"][0, 0].numpy())
    inverse = tmp_path / "edited.inverse.json"
    assert write_agent.main(["--agent_path", str(output), "--edits", str(inverse), "--output", str(restored)]) == 0
    assert state_of(restored) == state_of(agent / "agent.zip")
    hashes = [OpenedAgent(path).agent_zip.weights_sha256 for path in (agent, output, restored)]
    assert hashes[0] == hashes[2] != hashes[1]


def test_every_other_member_is_carried_over_and_numbers_stay_aligned(agent: Path, tmp_path: Path) -> None:
    output = tmp_path / "edited.zip"
    assert write_agent.main(["--agent_path", str(agent), "--edits", EDITS, "--output", str(output)]) == 0
    with zipfile.ZipFile(agent / "agent.zip") as old, zipfile.ZipFile(output) as new:
        assert old.namelist() == new.namelist()
        for name in old.namelist():
            assert (old.read(name) == new.read(name)) == (name != "policy.pth"), name
            assert old.getinfo(name).date_time == new.getinfo(name).date_time
        policy = new.read("policy.pth")
    (tmp_path / "policy.pth").write_bytes(policy)
    mapped = torch.load(tmp_path / "policy.pth", mmap=True, weights_only=True)
    assert all(tensor.data_ptr() % 64 == 0 or tensor.numel() == 0 for tensor in mapped.values())


def test_the_manifest_records_agent_edits_and_result(agent: Path, tmp_path: Path) -> None:
    output = tmp_path / "edited.zip"
    assert write_agent.main(["--agent_path", str(agent), "--edits", EDITS, "--output", str(output)]) == 0
    manifest = load_weight_edits(tmp_path / "edited.edits.json")
    first = manifest["edits"][0]
    weight = OpenedAgent(agent).online_weights["q_net.0.weight"][7, 3]
    assert first == {
        "layer_name": "q_net.0.weight",
        "neuron_index": 7,
        "weight_index": 3,
        "value": float(np.float32(0.1)),
        "value_before": float(weight),
    }
    metadata = manifest["metadata"]
    assert metadata["weights_sha256"] == OpenedAgent(agent).agent_zip.weights_sha256
    assert metadata["edited_weights_sha256"] == OpenedAgent(output).agent_zip.weights_sha256
    again = tmp_path / "again.zip"
    words = ["--agent_path", str(agent), "--edits", str(tmp_path / "edited.edits.json"), "--output", str(again)]
    assert write_agent.main(words) == 0
    assert again.read_bytes() == output.read_bytes()


def test_an_up_to_date_agent_is_left_alone_and_another_needs_overwrite(
    agent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--agent_path", str(agent), "--output", str(tmp_path / "edited.zip"), "--json", "--edits"]
    assert write_agent.main([*words, EDITS]) == 0
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert set(files) == {"edited.zip", "edited.edits.json", "edited.inverse.json"}
    capsys.readouterr()
    assert write_agent.main([*words, EDITS]) == 0
    assert json.loads(capsys.readouterr().out)["written"] is False
    with reports(InputError, file="edited.zip", problem=DIFFERENT_RUN):
        assert write_agent.main([*words, "q_net.0.weight[0,0]=1"]) == 2
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == files
    assert write_agent.main([*words, "q_net.0.weight[0,0]=1", "--overwrite"]) == 0
    assert (tmp_path / "edited.zip").read_bytes() != files["edited.zip"]


def test_the_original_is_never_the_output(agent: Path) -> None:
    original = (agent / "agent.zip").read_bytes()
    words = ["--agent_path", str(agent), "--edits", EDITS, "--overwrite", "--output", str(agent / "agent.zip")]
    with reports(InputError, file=agent / "agent.zip", problem=INPUT_AND_OUTPUT):
        assert write_agent.main(words) == 2
    assert (agent / "agent.zip").read_bytes() == original
    assert [path.name for path in agent.iterdir()] == ["agent.zip"]


@pytest.mark.parametrize(
    ("edits", "error"),
    [
        (";", parts(file=";", problem="no such file")),
        ("q_net.0.weight[0,0]", parts(file="q_net.0.weight[0,0]", problem="no such file")),
        (
            "q_net.0.weight[0,0]=x",
            parts(field="edits", found="'q_net.0.weight[0,0]=x'", expected="PARAMETER[ROW,COLUMN]=NUMBER"),
        ),
        (
            "q_net.0.weight[0,0]=1_0",
            parts(field="edits", found="'q_net.0.weight[0,0]=1_0'", expected="PARAMETER[ROW,COLUMN]=NUMBER"),
        ),
        ("q_net.0.weight[0]=1", parts(field="weights", found="'q_net.0.weight[0]'", expected="PARAMETER[ROW,COLUMN]")),
        (
            "q_net.0.weight[-1,0]=1",
            parts(field="weights", found="'q_net.0.weight[-1,0]'", expected="PARAMETER[ROW,COLUMN]"),
        ),
        (
            "q_net.0.weight[0,0]=nan",
            parts(field="q_net.0.weight[0,0]", found="the value nan", expected="a finite float32"),
        ),
        (
            "q_net.0.weight[0,0]=inf",
            parts(field="q_net.0.weight[0,0]", found="the value inf", expected="a finite float32"),
        ),
        (
            "q_net.0.weight[0,0]=1e39",
            parts(field="q_net.0.weight[0,0]", found="the value 1e+39", expected="a finite float32"),
        ),
        (
            "q_net.0.weight[8,0]=1",
            parts(
                file="edits",
                field="q_net.0.weight[8,0]",
                problem="index out of range for this agent",
                expected="rows 0..7, columns 0..3",
            ),
        ),
        (
            "q_net.0.weight[0,4]=1",
            parts(
                file="edits",
                field="q_net.0.weight[0,4]",
                problem="index out of range for this agent",
                expected="rows 0..7, columns 0..3",
            ),
        ),
        (
            "q_net.0.bias[0,0]=1",
            parts(
                file="edits",
                field="'q_net.0.bias'",
                found="a tensor of shape (8,)",
                expected="a weight of rows and columns",
            ),
        ),
        ("q_net.6.weight[0,0]=1", parts(file="edits", names=["'q_net.6.weight'"])),
        (
            "q_net.0.weight[0,0]=1;q_net.0.weight[0,0]=2",
            parts(file="edits", field="q_net.0.weight[0,0]", problem="is given twice"),
        ),
    ],
)
def test_wrong_edits_are_refused_and_nothing_is_written(
    agent: Path, tmp_path: Path, edits: str, error: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--agent_path", str(agent), "--edits", edits, "--output", str(tmp_path / "edited.zip")]
    with reports(InputError if "file" in error else UsageError, **error):
        assert write_agent.main(words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_edits_longer_than_a_file_name_may_be_are_edits(agent: Path, tmp_path: Path) -> None:
    places = [(row, column) for row in range(8) for column in range(4)]
    edits = "; ".join(f"q_net.0.weight[{row},{column}]={row + column / 8}" for row, column in places)
    assert len(edits) > 255
    words = ["--agent_path", str(agent), "--output", str(tmp_path / "edited.zip")]
    assert write_agent.main([*words, "--edits", edits]) == 0
    weights = np.frombuffer(state_of(tmp_path / "edited.zip")["q_net.q_net.0.weight"], np.float32).reshape(8, 4)
    assert all(weights[row, column] == row + column / 8 for row, column in places)


def test_the_name_of_an_edits_file_may_look_like_an_edit(agent: Path, tmp_path: Path) -> None:
    words = ["--agent_path", str(agent), "--output", str(tmp_path / "edited.zip")]
    assert write_agent.main([*words, "--edits", EDITS]) == 0
    named = tmp_path / "q_net.0.weight[0,0]=1"
    (tmp_path / "edited.edits.json").rename(named)
    for left in tmp_path.glob("edited.*"):
        left.unlink()
    assert write_agent.main([*words, "--edits", str(named)]) == 0


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"edits": []}, parts(field="edits", found="a list of length 0", expected="a list of length at least 1")),
        ({"edits": [{}]}, parts(field="edits[0].layer_name", problem="is missing")),
        (
            {"edits": [{"layer_name": "q_net.0.weight", "neuron_index": True, "weight_index": 0}]},
            parts(field="edits[0].neuron_index", found="true", expected="a whole number"),
        ),
        (
            {"edits": [{"layer_name": "q_net.0.weight", "neuron_index": 0, "weight_index": 0, "value": "1"}]},
            parts(field="edits[0].value", found="'1'", expected="a finite number"),
        ),
        (
            {"edits": [{"layer_name": "q_net.0.weight", "neuron_index": 0, "weight_index": 0, "value": 10**400}]},
            parts(field="edits[0].value", found="an integer of 1329 bits", expected="a finite number"),
        ),
        (
            {
                "edits": [{"layer_name": "q_net.0.weight", "neuron_index": 0, "weight_index": 0, "value": 1}],
                "metadata": {"weights_sha256": "0" * 64},
            },
            parts(field="metadata.weights_sha256", names=["another agent ('000"]),
        ),
    ],
)
def test_an_edits_file_that_is_wrong_or_of_another_agent_is_refused(
    agent: Path, tmp_path: Path, document: object, error: Parts
) -> None:
    path = tmp_path / "some.json"
    path.write_text(json.dumps(document))
    with raises(InputError, file=path, **error):
        edits_from(str(path), OpenedAgent(agent))


def test_a_tensor_that_shares_its_numbers_with_another_is_refused(tmp_path: Path) -> None:
    state = mlp_state()
    state["q_net_target.q_net.0.weight"] = state["q_net.q_net.0.weight"]
    path = write_zip(tmp_path / "agent.zip", data=data_fields(), policy=state_bytes(state))
    edit = TensorEdit(tensor="q_net.q_net.0.weight", index=(0, 0), value=5.0)
    with raises(
        InputError,
        file="agent.zip",
        field="q_net_target.q_net.0.weight",
        problem="shares its numbers with another tensor",
    ):
        edited_agent_bytes(path.read_bytes(), [edit], where=path)


def test_deflated_zips_and_parameters_are_edited_too(tmp_path: Path) -> None:
    state = {name: torch.nn.Parameter(tensor.t().contiguous().t()) for name, tensor in mlp_state().items()}
    path = write_zip(tmp_path / "agent.zip", data=data_fields(), policy=state_bytes(state))
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    output = tmp_path / "edited.zip"
    words = ["--agent_path", str(packed), "--edits", "q_net.2.weight[5,7]=3", "--output", str(output)]
    assert write_agent.main(words) == 0
    weights = OpenedAgent(output).online_weights["q_net.2.weight"]
    expected = state["q_net.q_net.2.weight"].detach().numpy().copy()
    expected[5, 7] = 3
    assert np.array_equal(weights, expected)
    with zipfile.ZipFile(output) as new:
        assert {info.compress_type for info in new.infolist()} == {zipfile.ZIP_DEFLATED}


def test_candidates_become_an_agent(agent: Path, tmp_path: Path) -> None:
    folder = agent / "gradient_analysis"
    folder.mkdir()
    target = {"layer_name": "q_net.2.weight", "neuron_index": 1, "weight_index": 2, "gradient_magnitude": 0.5}
    run = {"run": {"weights_sha256": OpenedAgent(agent).agent_zip.weights_sha256}}
    (folder / "candidate_weights.json").write_text(json.dumps({"weight_targets": [target], "metadata": run}))
    output = tmp_path / "edited.zip"
    words = ["--agent_path", str(agent), "--candidates", "candidate_weights.json", "--output", str(output)]
    with reports(UsageError, flags=["--candidates", "--value"]):
        assert write_agent.main(words) == 2
    by_hand = ["--agent_path", str(agent), "--edits", "q_net.2.weight[1,2]=0", "--mode", "add"]
    with reports(UsageError, flags=["--mode", "--edits"]):
        assert write_agent.main([*by_hand, "--output", str(output)]) == 2
    assert write_agent.main([*words, "--value", "-1"]) == 0
    before, after = (OpenedAgent(path).online_weights["q_net.2.weight"] for path in (agent, output))
    assert after[1, 2] == -before[1, 2]
    assert np.count_nonzero(after != before) == 1


@pytest.mark.parametrize("last", ["edited.edits.json", "edited.inverse.json", "edited.zip"])
def test_an_interrupted_edit_is_resumed(
    last: str, agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before any of the three files, the same command succeeds, with the same bytes."""
    words = ["--agent_path", str(agent), "--edits", EDITS, "--output", str(tmp_path / "edited.zip"), "--quiet"]
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if Path(target).name == last:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        assert write_agent.main(words) == 130
    assert not (tmp_path / "edited.zip").exists()
    assert write_agent.main(words) == 0
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert set(files) == {"edited.zip", "edited.edits.json", "edited.inverse.json"}
    assert write_agent.main([*words, "--overwrite"]) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == files
