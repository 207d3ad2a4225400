from __future__ import annotations

from pathlib import Path

import pytest

from Neuron_Selection.errors import InputError, SuiteWarning
from Neuron_Selection.FileFormats.agent_zip.agent_folder import (
    ACTIVATIONS,
    INPUTS,
    AgentFolder,
    find_agent,
    warn_of_normalizer,
)
from tests.raised import parts, raises


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(name.encode())


def test_a_folder_with_agent_zip_is_that_agent():
    make("dqn/agent.zip", "dqn/best_model.zip")
    assert find_agent("dqn") == AgentFolder(zip_path=Path("dqn/agent.zip"), folder=Path("dqn"))


def test_a_zip_is_itself_and_its_outputs_belong_to_its_folder():
    make("dqn/dqn-CartPole-v1.zip")
    found = find_agent(Path("dqn/dqn-CartPole-v1.zip"))
    assert found == AgentFolder(zip_path=Path("dqn/dqn-CartPole-v1.zip"), folder=Path("dqn"))


def test_links_are_agents_too():
    make("real/agent.zip")
    Path("dqn").mkdir()
    Path("dqn/agent.zip").symlink_to("../real/agent.zip")
    Path("folder").symlink_to("real")
    assert find_agent("dqn").zip_path == Path("dqn/agent.zip")
    assert find_agent("folder").zip_path == Path("folder/agent.zip")


def test_a_broken_agent_zip_is_not_passed_over_for_another():
    make("dqn/other.zip")
    Path("dqn/agent.zip").symlink_to("nowhere")
    assert find_agent("dqn").zip_path == Path("dqn/agent.zip")


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["CartPole-v1_3/model.zip", "CartPole-v1_3/notes.txt"], "model.zip"),
        (["CartPole-v1_3/best_model.zip", "CartPole-v1_3/CartPole-v1.zip"], "CartPole-v1.zip"),
        (["CartPole-v1_3/train_eval_metrics.zip", "CartPole-v1_3/dqn-CartPole-v1.zip"], "dqn-CartPole-v1.zip"),
    ],
)
def test_without_agent_zip_the_one_used_is_reported(files, chosen):
    make(*files)
    with pytest.warns(SuiteWarning) as caught:
        found = find_agent("CartPole-v1_3")
    assert found == AgentFolder(zip_path=Path("CartPole-v1_3") / chosen, folder=Path("CartPole-v1_3"))
    assert [str(one.message) for one in caught] == [f"CartPole-v1_3: contains no agent.zip; {chosen} is used"]


@pytest.mark.parametrize(
    ("files", "asked", "error"),
    [
        ([], "dqn", parts(problem='no such file or folder', hint='--agent_path names an agent folder or a zip')),
        (["dqn/notes.txt"], "dqn", parts(problem='contains no zip', hint='--agent_path may also name a zip')),
        (["dqn/train_eval_metrics.zip"], "dqn",
         parts(problem='contains no zip', hint='--agent_path may also name a zip')),
        (["dqn/b.zip", "dqn/a.zip"], "dqn",
         parts(problem='contains 2 zips (a.zip, b.zip) and no agent.zip', hint='--agent_path may also name a zip')),
    ],
)  # fmt: skip
def test_a_path_without_one_agent_is_an_error(files, asked, error):
    make(*files)
    with raises(InputError, file=asked, **error):
        find_agent(asked)


def agent():
    make("dqn/agent.zip")
    return find_agent("dqn")


def test_a_bare_name_is_looked_for_in_the_agents_place_first():
    make("dqn/activation_inputs/clean.json")
    assert agent().find("clean.json", INPUTS) == Path("dqn/activation_inputs/clean.json")


def test_a_bare_name_is_looked_for_in_the_working_directory_next():
    make("clean.json")
    assert agent().find("clean.json", INPUTS) == Path("clean.json")


def test_in_both_and_different_the_agents_own_is_used_with_a_warning():
    make("clean.json", "dqn/activation_inputs/clean.json")
    with pytest.warns(SuiteWarning) as caught:
        found = agent().find("clean.json", INPUTS)
    assert found == Path("dqn/activation_inputs/clean.json")
    (message,) = [str(one.message) for one in caught]
    assert message.startswith(f"clean.json: is in {Path.cwd()} and in dqn/activation_inputs, with different content")
    assert message.endswith("; dqn/activation_inputs/clean.json is used")


def test_in_both_and_equal_nothing_is_reported():
    make("clean.json", "dqn/activation_inputs/clean.json")
    Path("dqn/activation_inputs/clean.json").write_bytes(Path("clean.json").read_bytes())
    assert agent().find("clean.json", INPUTS) == Path("dqn/activation_inputs/clean.json")


@pytest.mark.parametrize("name", ["sub/clean.json", "./clean.json", "./sub/../clean.json", "/absent/clean.json"])
def test_a_name_with_a_directory_is_a_path_from_the_working_directory(name):
    make("dqn/activation_inputs/sub/clean.json", "dqn/activation_inputs/clean.json")
    assert agent().find(name, INPUTS) == Path(name)


def test_a_name_in_neither_place_names_both(here):
    with raises(InputError, file="clean.json", names=["dqn/activation_inputs", here]):
        agent().find("clean.json", INPUTS)


def test_missing_activations_name_the_script_that_makes_them():
    make("dqn/agent.zip")
    with raises(
        InputError,
        file="clean_activations.npz",
        names=["dqn/activation_logging"],
        hint="activation_extraction.py makes it",
    ):
        find_agent("dqn").find("clean_activations.npz", ACTIVATIONS)


@pytest.mark.parametrize("name", ["vecnormalize.pkl", "vec_normalize.pkl"])
@pytest.mark.parametrize("place", ["CartPole-v1_1", "CartPole-v1_1/CartPole-v1", "CartPole-v1_1/best_model"])
def test_an_agent_trained_behind_vecnormalize_is_named(place, name):
    make("CartPole-v1_1/best_model.zip", f"{place}/{name}")
    with pytest.warns(SuiteWarning, match=f"{name}: trained with VecNormalize; .* unless --vecnormalize names this"):
        warn_of_normalizer(find_agent("CartPole-v1_1/best_model.zip"))


def test_another_agents_vecnormalize_next_to_a_zip_is_not_this_ones(recwarn):
    make("runs/mine.zip", "runs/other/vecnormalize.pkl")
    warn_of_normalizer(find_agent("runs/mine.zip"))
    assert not recwarn.list


def test_a_folder_called_like_a_zip_is_no_agent():
    make("runs/odd.zip/notes.txt", "runs/mine.zip")
    with pytest.warns(SuiteWarning, match=r"mine.zip is used"):
        assert find_agent("runs").zip_path == Path("runs/mine.zip")


def test_a_text_too_long_to_be_a_name_is_no_file():
    name = "x" * 300
    make("dqn/agent.zip")
    with raises(
        InputError,
        file=name,
        names=["dqn/activation_inputs"],
    ):
        find_agent("dqn").find(name, INPUTS)
    with raises(
        InputError,
        file=name,
        problem="no such file or folder",
        hint="--agent_path names an agent folder or a zip",
    ):
        find_agent(name)
