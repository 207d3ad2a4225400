"""List A, VecNormalize: a bad vecnormalize.pkl is refused by every script without torch; a good one works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.recorded_runs import metadata_of
from tests.faults.script_runs import NO_TORCH, SCRIPTS, refused, words_of, works
from tests.made_agents import vector_space
from tests.made_normalizers import new_normalizer, saved

by_script = pytest.mark.parametrize("script", SCRIPTS)
NAME = "vecnormalize.pkl"


def good(width: int = 4) -> Callable[[Path], object]:
    return lambda path: saved(new_normalizer(vector_space(width)), path)


def cut(path: Path) -> None:
    path.write_bytes(good()(path).read_bytes()[:-9])


def payload(path: Path) -> None:
    path.write_bytes(f"cos\nsystem\n(Vtouch {path.parent / 'marker'}\ntR.".encode())


# name: (how the file is made, exit code, words of the error line)
BAD_FILES: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "A41 missing": (lambda _: None, 2, f"{NAME}: no such file in"),
    "A42 git-lfs": (
        lambda path: path.write_bytes(b"version https://git-lfs.example/spec/v1\n"),
        2,
        "found a git-lfs pointer instead of the file",
    ),
    "A43 cut": (cut, 2, "found a damaged pickle"),
    "A44 another agent's": (good(5), 2, "obs_rms.mean: found shape (5,), expected (4,)"),
    "A45 payload": (payload, 3, "found a call of 'os.system', expected a VecNormalize saved by Stable-Baselines3"),
}


@by_script
@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_bad_vecnormalize_file_is_refused_without_torch(fault: str, script: str, agent: Path) -> None:
    make, code, says = BAD_FILES[fault]
    make(agent / NAME)
    refused(words_of(script, agent, vecnormalize=NAME), code, says, agent.parent, orders=NO_TORCH)
    assert not list(agent.parent.rglob("marker"))


@by_script
def test_a_good_vecnormalize_file_works_and_is_recorded(script: str, agent: Path) -> None:
    """A46."""
    good()(agent / NAME)
    works(words_of(script, agent, fast=True, vecnormalize=NAME), orders=NO_TORCH)
    assert metadata_of(script, agent)["run"]["vecnormalize"]["file"] == NAME
