"""``<name>_frames.npz``: a picture of each visited state, next to the inputs file that lists the states.

One compressed uint8 array (height, width, 3) per state, under its input id.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes
from Neuron_Selection.FileFormats.storage.npz_files import EPOCH, npy_header
from Neuron_Selection.FileFormats.storage.zip_members import Unpacked, ZipMembers

_LEVEL = 1  # of compression: pictures of worlds shrink a hundredfold at the fastest level


class FramesArchive:
    """Frames of a recording that is running, held compressed in memory."""

    def __init__(self) -> None:
        self._packed: dict[bytes, bytes] = {}
        self._ids: dict[bytes, str] = {}

    def keep(self, key: bytes, frame: np.ndarray) -> None:
        """Keep the frame of a state; a later one of the same state replaces it.

        :param key: identifies the state
        :param frame: (height, width, 3), uint8
        """
        member = io.BytesIO()
        np.lib.format.write_array(member, np.ascontiguousarray(frame), allow_pickle=False)
        self._packed[key] = zlib.compress(member.getvalue(), _LEVEL)

    def name_all(self, ids: Mapping[bytes, str]) -> None:
        """Give each state its input id; frames are stored in this order."""
        self._ids = dict(ids)

    def bytes(self) -> bytes:
        """The bytes of the file."""
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
            for key, input_id in self._ids.items():
                archive.writestr(
                    zipfile.ZipInfo(f"{input_id}.npy", EPOCH),
                    zlib.decompress(self._packed[key]),
                    zipfile.ZIP_DEFLATED,
                    _LEVEL,
                )
        return file.getvalue()


def frames_path(path: Path) -> Path:
    """The file with the frames of the states in an inputs file."""
    return path.with_name(f"{path.stem}_frames.npz")


def load_frames(path: Path, ids: Sequence[str]) -> dict[str, np.ndarray]:
    """The frames of some states.

    :return: id to (height, width, 3), uint8
    :raises InputError: no such file, a state without a frame, or a damaged frame
    """
    data = read_bytes(path, hint="record_inputs.py --frames makes it")
    members = ZipMembers(data, where=path, expected="a zip of frames")
    frames = {}
    for input_id in ids:
        members.unpacked = Unpacked(len(data))  # frames shrink a hundredfold; one at a time is bounded
        frames[input_id] = _frame(members.read(f"{input_id}.npy"), path, shown(input_id))
    return frames


def _frame(data: bytes, path: Path, field: str) -> np.ndarray:
    try:
        shape, _, dtype, offset = npy_header(data)
        if len(shape) != 3 or shape[2] != 3 or dtype != np.uint8:
            raise ValueError(f"{dtype.name} values of shape {shape}")
        return np.frombuffer(data, np.uint8, offset=offset).reshape(shape)
    except ValueError as error:
        raise InputError(path, field, found=str(error), expected="uint8 values (height, width, 3)") from error
