"""Where an agent and its files lie: which zip a folder means, and what a bare file name means."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from Neuron_Selection.errors import InputError, SuiteWarning, shown
from Neuron_Selection.FileFormats.storage.atomic_files import is_there, read_bytes, refuse_link

INPUTS = "activation_inputs"
ACTIVATIONS = "activation_logging"
RESULTS = "patching_results"
GRADIENTS = "gradient_analysis"
NORMALIZERS = ("vecnormalize.pkl", "vec_normalize.pkl")  # as rl_zoo calls it in its runs, and on a hub
_NO_AGENTS = ("train_eval_metrics.zip",)  # rl_zoo puts its curves beside an agent on a hub
_MAKERS = {
    ACTIVATIONS: "activation_extraction.py",
    RESULTS: "run_experiments.py",
    GRADIENTS: "SaliencyTooling/initial_test.py",
    ".": "generate_definitions.py",
}
CLEAN, CORRUPTED = "clean_inputs.json", "corrupted_inputs.json"  # the guide's names, used where none is given


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentFolder:
    """An agent's zip and the folder that its inputs and outputs belong to."""

    zip_path: Path
    folder: Path

    def find(self, name: str, place: str, *, hint: str | None = None) -> Path:
        """The file that ``name`` means.

        A bare name is looked for in the agent folder's ``place`` first, then where the user stands; a name
        with a directory part is a path from where the user stands.

        :param place: the folder of that kind of file, such as ``activation_inputs``
        :param hint: what to do where it is missing; None names the script that fills the place
        :raises InputError: in neither
        """
        here = Path(name)
        if os.path.dirname(name):  # noqa: PTH120 - of ./name too, whose dot a Path drops
            return here
        there = self.folder / place / name
        if is_there(there):
            if is_there(here) and here.resolve() != there.resolve() and read_bytes(here) != read_bytes(there):
                warnings.warn(SuiteWarning(f"{name}: found here and in {there.parent}; {there} is used"), stacklevel=2)
            return there
        if not is_there(here):
            maker = f"{_MAKERS[place]} makes it" if place in _MAKERS else ""
            found = f"no such file in {there.parent} nor in {Path.cwd()}"
            raise InputError(name, found=found, hint=maker if hint is None else hint)
        return here


def output_folder(chosen: str | None, default: Path) -> Path:
    """The folder to write into: the one the user chose, which may be a link, or the default, which may not.

    :param chosen: ``--output_dir``
    :raises UsageError: the default folder is a link
    """
    if chosen:
        return Path(chosen)
    refuse_link(default)
    return default


def find_agent(agent_path: str | Path) -> AgentFolder:
    """The agent that ``agent_path`` names: a zip, or a folder that holds one.

    In a folder: ``agent.zip``, else the only zip of an agent, else ``<ENV>.zip`` in a folder called ``<ENV>_<n>``.

    :raises InputError: nothing there, no zip, or several
    """
    found = _found(Path(agent_path))
    environment = _environment(found.folder)
    places = [found.folder, found.folder / found.zip_path.stem, found.folder / environment]  # rl_zoo's, and beside
    candidates = (place / name for place in places for name in NORMALIZERS)
    normalizer = next((candidate for candidate in candidates if candidate.exists()), None)
    if normalizer is not None:
        warnings.warn(
            SuiteWarning(f"{normalizer}: trained behind VecNormalize; inputs must hold normalised observations"),
            stacklevel=2,
        )
    return found


def _environment(folder: Path) -> str:
    """The environment that rl_zoo names a run's folder after, ``<ENV>_<n>``."""
    return re.sub(r"_\d+$", "", folder.resolve().name)


def _found(path: Path) -> AgentFolder:
    if not is_there(path) or not path.is_dir():
        leads_nowhere = os.path.islink(path)  # noqa: PTH114 - a Path raises where the name is too long for any file
        if path.name and not is_there(path) and not leads_nowhere:
            raise InputError(path, found="no such file or folder", expected="an agent folder or a zip")
        return AgentFolder(zip_path=path, folder=path.parent)
    if (path / "agent.zip").exists() or (path / "agent.zip").is_symlink():
        return AgentFolder(zip_path=path / "agent.zip", folder=path)
    files = (entry for entry in path.iterdir() if entry.name not in _NO_AGENTS and not entry.is_dir())
    zips = sorted(entry for entry in files if entry.suffix == ".zip")
    environment = path / f"{_environment(path)}.zip"
    if len(zips) != 1 and environment not in zips:
        listed = ", ".join(shown(entry.name, quoted=False) for entry in zips[:8])
        found = f"{len(zips)} zips ({listed})" if zips else "no zip"
        raise InputError(path, found=found, expected="agent.zip", hint="--agent_path takes a zip as well")
    chosen = zips[0] if len(zips) == 1 else environment
    warnings.warn(SuiteWarning(f"{path}: no agent.zip; {chosen.name} is taken"), stacklevel=2)
    return AgentFolder(zip_path=chosen, folder=path)
