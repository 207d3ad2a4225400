"""Bad input to the root scripts: the right exit code, one line that says what is wrong, and nothing written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import activation_extraction
import activation_patching
from tests.conftest import ROOT
from tests.made_agents import class_named, data_fields, mlp_agent, mlp_state, serialized, write_zip

IDS = ["env-v0-81110-6,4,0-0763", "env-v0-81110-6,4,1-0764", "a_b;c:d/e"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An agent with three pairs of inputs, extracted."""
    folder = mlp_agent(tmp_path_factory.mktemp("template") / "agent")
    (folder / "activation_inputs").mkdir()
    random = np.random.default_rng(0)
    for name in ("clean", "corrupted"):
        inputs = {input_id: {"input": random.normal(size=4).round(3).tolist()} for input_id in IDS}
        (folder / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(inputs))
    assert activation_extraction.main(["--agent_path", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def agent(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "agent"))


def patching(agent: Path, **changed: str | list[str] | bool) -> list[str]:
    """The words of a patching command; None leaves a flag out, True is a flag without value."""
    flags: dict[str, str | list[str] | bool] = {
        "agent_path": str(agent),
        "target_input": "corrupted_inputs.json",
        "source_activations": "clean_activations.npz",
        "patch_spec": "q_net.0:1,2",
        **changed,
    }
    words: list[str] = []
    for name, value in flags.items():
        values = [] if value is True else value if isinstance(value, list) else [value]
        words += [f"--{name}", *map(str, values)]
    return words


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def fails(
    main: Callable[[list[str]], int],
    words: list[str],
    code: int,
    says: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> list[str]:
    """Run and hold the rules that every fault is under; the lines on stderr from ``error:`` on."""
    before = files_of(folder)
    capsys.readouterr()
    assert main(words) == code
    out, err = capsys.readouterr()
    lines = err.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("error: "))
    assert out == ""
    assert says in lines[start]
    assert len(lines[start]) <= 410
    assert lines[start].isprintable()
    assert "Traceback" not in err
    assert len(lines) - start in (1, 3)
    assert files_of(folder) == before
    return lines[start:]


# --- A: the agent


def cut(share: float) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    place = data.index(b"q_net.q_net.0.weight") + 3000
    data[place] ^= 1
    path.write_bytes(data)


def payload(path: Path) -> None:
    marker = path.parent / "marker"
    code = f"cos\nsystem\n(S'touch {marker}'\ntR."
    write_zip(path, data=data_fields(policy_kwargs=serialized(code.encode())))


A_FAULTS: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "A1 path missing": (lambda path: shutil.rmtree(path.parent), 2, "found no such file or folder"),
    "A2 no zip": (lambda path: path.unlink(), 2, "found no zip, expected agent.zip"),
    "A4 empty": (lambda path: path.write_bytes(b""), 2, "found an empty file, expected a zip file"),
    "A5 git-lfs": (lambda path: path.write_text("version https://git-lfs.example/spec/v1\n"), 2, "a git-lfs pointer"),
    "A6 web page": (lambda path: path.write_text("<!DOCTYPE html><html>"), 2, "found a web page"),
    "A7 cut at 10 %": (cut(0.1), 2, "truncated"),
    "A7 cut at 50 %": (cut(0.5), 2, "truncated"),
    "A7 cut at 99 %": (cut(0.99), 2, "truncated"),
    "A8 a bit flipped": (flip_a_bit, 2, "found a damaged member"),
    "A22 payload": (payload, 3, "policy_kwargs: found a call of 'os.system', expected plain values"),
    "A24 PPO": (
        lambda path: write_zip(path, data=data_fields(policy_class=serialized(
            class_named("stable_baselines3.ppo.policies", "MlpPolicy")))),
        2, "a policy of PPO, expected a DQN policy (MlpPolicy, CnnPolicy, MultiInputPolicy)"),
    "A31 tensor missing": (
        lambda path: write_zip(path, policy={k: v for k, v in mlp_state().items() if k != "q_net.q_net.2.bias"}),
        2, "q_net.q_net.2.bias: found no such tensor"),
    "A33 wrong shape": (
        lambda path: write_zip(path, policy=mlp_state(width=5)), 2, "found shape (8, 5), expected (8, 4)"),
}  # fmt: skip


@pytest.mark.parametrize("script", [activation_extraction, activation_patching], ids=lambda script: script.__name__)
@pytest.mark.parametrize("fault", A_FAULTS)
def test_a_bad_agent(fault: str, script: object, agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, code, says = A_FAULTS[fault]
    spoil(agent / "agent.zip")
    words = patching(agent, overwrite=True)
    if script is activation_extraction:
        words = ["--agent_path", str(agent), "--overwrite"]
    fails(script.main, words, code, says, agent.parent, capsys)  # type: ignore[attr-defined]
    assert not (agent / "marker").exists()


# --- B: the patch spec

B_FAULTS = {
    "B1": ("", "empty patch spec"), "B2": (";", "empty patch spec"), "B3": ("  ", "empty patch spec"),
    "B4": ("q_net.0", "found no ':'"), "B5": ("q_net.0:", "found no neurons after ':'"),
    "B6": (":5", "found no layer before ':'"), "B7": ("qnet.0:5", "unknown layer 'qnet.0'; did you mean q_net.0?"),
    "B8": ("q_net.99:1", "unknown layer"), "B9": ("q_net.0.weight:1", "a parameter; its layer is q_net.0"),
    "B10": ("q_net_target.0:1", "unknown layer"), "B11": ("q_net:1", "a container of layers"),
    "B13": ("q_net.0:8", "found neuron 8 in q_net.0, expected 0..7"),
    "B14": ("q_net.0:100000000000000000000", "of 21 digits"), "B15": ("q_net.0:-1", "found '-1', expected a neuron"),
    "B16": ("q_net.0:1_0", "found '1_0'"), "B17": ("q_net.0:٣", "found '٣'"), "B18": ("q_net.0:+5", "found '+5'"),
    "B19": ("q_net.0:5.0", "found '5.0'"), "B19b": ("q_net.0:1e3", "found '1e3'"),
    "B20": ("q_net.0:5,,7", "found nothing, expected a neuron index"), "B21": ("q_net.0:5,", "found nothing"),
    "B24": ("q_net.0:5,5", "neuron 5 of q_net.0 named twice"), "B25": ("q_net.0:5;q_net.0:7", "named twice"),
    "B26": ("q_net.0:all,5", "found 'all' beside indices"), "B27": ("q_net.0:ALL", "found 'ALL'"),
    "B28": ("q_net.0:7-5", "found the range 7-5, expected one that rises"), "B29": ("q_net.0:5:7", "found '5:7'"),
    "B30": ("q_net.0：5；", "found no ':'"),
}  # fmt: skip


@pytest.mark.parametrize("fault", B_FAULTS)
def test_a_bad_patch_spec_gets_a_caret(fault: str, agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, says = B_FAULTS[fault]
    lines = fails(activation_patching.main, patching(agent, patch_spec=spec), 2, says, agent, capsys)
    assert lines[1] == f"  {spec}"
    assert lines[2].strip() == "^"


@pytest.mark.parametrize("spec", ["q_net.q_net.0:1;", " q_net.0 : 1 , 2 ; q_net.2:all ", "q_net.0:5-7"])
def test_specs_that_are_unusual_and_right(spec: str, agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert activation_patching.main(patching(agent, patch_spec=spec)) == 0
    assert "q_net.q_net" not in (agent / "patching_results" / "patching.json").read_text()
    assert capsys.readouterr().out


# --- C: inputs; the reader's own faults are tested with it, these are the ways through both scripts

C_FAULTS = {
    "C1 missing": (None, "found no such file in"),
    "C2 empty": ("", "found an empty file, expected JSON"),
    "C3 no JSON": ('{"a": [1,\n 2', "line 2, column 3: found no JSON"),
    "C4 UTF-16": ('{"a": [1,2,3,4]}'.encode("utf-16"), "found bytes that are no UTF-8"),
    "C5 twice": ('{"a": [1,2,3,4], "a": [1,2,3,4]}', "'a': found this key twice in one object"),
    "C6 list": ("[[1,2,3,4]]", "found a list, expected an object {id:"),
    "C7 none": ("{}", "found no inputs, expected at least one id"),
    "C8 no input": ('{"a": {"inputs": [1]}}', "'a': found 'inputs', expected the key 'input'"),
    "C9 NaN": ('{"a": [1,2,3,NaN]}', "found the literal NaN, expected finite numbers"),
    "C10 1e39": ('{"a": [1,2,3,1e39]}', "'a'[3]: found 1e+39, expected at most 3.4e+38 in size"),
    "C11 null": ('{"a": [1,2,3,null]}', "'a': found null, expected numbers"),
    "C12 true": ('{"a": [1,2,3,true]}', "'a': found true, expected numbers"),
    "C13 text": ('{"a": {"input": [1,2,3,"4"]}}', "'a'.input: found '4', expected numbers"),
    "C14 ragged": ('{"a": [[1,2],[3]]}', "'a': found lists of unequal lengths"),
    "C15 width": ('{"a": [1,2,3,4,5]}', "'a': found 5 numbers, expected 4 numbers"),
    "C16 two rows": ('{"a": [[1,2,3,4],[1,2,3,4]]}', "'a': found an array of 2 x 4, expected 4 numbers"),
    "C27 control": ('{"a\\u0000b": [1,2,3,4]}', "found an unprintable character, expected a printable input id"),
}


@pytest.mark.parametrize("script", [activation_extraction, activation_patching], ids=lambda script: script.__name__)
@pytest.mark.parametrize("fault", C_FAULTS)
def test_a_bad_inputs_file(fault: str, script: object, agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, says = C_FAULTS[fault]
    path = agent / "activation_inputs" / "corrupted_inputs.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    words = patching(agent)
    if script is activation_extraction:
        words = ["--agent_path", str(agent), "--inputs", "corrupted_inputs.json", "--output_dir", str(agent / "new")]
    fails(script.main, words, 2, says, agent.parent, capsys)  # type: ignore[attr-defined]


def test_ids_with_commas_and_slashes_are_one_id_each(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert activation_patching.main(patching(agent, input_ids=[IDS[0], IDS[2]])) == 0
    assert list(json.loads((agent / "patching_results" / "patching.json").read_text())) == [IDS[0], IDS[2]]
    listed = agent / "ids.txt"
    listed.write_text(f"{IDS[2]}\n{IDS[1]}\n")
    assert activation_patching.main(patching(agent, input_ids=f"@{listed}", output_prefix="listed")) == 0
    assert list(json.loads((agent / "patching_results" / "listed.json").read_text())) == [IDS[2], IDS[1]]
    capsys.readouterr()
    says = "input id 'env-v0-81110-6': found no such one, expected one of 3"
    line = fails(activation_patching.main, patching(agent, input_ids="env-v0-81110-6"), 2, says, agent, capsys)[0]
    assert IDS[0] in line


# --- D: activations

D_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "D1 missing": (lambda path: path.unlink(), "found no such file in"),
    "D2 truncated": (cut(0.6), "found a truncated or damaged zip"),
    "D3 empty zip": (lambda path: path.write_bytes(b"PK\x05\x06" + bytes(18)), "found 0 arrays, none called"),
    "D4 pickled": (lambda path: np.savez(path, **{"x_q_net.0": np.array([{}], object)}), "found pickled objects"),
    "D5 bare pickle": (lambda path: path.write_bytes(b"\x80\x04K\x01."), "found a bare pickle, expected a zip file"),
    "D8 layer": (lambda path: rewritten(path, lambda key: "q_net.0" not in key), "q_net.0: found no such layer"),
    "D9 id": (lambda path: rewritten(path, lambda key: IDS[1] not in key), "found no such one, expected one of 2"),
    "D10 width": (lambda path: np.savez(path, **{f"{i}_q_net.0": np.zeros((1, 9), np.float32) for i in IDS}),
                  "q_net.0: found outputs of shape (9,), expected (8,)"),
    "D28 readable": (lambda path: path.write_bytes(b"{}"), "found JSON, expected a .npz file"),
}  # fmt: skip


def rewritten(path: Path, keep: Callable[[str], bool]) -> None:
    with np.load(path) as stored:
        arrays = {key: stored[key] for key in stored.files if key != "__metadata__" and keep(key)}
    np.savez(path, **arrays)


@pytest.mark.parametrize("fault", D_FAULTS)
def test_bad_activations(fault: str, agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, says = D_FAULTS[fault]
    spoil(agent / "activation_logging" / "clean_activations.npz")
    fails(activation_patching.main, patching(agent), 2, says, agent, capsys)


def test_activations_of_another_agent_need_a_flag_that_is_recorded(
    agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mlp_agent(agent, seed=1)
    fails(activation_patching.main, patching(agent), 2, "--allow_mismatch takes them", agent, capsys)
    assert activation_patching.main(patching(agent, allow_mismatch=True)) == 0
    meta = json.loads((agent / "patching_results" / "patching.meta.json").read_text())
    assert meta["run"]["source"]["weights_match"] is False


def test_activations_of_others_are_taken_with_a_warning(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewritten(agent / "activation_logging" / "clean_activations.npz", lambda _: True)
    assert activation_patching.main(patching(agent)) == 0
    assert "warning: " in capsys.readouterr().err


# --- F: command line, process, machine

F_FAULTS: dict[str, tuple[dict[str, str | list[str] | bool], int, str]] = {
    "F1 unknown flag": ({"colour": "red"}, 2, "unrecognized arguments: --colour red"),
    "F5 no such device": ({"device": "cuda:77"}, 4, "device cuda:77: found"),
    "F7 no device": ({"device": "cudaa"}, 2, "found 'cudaa', expected auto, cpu, cuda or cuda:N"),
    "F9 prefix": ({"output_prefix": "../x"}, 2, "output prefix: found '../x', expected a plain file name"),
    "F10 long prefix": ({"output_prefix": "x" * 300}, 2, "expected a shorter file name"),
    "F11 reserved": ({"output_prefix": "con"}, 2, "expected a plain file name"),
    "threads": ({"threads": "0"}, 2, "--threads: found '0', expected a whole number from 1"),
    "same spec twice": ({"patch_spec": ["q_net.0:1", "q_net.0:1"]}, 2, "found 'q_net.0:1' twice"),
}


@pytest.mark.parametrize("fault", F_FAULTS)
def test_a_bad_command_line(fault: str, agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags, code, says = F_FAULTS[fault]
    fails(activation_patching.main, patching(agent, **flags), code, says, agent, capsys)


def test_flags_twice_abbreviated_missing_or_without_value(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = patching(agent)
    main = activation_patching.main
    fails(main, [*words, "--agent_path", "x"], 2, "argument --agent_path: found twice", agent, capsys)
    fails(main, [*words, "--output_pre", "x"], 2, "unrecognized arguments: --output_pre", agent, capsys)
    fails(main, words[:-1], 2, "argument --patch_spec: expected at least one argument", agent, capsys)
    fails(main, words[2:], 2, "the following arguments are required: --agent_path", agent, capsys)


def test_an_output_that_would_replace_an_input_is_refused(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = agent / "patching_results" / "mine.json"
    target.parent.mkdir()
    shutil.copy(agent / "activation_inputs" / "corrupted_inputs.json", target)
    words = patching(agent, target_input=str(target), output_prefix="mine", overwrite=True)
    fails(activation_patching.main, words, 2, "found as input and as output", agent, capsys)


def test_two_inputs_files_of_one_name_are_refused(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = agent / "other"
    other.mkdir()
    shutil.copy(agent / "activation_inputs" / "clean_inputs.json", other)
    words = ["--agent_path", str(agent), "--inputs", "clean_inputs.json", str(other / "clean_inputs.json")]
    fails(activation_extraction.main, words, 2, "two files whose activations would be called 'clean'", agent, capsys)


def test_unknown_layers_to_extract_are_refused(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--agent_path", str(agent), "--layers", "q_net.0", "q_net.7", "--output_dir", str(agent / "new")]
    fails(activation_extraction.main, words, 2, "layer 'q_net.7': found no such one", agent, capsys)
    words[4] = "q_net"
    fails(activation_extraction.main, words, 2, "layer 'q_net': a container of layers", agent, capsys)


def test_a_full_disk_leaves_the_old_files_and_exits_4(
    agent: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert activation_patching.main(patching(agent)) == 0

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    words = patching(agent, patch_spec="q_net.0:3", overwrite=True)
    before = files_of(agent)
    assert activation_patching.main(words) == 4
    assert "patching.json: No space left on device" in capsys.readouterr().err
    assert files_of(agent) == before


def test_an_output_folder_that_is_a_file_exits_4(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (agent / "patching_results").write_text("")
    fails(activation_patching.main, patching(agent), 4, "found a file, expected a folder", agent, capsys)


def test_json_gives_one_document(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert activation_patching.main([*patching(agent), "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert err == ""
    (run,) = document["runs"]
    assert (run["direction"], run["engine"]) == ("denoising", "hooks")
    (summary,) = run["experiments"]
    assert set(summary) == {"patch_spec", "inputs", "contrast_pairs", "flips", "matches", "near_ties", "must_match"}
    assert summary["inputs"] == 3


# --- the process itself: each exit code once, as a shell sees it


def shell(words: list[str], **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "activation_patching.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload, no-any-return]


def test_each_exit_code_as_a_shell_sees_it(agent: Path, tmp_path: Path) -> None:
    assert shell(patching(agent)).returncode == 0
    wrong = shell(patching(agent, patch_spec="q_net.0:99"))
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.splitlines()[0] == "error: patch spec: found neuron 99 in q_net.0, expected 0..7"
    assert "Traceback" in shell([*patching(agent, patch_spec="q_net.0:99"), "--debug"]).stderr
    assert shell(patching(agent, device="cuda:77", output_prefix="other")).returncode == 4
    payload(agent / "agent.zip")
    assert shell(patching(agent)).returncode == 3


def test_a_hostile_module_in_the_users_folder_is_never_imported(agent: Path, tmp_path: Path) -> None:
    for name in ("json", "torch", "numpy", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('hostile')")
        shutil.copy(tmp_path / f"{name}.py", agent / f"{name}.py")
    assert shell(patching(agent), cwd=tmp_path).returncode == 0
    assert shell(patching(agent, output_prefix="two"), cwd=agent).returncode == 0


def test_python_with_optimisation_and_strict_warnings(agent: Path) -> None:
    command = [sys.executable, "-O", "-W", "error", str(ROOT / "activation_patching.py"), *patching(agent)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_usage_errors_need_no_torch(agent: Path) -> None:
    code = (
        "import sys, activation_patching\n"
        "assert activation_patching.main(sys.argv[1:]) == 2\n"
        "assert not {'torch', 'stable_baselines3', 'gymnasium'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", code, *patching(agent, patch_spec="q_net.0:99")]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_its_code_and_nothing_half_written(
    number: signal.Signals, code: int, agent: Path
) -> None:
    before = files_of(agent)
    stuck = (
        "import os, sys, activation_patching\n"
        "def fsync(_file):\n"
        "    print('writing', file=sys.stderr, flush=True)\n"
        "    while True: pass\n"
        "os.fsync = fsync\n"
        "sys.exit(activation_patching.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", stuck, *patching(agent), "--engine", "fast", "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stderr is not None
    while process.stderr.readline() != "writing\n":  # warnings may come first
        assert process.poll() is None
    assert list(agent.rglob("*.tmp"))
    process.send_signal(number)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert err.splitlines()[-1].endswith("nothing half-written was left")
    assert files_of(agent) == before


def test_a_closed_pipe_is_no_traceback(agent: Path) -> None:
    words = " ".join(f"'{word}'" for word in [sys.executable, str(ROOT / "activation_patching.py"), *patching(agent)])
    run = subprocess.run(f"{words} | true", shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in run.stderr
    assert "BrokenPipe" not in run.stderr
    for _ in range(600):  # the writer may outlive `true`
        if (agent / "patching_results" / "patching.meta.json").exists():
            return
        time.sleep(0.1)
    pytest.fail("no results were written")


@pytest.mark.parametrize("flag", ["patches_file", "reference_inputs"])
def test_a_file_that_is_read_is_never_written_over(
    flag: str, agent: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    own = tmp_path / "own" / "x.json"
    own.parent.mkdir()
    inputs = (agent / "activation_inputs" / "clean_inputs.json").read_text()
    own.write_text('[{"q_net.0": [1]}]' if flag == "patches_file" else inputs)
    words = ["--agent_path", str(agent), "--target_input", "clean_inputs.json", "--ablate", "mean", "--overwrite"]
    words += ["--output_dir", str(own.parent), "--output_prefix", "x", f"--{flag}", str(own)]
    words += [] if flag == "patches_file" else ["--patch_spec", "q_net.0:1"]
    fails(activation_patching.main, words, 2, "found as input and as output", own.parent, capsys)


def test_a_damaged_twin_is_made_again_by_overwrite(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twin = agent / "activation_logging" / "clean_activations_readable.json"
    kept = twin.read_bytes()
    twin.write_bytes(kept + b" ")
    words = ["--agent_path", str(agent), "--inputs", "clean_inputs.json"]
    fails(activation_patching.main, patching(agent), 2, "--overwrite makes both again", agent, capsys)
    fails(activation_extraction.main, words, 2, "found the output of another run", agent, capsys)
    assert activation_extraction.main([*words, "--overwrite"]) == 0
    assert twin.read_bytes() == kept
    assert activation_patching.main(patching(agent)) == 0


def test_a_readable_file_of_somebody_else_is_kept(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logging = agent / "activation_logging"
    (logging / "clean_activations.npz").unlink()
    (logging / "clean_activations_readable.json").write_text('{"mine": 1}')
    words = ["--agent_path", str(agent), "--inputs", "clean_inputs.json"]
    fails(activation_extraction.main, words, 2, "readable.json: found the output of another run", agent, capsys)


@pytest.mark.parametrize("broken", [1, 2])
def test_a_disk_that_is_full_at_the_second_file_leaves_both_as_they_were(
    broken: int, agent: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert activation_patching.main(patching(agent)) == 0
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == broken:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    words = patching(agent, patch_spec="q_net.0:3", overwrite=True)
    fails(activation_patching.main, words, 4, "No space left on device", agent, capsys)
    assert len(calls) == broken


def run(words: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The real script, as a process of its own."""
    command = [sys.executable, str(ROOT / "activation_patching.py"), *words, "--engine", "fast"]
    return subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="names of other bytes than UTF-8 are Linux's")
def test_a_folder_whose_name_is_no_utf_8_works(agent: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/ag\xe9nt"))
    agent.rename(odd)
    result = run(patching(odd), tmp_path)
    assert result.returncode == 0, result.stderr
    assert b"ag\\udce9nt" in result.stdout
    assert "ag\\udce9nt" in (odd / "patching_results" / "patching.meta.json").read_text()
    assert b"up to date" in run(patching(odd), tmp_path).stderr


def test_a_terminal_of_another_encoding_gets_escapes(agent: Path, tmp_path: Path) -> None:
    odd = agent.rename(tmp_path / "agé")
    for environment in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        result = run([*patching(odd), "--overwrite"], tmp_path, **environment)
        assert result.returncode == 0, result.stderr
        assert b"results: " in result.stdout


def test_a_closed_stdout_is_no_fault(agent: Path, tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / "activation_patching.py"), *patching(agent), "--engine", "fast"]
    result = subprocess.run(["bash", "-c", '"$@" >&-', "bash", *words], cwd=tmp_path, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (agent / "patching_results" / "patching.json").exists()


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")]
)
def test_a_lack_of_memory_exits_4(
    error: Exception, agent: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_arguments: object, **_more: object) -> None:
        raise error

    monkeypatch.setattr("Neuron_Selection.PatchingTooling.q_values.compute_q_values", lacking)
    monkeypatch.setattr("Neuron_Selection.PatchingTooling.hooks_engine.compute_q_values", lacking)
    fails(activation_patching.main, patching(agent), 4, "out of memory", agent, capsys)


def test_another_runtime_error_is_a_bug_and_traces_back(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_more: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("Neuron_Selection.PatchingTooling.hooks_engine.compute_q_values", broken)
    with pytest.raises(RuntimeError, match="broken"):
        activation_patching.main(patching(agent))


def test_an_inputs_file_called_like_an_output_is_never_written_over(
    agent: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("a.json", "a_activations_readable.json"):
        shutil.copy(agent / "activation_inputs" / "clean_inputs.json", own / name)
    words = ["--agent_path", str(agent), "--output_dir", str(own), "--overwrite", "--inputs"]
    words += [str(own / "a.json"), str(own / "a_activations_readable.json")]
    fails(activation_extraction.main, words, 2, "found as input and as output", own, capsys)


def test_threads_are_set_for_every_numerical_library(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    for variable in variables:
        monkeypatch.setenv(variable, "1")
    assert activation_patching.main([*patching(agent), "--dry_run", "--threads", "3"]) == 0
    assert [os.environ[variable] for variable in variables] == ["3", "3", "3"]
