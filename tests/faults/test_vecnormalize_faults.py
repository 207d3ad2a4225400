"""List A, VecNormalize: a bad vecnormalize.pkl is refused by every script without torch; a good one works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.recorded_runs import metadata_of
from tests.faults.script_runs import NO_TORCH, SCRIPTS, refused, words_of, works
from tests.made_agents import vector_space
from tests.made_normalizers import new_normalizer, saved
from tests.raised import NO_SUCH_FILE, Parts, bad_state, bad_value

by_script = pytest.mark.parametrize("script", SCRIPTS)
NAME = "vecnormalize.pkl"


def good(width: int = 4) -> Callable[[Path], object]:
    return lambda path: saved(new_normalizer(vector_space(width)), path)


def cut(path: Path) -> None:
    path.write_bytes(good()(path).read_bytes()[:-9])


def payload(path: Path) -> None:
    path.write_bytes(f"cos\nsystem\n(Vtouch {path.parent / 'marker'}\ntR.".encode())


# name: (how the file is made, exit code, the error)
BAD_FILES: dict[str, tuple[Callable[[Path], object], int, Parts]] = {
    "A41 missing": (lambda _: None, 2, bad_state("vecnormalize.pkl", NO_SUCH_FILE)),
    "A42 git-lfs": (
        lambda path: path.write_bytes(b"version https://git-lfs.example/spec/v1\n"),
        2,
        bad_value("vecnormalize.pkl", "a git-lfs pointer instead of the file"),
    ),
    "A43 cut": (cut, 2, bad_value("vecnormalize.pkl", "a damaged pickle")),
    "A44 another agent's": (good(5), 2, bad_value("obs_rms.mean", "shape (5,)")),
    "A45 payload": (payload, 3, bad_value("vecnormalize.pkl", "a call of 'os.system'")),
}


@by_script
@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_bad_vecnormalize_file_is_refused_without_torch(fault: str, script: str, agent: Path) -> None:
    make, code, error = BAD_FILES[fault]
    make(agent / NAME)
    refused(words_of(script, agent, vecnormalize=NAME), code, error, agent.parent, orders=NO_TORCH)
    assert not list(agent.parent.rglob("marker"))


@by_script
def test_a_good_vecnormalize_file_works_and_is_recorded(script: str, agent: Path) -> None:
    """A46."""
    good()(agent / NAME)
    works(words_of(script, agent, fast=True, vecnormalize=NAME), orders=NO_TORCH)
    assert metadata_of(script, agent)["run"]["vecnormalize"]["file"] == NAME
