"""A long run that was killed resumes from its finished blocks and ends with the bytes of an undisturbed run."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats import kept_blocks
from Neuron_Selection.FileFormats.kept_blocks import KeptBlocks
from tests.conftest import ROOT
from tests.faults.script_runs import snapshot
from tests.raised import raises

METADATA = {"format": 1, "suite_version": "0", "libraries": {}, "run": {"seed": 1}}
PERTURBATION = "Parameter_Selection.PerturbationTooling"
EXPERIMENTS = "Neuron_Selection.ExperimentTooling"
NUMPY = "Neuron_Selection.PatchingTooling.numpy_network"

# of each script: its module, flags, the function that computes a block, what makes blocks small, calls outside blocks
RUNS: dict[str, tuple[str, list[str], str, dict[str, int], int]] = {
    "sweep": (
        f"{EXPERIMENTS}.run_experiments",
        [],
        f"{NUMPY}.patches.scores_of_interventions",
        {f"{EXPERIMENTS}.sweeps.sweep.BLOCK_BYTES": 1},
        2,  # the check of a whole layer, in each direction
    ),
    "perturbation": (
        f"{PERTURBATION}.perturb_weights",
        ["--weights", "q_net.0.weight[0,1]; q_net.2.weight[1,2]", "--control_sets", "3"],
        f"{NUMPY}.weight_changes.scores_of_weight_changes",
        {
            f"{NUMPY}.network._SCORES_AT_ONCE": 1,
            f"{PERTURBATION}.perturbations.sweep._BLOCK_BYTES": 1,
        },
        0,
    ),
    "minimal sets": (
        f"{EXPERIMENTS}.find_minimal_sets",
        ["--budget", "50", "--direction", "denoising"],
        f"{EXPERIMENTS}.minimal_sets.explain._searched",
        {},
        0,
    ),
}


class Killed(BaseException):
    """Used like a signal: nothing in the suite catches it."""


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """The example agent, without outputs."""
    folder = tmp_path / "agent"
    shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", folder)
    return folder


class Counted:
    """Counts the calls of a function, and raises instead of one of them."""

    def __init__(self, function: Callable[..., Any], killed_at: int | None = None) -> None:
        self.function, self.killed_at, self.calls = function, killed_at, 0

    def __call__(self, *args: Any, **named: Any) -> Any:
        self.calls += 1
        if self.calls == self.killed_at:
            raise Killed
        return self.function(*args, **named)


def attempt(name: str, agent: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int | None = None) -> int:
    """Run the script in this process; how many blocks it computed."""
    module, flags, function, small, _ = RUNS[name]
    owner, attribute = function.rsplit(".", 1)
    with monkeypatch.context() as patched:
        for setting, value in small.items():
            patched.setattr(setting, value)
        counted = Counted(getattr(importlib.import_module(owner), attribute), killed_at)
        patched.setattr(function, counted)
        words = ["--agent_path", str(agent), "--quiet", *flags]
        if killed_at is None:
            assert importlib.import_module(module).main(words) == 0
        else:
            with pytest.raises(Killed):
                importlib.import_module(module).main(words)
    return counted.calls


def blocks_in(agent: Path) -> list[Path]:
    return [path for path in agent.rglob("*.blocks/*") if path.is_file()]


def empty(agent: Path) -> None:
    for name in ("patching_results", "perturbation_results"):
        shutil.rmtree(agent / name, ignore_errors=True)


@pytest.mark.parametrize("name", RUNS)
def test_finished_blocks_are_not_computed_again(
    name: str, agent: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty(agent)
    monkeypatch.setattr(kept_blocks, "AFTER_SECONDS", 0.0)
    every = attempt(name, agent, monkeypatch)
    whole = snapshot(agent)
    outside = RUNS[name][4]
    assert every - outside > 3
    for killed_at in (outside + 2, every):
        empty(agent)
        attempt(name, agent, monkeypatch, killed_at=killed_at)
        done = killed_at - 1 - outside
        assert len(blocks_in(agent)) == done
        assert attempt(name, agent, monkeypatch) == every - done
        assert snapshot(agent) == whole
    capsys.readouterr()


@pytest.mark.parametrize("name", RUNS)
def test_a_block_that_is_cut_or_changed_is_computed_again(
    name: str, agent: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty(agent)
    monkeypatch.setattr(kept_blocks, "AFTER_SECONDS", 0.0)
    every = attempt(name, agent, monkeypatch)
    whole = snapshot(agent)
    empty(agent)
    attempt(name, agent, monkeypatch, killed_at=every)
    for place, path in enumerate(blocks_in(agent)):
        data = path.read_bytes()
        path.write_bytes(data[:-1] if place % 2 else data[:-1] + bytes([data[-1] ^ 1]))
    assert attempt(name, agent, monkeypatch) == every
    assert snapshot(agent) == whole
    capsys.readouterr()


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_less_than_a_minute_keeps_nothing(
    name: str, agent: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty(agent)
    attempt(name, agent, monkeypatch, killed_at=RUNS[name][4] + 3)
    assert not blocks_in(agent)
    capsys.readouterr()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeptBlocks:
    monkeypatch.setattr(kept_blocks, "AFTER_SECONDS", 0.0)
    return KeptBlocks(tmp_path / "sweep.npz", METADATA)


def test_a_block_is_read_by_its_name_and_by_the_run_that_wrote_it_alone(kept: KeptBlocks, tmp_path: Path) -> None:
    kept.keep("first", b"1")
    assert (kept.read("first"), kept.read("second")) == (b"1", None)
    other = KeptBlocks(tmp_path / "sweep.npz", {**METADATA, "run": {"seed": 2}})
    assert other.read("first") is None
    path = next(tmp_path.rglob("*.blocks/*"))
    folder = path.parent.with_name(path.parent.name.replace(other._run[:16], ""))
    assert folder == path.parent
    shutil.copytree(path.parent, other._folder)
    assert other.read("first") is None


def test_blocks_of_the_first_minute_are_written_with_the_first_one_after_it(
    kept: KeptBlocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_blocks, "AFTER_SECONDS", 1e9)
    monkeypatch.setattr(kept_blocks, "_HELD_BYTES", 2)
    for name in ("first", "second", "one too many"):
        kept.keep(name, b"1")
        assert kept.read(name) is None
    monkeypatch.setattr(kept_blocks, "AFTER_SECONDS", 0.0)
    kept.keep("fourth", b"4")
    assert [kept.read(name) for name in ("first", "second", "one too many", "fourth")] == [b"1", b"1", None, b"4"]


@pytest.mark.parametrize("name", RUNS)
def test_blocks_are_of_use_without_those_before_them(
    name: str, agent: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty(agent)
    monkeypatch.setattr(kept_blocks, "AFTER_SECONDS", 0.0)
    every = attempt(name, agent, monkeypatch)
    empty(agent)
    attempt(name, agent, monkeypatch, killed_at=every)
    gone = min(blocks_in(agent), key=lambda path: path.stat().st_mtime_ns)
    gone.unlink()
    assert attempt(name, agent, monkeypatch) == 2 + RUNS[name][4]
    capsys.readouterr()


def test_several_passes_of_the_network_share_a_block(
    agent: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty(agent)
    monkeypatch.setattr(kept_blocks, "AFTER_SECONDS", 0.0)
    monkeypatch.setitem(RUNS["perturbation"][3], f"{PERTURBATION}.perturbations.sweep._BLOCK_BYTES", 1 << 18)
    every = attempt("perturbation", agent, monkeypatch)
    whole = snapshot(agent)
    empty(agent)
    attempt("perturbation", agent, monkeypatch, killed_at=every)
    blocks = len(blocks_in(agent))
    again = attempt("perturbation", agent, monkeypatch)
    assert again < blocks < every - again  # each block spares the passes of all its changes
    assert snapshot(agent) == whole
    capsys.readouterr()


def test_blocks_of_every_run_of_an_output_are_removed_once_it_is_written(kept: KeptBlocks, tmp_path: Path) -> None:
    kept.keep("first", b"1")
    KeptBlocks(tmp_path / "sweep.npz", {**METADATA, "run": {"seed": 2}}).keep("first", b"1")
    KeptBlocks(tmp_path / "other.npz", METADATA).keep("first", b"1")
    kept.remove()
    (left,) = tmp_path.glob(".*.blocks")
    assert left.name.startswith(".other.npz.")


def test_a_link_instead_of_the_blocks_is_refused_and_not_followed(kept: KeptBlocks, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("stays")
    kept._folder.symlink_to(elsewhere)
    with raises(UsageError, file=kept._folder, names=[elsewhere]):
        kept.read("first")
    kept.remove()
    assert (elsewhere / "precious").read_text() == "stays"


def test_a_block_is_not_written_through_a_link(kept: KeptBlocks, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("stays")
    kept.keep("first", b"1")
    path = next(tmp_path.rglob("*.blocks/*"))
    path.unlink()
    path.symlink_to(precious)
    kept.keep("first", b"1")
    assert (kept.read("first"), precious.read_text(), path.is_symlink()) == (b"1", "stays", False)


def test_a_disk_without_room_for_blocks_keeps_none(kept: KeptBlocks, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, *_args: Any, **_named: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    kept.keep("first", b"1")
    assert kept.read("first") is None
