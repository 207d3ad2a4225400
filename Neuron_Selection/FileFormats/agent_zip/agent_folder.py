"""Agent folders: find an agent's zip, and resolve the names of its files."""

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
NORMALIZERS = ("vecnormalize.pkl", "vec_normalize.pkl")  # as named by rl_zoo in its runs, and on a hub
_NO_AGENTS = ("train_eval_metrics.zip",)  # learning curves that rl_zoo uploads with an agent
CLEAN, CORRUPTED = "clean_inputs.json", "corrupted_inputs.json"  # default names of the inputs files
VISITED = "visited_inputs.json"  # the default name of recorded states
_MAKERS = {  # of a file with this name, and of files in this folder
    ACTIVATIONS: "activation_extraction.py",
    RESULTS: "run_experiments.py",
    GRADIENTS: "SaliencyTooling/initial_test.py",
    ".": "generate_definitions.py",
    CLEAN: "make_pairs.py",
    CORRUPTED: "make_pairs.py",
    VISITED: "record_inputs.py",
    "cross_metric_summary.json": "analyze_metrics.py",
    "minimal_sets.json": "find_minimal_sets.py",
    "circuit.json": "patch_edges.py",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentFolder:
    """An agent's zip and the folder that its inputs and outputs belong to."""

    zip_path: Path
    folder: Path

    def find(self, name: str, place: str, *, hint: str | None = None) -> Path:
        """Resolve the name of a file.

        A bare name is looked up in the agent folder's ``place`` first, then in the working directory; a name with a
        directory part is a path relative to the working directory.

        :param place: the folder of that kind of file, such as ``activation_inputs``
        :param hint: what to do if the file is missing; None names the script that writes files to ``place``
        :raises InputError: the file is in neither folder
        """
        local = Path(name)
        if os.path.dirname(name):  # noqa: PTH120 - of ./name too, whose dot a Path drops
            return local
        own = self.folder / place / name
        if is_there(own):
            if is_there(local) and local.resolve() != own.resolve() and read_bytes(local) != read_bytes(own):
                message = f"{name}: is in {Path.cwd()} and in {own.parent}, with different content; {own} is used"
                warnings.warn(SuiteWarning(message), stacklevel=2)
            return own
        if not is_there(local):
            known = _MAKERS.get(name) or _MAKERS.get(place)
            maker = f"{known} makes it" if known else ""
            problem = f"no such file in {own.parent} nor in {Path.cwd()}"
            raise InputError(name, problem=problem, hint=maker if hint is None else hint)
        return local


def output_folder(chosen: str | None, default: Path) -> Path:
    """The folder to write into: the chosen one, which may be a link, or the default, which must not be a link.

    :param chosen: ``--output_dir``
    :raises UsageError: the default folder is a link
    """
    if chosen:
        return Path(chosen)
    refuse_link(default)
    return default


def find_agent(agent_path: str | Path) -> AgentFolder:
    """Find the agent that ``agent_path`` names: a zip, or a folder that contains one.

    In a folder: ``agent.zip``, else the only zip of an agent, else ``<ENV>.zip`` in a folder named ``<ENV>_<n>``.

    :raises InputError: no such file or folder, no zip, or several zips
    """
    path = Path(agent_path)
    if not is_there(path) or not path.is_dir():
        leads_nowhere = os.path.islink(path)  # noqa: PTH114 - a Path raises where the name is too long for any file
        if path.name and not is_there(path) and not leads_nowhere:
            raise InputError(path, problem="no such file or folder", hint="--agent_path names an agent folder or a zip")
        return AgentFolder(zip_path=path, folder=path.parent)
    if (path / "agent.zip").exists() or (path / "agent.zip").is_symlink():
        return AgentFolder(zip_path=path / "agent.zip", folder=path)
    files = (entry for entry in path.iterdir() if entry.name not in _NO_AGENTS and not entry.is_dir())
    zips = sorted(entry for entry in files if entry.suffix == ".zip")
    environment = path / f"{_environment(path)}.zip"
    if len(zips) != 1 and environment not in zips:
        listed = ", ".join(shown(entry.name, quoted=False) for entry in zips[:8])
        problem = f"contains {len(zips)} zips ({listed}) and no agent.zip" if zips else "contains no zip"
        raise InputError(path, problem=problem, hint="--agent_path may also name a zip")
    chosen = zips[0] if len(zips) == 1 else environment
    warnings.warn(SuiteWarning(f"{path}: contains no agent.zip; {chosen.name} is used"), stacklevel=2)
    return AgentFolder(zip_path=chosen, folder=path)


def normalizer_of(agent: AgentFolder) -> Path | None:
    """The statistics of VecNormalize that are stored with an agent; None if there are none."""
    environment = _environment(agent.folder)
    places = [agent.folder, agent.folder / agent.zip_path.stem, agent.folder / environment]  # the last two as in rl_zoo
    candidates = (place / name for place in places for name in NORMALIZERS)
    return next((candidate for candidate in candidates if candidate.exists()), None)


def warn_of_normalizer(agent: AgentFolder) -> None:
    """Warn if the statistics of VecNormalize are stored with an agent; for runs without ``--vecnormalize``."""
    normalizer = normalizer_of(agent)
    if normalizer is not None:
        expected = "inputs must be normalised observations, unless --vecnormalize names this file"
        warnings.warn(SuiteWarning(f"{normalizer}: trained with VecNormalize; {expected}"), stacklevel=2)


def _environment(folder: Path) -> str:
    """The environment in the name of an rl_zoo run's folder, ``<ENV>_<n>``."""
    return re.sub(r"_\d+$", "", folder.resolve().name)
