"""Results of whole episodes: ``<prefix>.json``, ``<prefix>.csv`` with a row per experiment, and arrays as npz.

The arrays are the trajectories of sampled episodes, or all states of a finite world, of which ``<prefix>_states.csv``
is the table. The metadata, ``<prefix>.meta.json``, hold the SHA-256 of the other files and are renamed into place
first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.hashed_files import check_hashed, save_hashed, stored_hashed
from Neuron_Selection.FileFormats.provenance import StoredOutput
from Neuron_Selection.FileFormats.storage.atomic_files import is_there, read_bytes
from Neuron_Selection.FileFormats.storage.json_files import read_edited_json
from Neuron_Selection.FileFormats.storage.zip_members import ZipMembers

ROLLOUTS = "rollout_results"
_FRAME_LIMIT = 1 << 24  # bytes of one PNG
_NAMES = {
    "results": "{}.json",
    "table": "{}.csv",
    "trajectories": "{}_trajectories.npz",
    "gif": "{}.gif",
    "frames": "{}_frames.zip",
    "states": "{}_states.csv",
    "values": "{}_states.npz",
}


def paths_of(path: Path, kinds: tuple[str, ...]) -> dict[str, Path]:
    """The files that belong to a results file, by content.

    :param kinds: some of results, table, trajectories, gif, frames, states, values
    """
    return {kind: path.with_name(_NAMES[kind].format(path.stem)) for kind in kinds}


def save_rollouts(path: Path, contents: Mapping[str, bytes], *, metadata: Mapping[str, Any]) -> None:
    """Write all files and their metadata.

    :param contents: kind to bytes
    """
    save_hashed(path, paths_of(path, tuple(contents)), contents, metadata=metadata)


def stored_rollouts(path: Path, kinds: tuple[str, ...]) -> StoredOutput:
    """The files as they are on disk now."""
    return stored_hashed(path, paths_of(path, kinds))


def load_rollouts(path: Path) -> dict[str, Any]:
    """Load the document of a results file.

    :raises InputError: not such a file, or it does not match its metadata
    """
    document = read_edited_json(path, hint="run_rollouts.py makes it")
    if not isinstance(document, dict) or not isinstance(document.get("experiments"), list):
        raise InputError(path, found=shown(document), expected="an object with experiments")
    check_hashed(path, paths_of(path, ("results", "table")), script="run_rollouts.py")
    return document


def load_frames_of(path: Path, steps: Sequence[int]) -> dict[int, bytes]:
    """The PNGs of these steps of the episode that ``--frames`` wrote, without those that it does not have.

    :param path: of the results file; empty if there are no frames beside it
    :raises InputError: not a zip
    """
    frames = paths_of(path, ("frames",))["frames"]
    if not is_there(frames):
        return {}
    members = ZipMembers(read_bytes(frames), where=frames, hint="run_rollouts.py --frames makes it")
    names = {step: f"step_{step:04}.png" for step in steps}
    return {step: members.read(name, limit=_FRAME_LIMIT) for step, name in names.items() if name in members.names}
