"""AGENT_FLAGS: the environment variable that supplies the flags on how an agent is loaded."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.FileFormats.activations import stored_npz_metadata
from Neuron_Selection.loading_flags import add_loading_flags, flags_of_variable, parse_with_variable
from Neuron_Selection.next_command import loading_of, next_command
from Neuron_Selection.suite_parser import SuiteParser
from tests.conftest import ROOT
from tests.extractors import MinigridFeaturesExtractor
from tests.in_process import Completed, in_process, typed
from tests.made_agents import mlp_agent, mlp_state, new_dqn, save_dqn, write_zip
from tests.raised import Parts, parts, raises, reports
from tests.test_house import SCRIPTS

LOADING_FLAGS = {
    *(
        "--device",
        "--dtype",
        "--trust",
        "--features_extractor",
        "--activation_fn",
        "--policy",
        "--vecnormalize",
        "--allow_nonfinite",
    )
}
# They read files of an agent's folder only; draw_pairs may make an environment of another package.
WITHOUT_NETWORK = {"draw_pairs": {"--trust"}, "analyze_metrics": set(), "compare_agents": set()}
EXTRACTOR = f"{ROOT}/tests/extractors.py:MinigridFeaturesExtractor"
EXTRACTION = str(ROOT / "activation_extraction.py")
FLIPS = str(ROOT / "Parameter_Selection" / "PerturbationTooling" / "find_smallest_flips.py")


def parser() -> argparse.ArgumentParser:
    made = SuiteParser(description="", example="")
    made.add_argument("agent")
    add_loading_flags(made)
    return made


def parsed(*words: str) -> dict[str, Any]:
    return vars(parse_with_variable(parser(), ["my_agent", *words]))


def with_inputs(agent: Path) -> Path:
    """An agent folder with inputs for an MLP of 4 inputs or images of 3 x 7 x 7."""
    image = agent.name.startswith("image")
    random = np.random.default_rng(0)
    rows = random.integers(0, 256, (3, 3, 7, 7)) if image else random.normal(size=(3, 4)).round(3)
    (agent / "activation_inputs").mkdir()
    inputs = {f"id-{number}": {"input": row.tolist()} for number, row in enumerate(rows)}
    for name in ("clean", "corrupted"):
        (agent / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(inputs))
    return agent


def image_agent(folder: Path, *, seed: int = 0) -> Path:
    """An agent with a custom features extractor, and inputs."""
    model = new_dqn(
        spaces.Box(0, 255, (3, 7, 7), np.uint8), policy="CnnPolicy", net_arch=[5], seed=seed,
        features_extractor_class=MinigridFeaturesExtractor,
    )  # fmt: skip
    return with_inputs(save_dqn(folder, model))


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    return with_inputs(mlp_agent(tmp_path / "agent"))


def extraction(agent: Path, *words: str) -> Completed:
    return in_process([EXTRACTION, "--agent_path", str(agent), *words], cwd=agent.parent)


def recorded(agent: Path) -> dict[str, Any]:
    """The metadata of the extracted clean activations."""
    metadata = stored_npz_metadata(agent / "activation_logging" / "clean_activations.npz")
    assert metadata is not None
    return metadata


def dtype_of(agent: Path) -> str:
    return str(recorded(agent)["run"]["dtype"])


# ---------------------------------------------------------------- precedence


def test_without_the_variable_and_with_an_empty_one_the_defaults_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = parsed()
    assert defaults["device"] == "cpu"
    monkeypatch.setenv("AGENT_FLAGS", "  ")
    assert parsed() == defaults


def test_the_variable_supplies_flags_that_are_not_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_FLAGS", "--device=cuda:1 --trust a.B c.D --policy 'my file.py:P' --allow_nonfinite")
    assert parsed("--dtype", "float64") == {
        "agent": "my_agent", "device": "cuda:1", "dtype": "float64", "trust": ["a.B", "c.D"], "activation_fn": None,
        "features_extractor": None, "policy": "my file.py:P", "vecnormalize": None, "allow_nonfinite": True,
    }  # fmt: skip


@pytest.mark.parametrize("words", [["--device", "cpu"], ["--device=cpu"]])
def test_a_typed_flag_wins_over_the_variable_even_with_its_default_value(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_FLAGS", "--device cuda --trust a.B")
    assert parsed(*words)["device"] == "cpu"
    assert parsed("--trust", "c.D") | {"device": ""} == parsed(*words) | {"trust": ["c.D"], "device": ""}


def test_the_effective_dtype_is_computed_and_recorded(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_FLAGS", "--dtype float64")
    assert extraction(agent).returncode == 0
    assert dtype_of(agent) == "float64"
    assert extraction(agent, "--dtype", "float32", "--overwrite").returncode == 0
    assert dtype_of(agent) == "float32"


def test_files_in_the_folder_of_the_agent_are_never_read_as_the_variable(agent: Path) -> None:
    for name in ("AGENT_FLAGS", ".env"):
        (agent / name).write_text("AGENT_FLAGS=--dtype float64")
    assert in_process([EXTRACTION, "--agent_path", "."], cwd=agent).returncode == 0
    assert dtype_of(agent) == "float32"


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("--engine numpy", parts(names=["arguments: --engine numpy"])),
        ("--agent_path other", parts(names=["arguments: --agent_path other"])),
        ("--overwrite", parts(names=["arguments: --overwrite"])),
        ("my_agent", parts(names=["arguments: my_agent"])),
        ("--", parts(names=["arguments: --"])),
        ("--help", parts(names=["arguments: --help"])),
        ("--dev cpu", parts(names=["arguments: --dev cpu"])),
        ("--device gpu", parts(names=["--device", "'gpu'"])),
        ("--dtype half", parts(names=["--dtype", "'half'"])),
        ("--trust", parts(names=["argument --trust"])),
        ("--dtype float32 --dtype float64", parts(names=["argument --dtype"])),
        ("--policy 'a.py:P", parts(found='"--policy \'a.py:P"', expected="words as in a shell")),
        ("--policy a\\", parts(found="'--policy a\\\\'", expected="words as in a shell")),
    ],
)
def test_anything_else_in_the_variable_is_an_error_that_names_it(
    text: str, error: Parts, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_FLAGS", text)
    before = sorted(agent.rglob("*"))
    with reports(UsageError, field="AGENT_FLAGS", **error):
        done = extraction(agent)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert sorted(agent.rglob("*")) == before
    with raises(UsageError, field="AGENT_FLAGS", **error):
        flags_of_variable()


def test_help_is_printed_whatever_the_variable_contains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_FLAGS", "'")
    done = in_process([EXTRACTION, "--help"])
    assert done.returncode == 0
    group = done.stdout.partition("how the agent is loaded:\n")[2]
    assert "AGENT_FLAGS" in group.splitlines()[0]
    assert done.stdout.count("AGENT_FLAGS") == 1


# ---------------------------------------------------------------- scripts


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_that_opens_an_agent_accepts_all_loading_flags(script: Path) -> None:
    module = importlib.import_module(".".join(script.relative_to(ROOT).with_suffix("").parts))
    flags = set(module.build_parser()._option_string_actions)
    assert flags & LOADING_FLAGS == WITHOUT_NETWORK.get(script.stem, LOADING_FLAGS)


@pytest.mark.parametrize("script", [path for path in SCRIPTS if path.stem in WITHOUT_NETWORK], ids=lambda p: p.stem)
def test_scripts_without_loading_flags_ignore_the_variable(
    script: Path, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [str(script), *([] if script.stem == "compare_agents" else ["--agent_path"]), str(agent), "--quiet"]
    monkeypatch.chdir(agent)
    without = in_process(words)
    monkeypatch.setenv("AGENT_FLAGS", "'")
    done = in_process(words)
    assert (done.returncode, done.stdout, done.stderr) == (without.returncode, without.stdout, without.stderr)
    assert "AGENT_FLAGS" not in done.stderr


def test_in_a_shell_loop_agents_with_a_custom_extractor_are_extracted_and_patched(tmp_path: Path) -> None:
    for seed, name in enumerate(("image a", "image b")):
        image_agent(tmp_path / name, seed=seed)
    python, script = shlex.quote(sys.executable), shlex.quote(EXTRACTION)
    line = (
        f"export AGENT_FLAGS={shlex.quote(f'--features_extractor {shlex.quote(EXTRACTOR)}')}\n"
        f'set -e; for agent in image*; do {python} {script} --agent_path "$agent"; done'
    )
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("image a", "image b"):
        metadata = recorded(tmp_path / name)
        assert metadata["command"]["features_extractor"] == EXTRACTOR
        assert metadata["run"]["custom_classes"]["features_extractor"]["class"] == "MinigridFeaturesExtractor"


def test_the_chain_of_next_commands_runs_and_does_not_repeat_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_agent(tmp_path / "image")
    monkeypatch.setenv("AGENT_FLAGS", f"--features_extractor {shlex.quote(EXTRACTOR)}")
    command = f"python {shlex.quote(EXTRACTION)} --agent_path image"
    for _ in range(3):
        done = typed(command, tmp_path)
        assert done.returncode == 0, done.stderr
        line = done.stderr.splitlines()[-1]
        assert line.startswith("next: python ")
        assert "--features_extractor" not in line
        command = line.partition(": ")[2]


def test_a_class_that_the_agent_does_not_use_is_an_error_as_on_the_command_line(
    agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed_error = extraction(agent, "--features_extractor", EXTRACTOR).stderr
    monkeypatch.setenv("AGENT_FLAGS", f"--features_extractor {shlex.quote(EXTRACTOR)}")
    with reports(InputError, file="agent.zip: data", flags=["--features_extractor"], names=[EXTRACTOR]):
        done = extraction(agent)
    assert done.returncode == 2
    assert done.stderr == typed_error


# ---------------------------------------------------------------- next commands


def words_after(*words: str) -> list[str]:
    """The loading flags that a next command repeats after a command line of these words."""
    return shlex.split(next_command("x.py", loading=argparse.Namespace(**parsed(*words))))[2:]


@pytest.mark.parametrize(
    "script",
    ["Neuron_Selection/ObservationTooling/record_inputs.py", "Parameter_Selection/RolloutTooling/run_rollouts.py"],
)
def test_a_custom_policy_has_another_flag_where_policy_is_how_the_agent_acts(script: str) -> None:
    loading = argparse.Namespace(policy="mine.py:Policy")
    following = shlex.split(next_command(script, "--agent_path", "my_agent", "--env", "E", loading=loading))
    assert following[-2:] == ["--policy_class", "mine.py:Policy"]
    path = ROOT / script
    build_parser = importlib.import_module(".".join(Path(script).with_suffix("").parts)).build_parser
    assert path.name in following[1]
    assert build_parser().parse_args(following[2:]).policy == "mine.py:Policy"


def test_a_next_command_repeats_typed_flags_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert words_after("--device", "auto", "--allow_nonfinite") == ["--device", "auto", "--allow_nonfinite"]
    monkeypatch.setenv("AGENT_FLAGS", "--device cuda --trust a.B --allow_nonfinite --dtype float64")
    assert words_after() == []
    assert words_after("--device", "cuda", "--allow_nonfinite") == []
    assert words_after("--device", "cpu") == ["--device", "cpu"]
    assert words_after("--trust", "c.D", "--dtype", "float32") == ["--trust", "c.D", "--dtype", "float32"]


@pytest.mark.parametrize(
    "words",
    [[], ["--device", "cpu"], ["--trust", "c.D", "a.B"], ["--dtype", "float32", "--policy", "p.py:P"]],
)
def test_the_next_command_loads_the_agent_as_this_one_did(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_FLAGS", "--device cuda --trust a.B --features_extractor f.py:F")
    assert parsed(*words_after(*words)) == parsed(*words)


def test_the_flags_of_an_earlier_run_are_repeated_unless_the_variable_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made_by = {"trust": ["a.B"], "policy": "p.py:P"}
    monkeypatch.setenv("AGENT_FLAGS", "--trust a.B --device cuda")
    command = next_command("x.py", loading=loading_of(made_by))
    assert shlex.split(command)[2:] == ["--policy", "p.py:P"]
    monkeypatch.setenv("AGENT_FLAGS", "'")  # an error of the scripts that read it
    command = next_command("x.py", loading=loading_of(made_by))
    assert shlex.split(command)[2:] == ["--trust", "a.B", "--policy", "p.py:P"]


# ---------------------------------------------------------------- smallest flips


def smallest_flips(agent: Path, *words: str) -> Completed:
    shared = ["--agent_path", str(agent), "--weights", "q_net.0.weight[0,0]; q_net.4.weight[0,1]"]
    return in_process([FLIPS, *shared, *words], cwd=agent.parent)


def test_smallest_flips_are_the_same_with_every_loading_flag(agent: Path) -> None:
    assert smallest_flips(agent).returncode == 0
    path = agent / "perturbation_results" / "smallest_flips.json"
    stored = path.read_bytes()
    done = smallest_flips(agent, "--device", "cuda", "--dtype", "float32", "--allow_nonfinite", "--json")
    assert done.returncode == 0, done.stderr
    assert "computed in float64 on the cpu; --device and --dtype have no effect here" in done.stderr
    assert json.loads(done.stdout)["written"] is False
    assert path.read_bytes() == stored
    assert json.loads(stored)["metadata"]["run"]["device"] == "cpu"


def test_smallest_flips_repeat_the_loading_flags(agent: Path) -> None:
    done = smallest_flips(agent, "--device", "auto")
    assert done.stderr.splitlines()[-1].endswith(" --device auto")


def test_smallest_flips_refuse_a_custom_network_that_the_flags_name(tmp_path: Path) -> None:
    hint = re.compile("layer features_extractor: found the .*MinigridFeaturesExtractor.*")
    with reports(UsageError, field="smallest flips", names=["only MLPs"], hint=hint):
        assert smallest_flips(image_agent(tmp_path / "image"), "--features_extractor", EXTRACTOR).returncode == 2


@pytest.mark.parametrize("words", [[], ["--allow_nonfinite"]])
def test_smallest_flips_refuse_nonfinite_weights(words: list[str], tmp_path: Path) -> None:
    state = mlp_state()
    state["q_net.q_net.2.weight"] = state["q_net.q_net.2.weight"] * torch.nan
    agent = tmp_path / "agent"
    write_zip(agent / "agent.zip", policy=state)
    hint = "found NaN or infinity in q_net.q_net.2.weight"
    with reports(UsageError, field="smallest flips", problem="only finite weights are supported", hint=hint):
        done = smallest_flips(with_inputs(agent), *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_the_tests_do_not_run_under_the_variable_of_the_session() -> None:
    assert "AGENT_FLAGS" not in os.environ
