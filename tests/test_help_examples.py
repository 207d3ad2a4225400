"""The example at the end of every ``--help`` runs as printed, in the root, on the copy that the README names."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_house import SCRIPTS
from tests.test_readme import README

SLOW = "generate_pairs.py"  # finds a hundred pairs anew; its flags are checked, and other tests run it


def module_of(script: Path):
    return importlib.import_module(".".join(script.relative_to(ROOT).with_suffix("").parts))


def example_of(script: Path) -> list[str]:
    """The words after ``python SCRIPT``."""
    epilog = module_of(script).build_parser().epilog
    program, path, *words = shlex.split(epilog.removeprefix("example:").replace("\\\n", " "))
    assert (program, path) == ("python", str(script.relative_to(ROOT)))
    return words


def test_the_examples_run_one_after_the_other_in_the_order_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy,) = re.findall(r"`cp -r (\S+) (my_agent)`", README)
    shutil.copytree(ROOT / copy[0], tmp_path / copy[1])
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("agent"))
    monkeypatch.chdir(tmp_path)
    ran = []
    for script in sorted(SCRIPTS, key=lambda path: README.index(f"{path.name}`")):
        words = example_of(script)
        if script.name == SLOW:
            module_of(script).build_parser().parse_args(words)
            continue
        code = module_of(script).main([*words, "--quiet"])
        assert code == 0, f"{script.name} {words}\n{capsys.readouterr().err}"
        ran.append(script.name)
    assert len(ran) == len(SCRIPTS) - 1
    assert {"gradients", "groups.json", "edited.zip"} <= {path.name for path in tmp_path.iterdir()}
