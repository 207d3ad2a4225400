from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from Neuron_Selection.errors import InputError, SuiteError, UsageError
from Neuron_Selection.ObservationTooling import draw_pairs, generate_pairs, verify_pairs
from tests.made_normalizers import new_normalizer, saved
from tests.raised import parts, reports

ROOT = Path(__file__).resolve().parents[2]
AGENT = ROOT / "examples" / "lava_crossing" / "agent"
FIRST = next(iter(json.loads((AGENT / "activation_inputs" / "pairs.json").read_text())))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "agent").mkdir()
    shutil.copy(AGENT / "agent.zip", tmp_path / "agent")
    return tmp_path / "agent"


def test_generated_pairs_are_verified_and_not_replaced_unasked(folder, capsys):
    arguments = ["--agent_path", str(folder), "--n_pairs", "4", "--n_env_seeds", "6", "--seed", "0", "--json"]
    assert generate_pairs.main(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["pairs"], summary["clusters"], sum(summary["edits"].values())) == (4, 4, 4)
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    assert {str(path) for path in before} == set(summary["written"])

    assert verify_pairs.main(["--agent_path", str(folder)]) == 0
    assert capsys.readouterr().out == "4 pairs rebuilt, all bit for bit the same\n"

    corrupted = folder / "activation_inputs" / "corrupted_inputs.json"
    corrupted.write_text(corrupted.read_text().replace("[1.0, 0.0", "[0.0, 0.0", 1))
    field = re.compile("corrupted input '.*-0000'")
    error = parts(file=folder, field=field, names=["1 of 151 numbers"])
    with reports(InputError, **error):
        assert verify_pairs.main(["--agent_path", str(folder)]) == 2
    corrupted.write_bytes(before[corrupted])

    with reports(InputError, file="clean_inputs.json", flags=["--overwrite"]):
        assert generate_pairs.main(arguments) == 2
    assert generate_pairs.main([*arguments, "--overwrite"]) == 0
    assert {path: path.read_bytes() for path in folder.rglob("*.json")} == before


def test_pairs_of_an_agent_behind_vecnormalize_hold_raw_observations(folder, capsys):
    arguments = ["--agent_path", str(folder), "--n_pairs", "2", "--n_env_seeds", "6", "--seed", "0", "--overwrite"]

    def generated(*words):
        assert generate_pairs.main([*arguments, *words]) == 0
        assert "VecNormalize" not in capsys.readouterr().err
        return {path: path.read_bytes() for path in folder.rglob("*.json")}

    def generated_with(mean):
        normalizer = new_normalizer(spaces.Box(-1, 1, (151,), np.float32), epsilon=0)
        normalizer.obs_rms.mean[:], normalizer.obs_rms.var[:] = mean, 1
        saved(normalizer, folder / "vecnormalize.pkl")
        return generated("--vecnormalize", "vecnormalize.pkl")

    before = generated()
    assert generated_with(mean=0) == before  # these statistics change nothing
    assert generated_with(mean=0.01) != before
    assert verify_pairs.main(["--agent_path", str(folder)]) == 0


def test_too_many_pairs_asked_for_leave_nothing_behind(folder):
    words = ["--agent_path", str(folder), "--n_pairs", "90", "--n_env_seeds", "1"]
    with reports(SuiteError, field="pairs", found=re.compile(r"\d\d?"), expected="90"):
        assert generate_pairs.main(words) == 2
    assert [path.name for path in folder.iterdir()] == ["agent.zip"]


@pytest.mark.parametrize(
    ("flag", "error"),
    [
        ("--min_margin=nan", parts(field="min_margin", found="nan", expected="a finite number from 0")),
        ("--min_margin=-0.1", parts(field="min_margin", found="-0.1", expected="a finite number from 0")),
        ("--min_margin=1_0", parts(names=["--min_margin", "'1_0'"])),
        ("--seed=-1", parts(names=["--seed", "'-1'"])),
    ],
)
def test_a_margin_or_seed_that_is_none_is_named(folder, flag, error):
    with reports(UsageError, **error):
        assert generate_pairs.main(["--agent_path", str(folder), flag]) == 2


def test_an_id_that_names_a_module_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / "evil_environments.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    folder = shutil.copytree(AGENT, tmp_path / "agent")
    for name in ("clean_inputs", "corrupted_inputs", "pairs"):
        path = folder / "activation_inputs" / f"{name}.json"
        path.write_text(path.read_text().replace(FIRST, f"evil_environments:{FIRST}"))
    for script, more in ((verify_pairs, []), (draw_pairs, ["--output_dir", str(tmp_path / "out")])):
        field = "environment 'evil_environments:MiniGrid-LavaCrossingS9N1-v0'"
        words = ["--agent_path", str(folder), *more]
        with reports(UsageError, field=field, problem="must not name a module"):
            assert script.main(words) == 2
    assert not (tmp_path / "out").exists()


def test_verifying_what_is_not_there_names_the_file(folder):
    words = ["--agent_path", str(folder)]
    with reports(InputError, file="pairs.json", problem=...):
        assert verify_pairs.main(words) == 2


def test_pictures_are_drawn_for_the_ids_asked_for(tmp_path, capsys):
    arguments = ["--agent_path", str(AGENT), "--input_ids", FIRST, "--output_dir", str(tmp_path)]
    assert draw_pairs.main(arguments) == 0
    assert capsys.readouterr().out == f"{tmp_path / FIRST}.png\n"
    assert (tmp_path / f"{FIRST}.png").read_bytes().startswith(b"\x89PNG")
    with reports(InputError, file=f"{FIRST}.png", flags=["--overwrite"]):
        assert draw_pairs.main(arguments) == 2
    assert draw_pairs.main([*arguments, "--overwrite"]) == 0
    misspelt = [*arguments[:3], FIRST[:-1], *arguments[4:]]
    with reports(InputError, file=AGENT / "activation_inputs", names=[f"'{FIRST[:-1]}'", f"'{FIRST}'"]):
        assert draw_pairs.main(misspelt) == 2


@pytest.mark.parametrize("name", ["generate_pairs", "verify_pairs", "draw_pairs"])
def test_the_scripts_start_as_files_from_anywhere(name, tmp_path):
    script = ROOT / "Neuron_Selection" / "ObservationTooling" / f"{name}.py"
    done = subprocess.run([sys.executable, script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--agent_path" in done.stdout
