"""The scripts, run as from a shell, and the rules for every fault."""

from __future__ import annotations

import ctypes
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from Neuron_Selection.command_line import THREAD_VARIABLES
from tests.conftest import ROOT
from tests.faults.golden_messages import check_message
from tests.in_process import Completed, in_process
from tests.raised import Parts, check_parts, reported_errors

Flag = str | list[str] | bool | None

SALIENCY, STEPS = "SaliencyTooling/initial_test.py", "SaliencyTooling/InitialGradients"
WEIGHTS = "Parameter_Selection/PerturbationTooling/perturb_weights.py"
PATHS = {
    "E": "activation_extraction.py", "P": "activation_patching.py", "G": SALIENCY, "W": WEIGHTS,
    "gradients": f"{STEPS}/gradients.py", "average": f"{STEPS}/average.py", "extract": f"{STEPS}/extract.py",
}  # fmt: skip
SCRIPTS = ["E", "P", "G", "W"]  # extraction, patching, gradient pipeline, weights
HAS_ENGINE = {"E", "P"}  # the others run numpy by themselves where it applies
BROKEN_MACHINE = Path(__file__).parent / "broken_machine"
NO_TORCH = {"forbid": ["torch", "stable_baselines3", "gymnasium"]}
LINE_LIMIT = 400
_LARGE = 1 << 23


def flags_of(script: str, agent: Path) -> dict[str, Flag]:
    """The flags of a command that works on the ``agent`` of conftest.py, and replaces what an earlier run wrote."""
    shared: dict[str, Flag] = {"agent_path": str(agent), "overwrite": True}
    summary = agent / "patching_results" / "cross_metric_summary.json"
    own: dict[str, dict[str, Flag]] = {
        "E": {"inputs": "clean_inputs.json"},
        "P": {"target_input": "clean_inputs.json", "ablate": "zero", "patch_spec": "q_net.0:1,2"},
        "G": {"inputs": "clean_inputs.json"},
        "W": {"inputs": "clean_inputs.json", "weights": "q_net.0.weight[0,1]", "values": "0", "control_sets": "0"},
        "gradients": {"inputs": "clean_inputs.json"},
        "average": {"agent_path": None, "gradients_path": str(agent / "gradient_analysis" / "weight_gradients.json")},
        "extract": {
            "agent_path": None,
            "cross_metric_path": str(summary),
            "average_gradients_path": str(agent / "gradient_analysis" / "average_gradients.json"),
        },
    }
    return {**shared, **own[script]}


def words_of(script: str, agent: Path, **changed: Flag) -> list[str]:
    """A command as words; None leaves a flag out, True is a flag without value.

    ``inputs`` names the inputs file of every script, ``fast`` takes numpy where there is a choice.
    """
    if script == "P" and "inputs" in changed:
        changed["target_input"] = changed.pop("inputs")
    if changed.pop("fast", None) and script in HAS_ENGINE:
        changed["engine"] = "fast"
    words = [str(ROOT / PATHS[script])]
    for name, value in {**flags_of(script, agent), **changed}.items():
        values = [] if value is True else value if isinstance(value, list) else [value]
        words += [] if value is None else [f"--{name}", *map(str, values)]
    return words


def environment(orders: dict[str, Any] | None = None, **changed: str | None) -> dict[str, str]:
    """This process's environment less what would reach into Python; None leaves a variable out.

    :param orders: of the broken machine
    """
    ours = {"MKL_CBWR", *THREAD_VARIABLES}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV")) and k not in ours}
    if orders:
        kept |= {"PYTHONPATH": str(BROKEN_MACHINE), "BROKEN_MACHINE": json.dumps(orders)}
    changes = {"CUDA_VISIBLE_DEVICES": "", **changed}
    return {k: v for k, v in {**kept, **changes}.items() if v is not None}


def needs_a_process(orders: dict[str, Any]) -> bool:
    """Whether a machine broken like this cannot be restored in the same process."""
    return bool({"signal", "absent"} & orders.keys()) or orders.get("call") == "read"


def run(words: list[str], *, orders: dict[str, Any] | None = None, process: bool = False, **more: Any) -> Completed:
    """The script, to its end: in this process, or in one of its own where ``process`` asks or the fault needs it.

    :param more: of ``run_process``; there is no such thing in this process
    """
    if process or more or needs_a_process(orders or {}):
        return run_process(words, orders=orders, **more)
    rest = {key: value for key, value in (orders or {}).items() if key != "forbid"}
    try:
        if rest:
            _machine().install(rest)
        return in_process(words, forbid=(orders or {}).get("forbid", ()))
    finally:
        if rest:
            _machine().restore()


@cache
def _machine() -> Any:
    spec = spec_from_file_location("broken_machine", BROKEN_MACHINE / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    machine = module_from_spec(spec)
    spec.loader.exec_module(machine)
    return machine


def run_process(
    words: list[str], *, orders: dict[str, Any] | None = None, python: tuple[str, ...] = (), **more: Any
) -> Completed:
    """The script in a process of its own, to its end."""
    settings: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    settings |= {"env": environment(orders), "timeout": 120, **more}
    return subprocess.run(
        [sys.executable, *python, *words], text=True, errors="surrogateescape", check=False, **settings
    )


def without_privileges() -> None:
    """In the child: root obeys permissions as every user does. For ``preexec_fn``."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            there = libc.prctl(23, capability, 0, 0, 0) == 1
            if there and libc.prctl(24, capability, 0, 0, 0):  # out of the bounding set: gone after exec
                raise OSError(ctypes.get_errno(), "prctl")


@cache
def privileges_can_be_dropped() -> bool:
    """Whether a child can be made to obey permissions; a sandbox may forbid root to give anything up."""
    try:
        subprocess.run([sys.executable, "-c", ""], preexec_fn=without_privileges, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def snapshot(folder: Path) -> dict[str, Any]:
    """Every file, folder, link and pipe below ``folder``, files with their bytes."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        content: Any = stat.S_IFMT(mode)
        if stat.S_ISLNK(mode):
            content = str(path.readlink())
        elif stat.S_ISREG(mode):
            large = path.stat().st_size > _LARGE
            content = path.stat().st_size if large or not mode & 0o400 else path.read_bytes()
        found[str(path.relative_to(folder))] = content
    return found


def error_line(reported: Completed, code: int) -> str:
    """Check what a failed run shows to its user; its one error line."""
    lines = reported.stderr.splitlines()
    assert reported.returncode == code, reported.stderr
    assert reported.stdout == ""
    assert "Traceback" not in reported.stderr
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, reported.stderr
    assert len(errors[0]) <= LINE_LIMIT
    assert errors[0].isprintable()
    behind = lines[lines.index(errors[0]) + 1 :]  # a patch spec and its caret
    assert not behind or (len(behind) == 2 and behind[1].strip() == "^"), reported.stderr
    check_message(code, errors[0])
    return errors[0]


def fails(words: list[str], code: int, expected: Parts | str, **more: Any) -> str:
    """Run; the script must end with ``code`` and report one error; its error line.

    :param expected: the parts of the error, see ``check_parts``; or the words that the operating system has for it
    """
    with reported_errors() as errors:
        line = error_line(run(words, **more), code)
    if isinstance(expected, str):
        assert expected in line, line
        return line
    for error in errors:
        check_parts(error, **expected)
    if not errors:  # the script ran in a process of its own
        texts = [text for value in expected.values() for text in (value if isinstance(value, list) else [value])]
        assert all(text in line for text in texts if isinstance(text, str)), line
    return line


def refused(words: list[str], code: int, expected: Parts | str, folder: Path, **more: Any) -> str:
    """Run as ``fails`` does; the script must leave ``folder`` as it was."""
    before = snapshot(folder)
    line = fails(words, code, expected, **more)
    assert snapshot(folder) == before
    return line


def works(words: list[str], **more: Any) -> Completed:
    """Run; the script must succeed and print where its result is."""
    reported = run(words, **more)
    assert reported.returncode == 0, reported.stderr
    assert reported.stdout
    assert "Traceback" not in reported.stderr
    assert "error: " not in reported.stderr
    return reported


def no_temporary_files(folder: Path) -> bool:
    """Whether everything that was begun was finished or cleared away."""
    return not list(folder.rglob("*.tmp"))


Spoil = Callable[[Path], object]
