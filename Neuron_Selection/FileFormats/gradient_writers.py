"""Weight gradients written as they come, so that memory does not grow with the number of inputs."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.atomic_files import read_bytes, sha256_of, write_atomically, written_atomically
from Neuron_Selection.FileFormats.json_files import json_bytes
from Neuron_Selection.FileFormats.weight_gradients import BLOCK, METADATA_KEY, InputGradient

_EPOCH = (1980, 1, 1, 0, 0, 0)


def save_weight_gradients(
    folder: Path, gradients: Iterable[InputGradient], *, formats: Iterable[str], metadata: Mapping[str, Any]
) -> list[Path]:
    """Write ``weight_gradients.json``, ``weight_gradients.npz`` or both, in one pass.

    :param formats: of ``json`` and ``npz``
    :return: the paths written; the JSON's metadata lies in ``weight_gradients.meta.json``
    """
    paths = {kind: folder / f"weight_gradients.{kind}" for kind in formats}
    with ExitStack() as open_files:
        writers: list[_JsonWriter | _NpzWriter] = []
        if "json" in paths:
            writers.append(_JsonWriter(open_files.enter_context(written_atomically(paths["json"]))))
        if "npz" in paths:
            writers.append(_NpzWriter(open_files.enter_context(written_atomically(paths["npz"])), metadata))
        for gradient in gradients:
            for name, array in gradient.gradients.items():
                if not np.isfinite(array).all():
                    raise InputError(
                        folder,
                        f"{shown(gradient.input_id)}.{name}",
                        found="NaN or infinity in a gradient",
                        expected="finite numbers",
                    )
            for writer in writers:
                writer.add(gradient)
        for writer in writers:
            writer.finish()
    if "json" in paths:
        described = {**metadata, "gradients_sha256": sha256_of(read_bytes(paths["json"]))}
        write_atomically(folder / "weight_gradients.meta.json", json_bytes(described))
    return list(paths.values())


class _JsonWriter:
    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.empty = True

    def add(self, gradient: InputGradient) -> None:
        import msgspec

        entry = {
            "max_logit_action": gradient.action,
            "max_logit_value": gradient.value,
            "gradients": {name: array.tolist() for name, array in gradient.gradients.items()},
        }
        self.file.write(b"{\n" if self.empty else b",\n")
        self.file.write(json.dumps(gradient.input_id, ensure_ascii=False).encode() + b": " + msgspec.json.encode(entry))
        self.empty = False

    def finish(self) -> None:
        self.file.write(b"{}\n" if self.empty else b"\n}\n")


class _NpzWriter:
    def __init__(self, file: BinaryIO, metadata: Mapping[str, Any]) -> None:
        self.archive = zipfile.ZipFile(file, "w")
        self.metadata = dict(metadata)
        self.told: dict[str, list[Any]] = {"ids": [], "actions": [], "values": []}
        self.block: list[InputGradient] = []
        self.blocks = 0

    def add(self, gradient: InputGradient) -> None:
        self.block.append(gradient)
        self.told["ids"].append(gradient.input_id)
        self.told["actions"].append(gradient.action)
        self.told["values"].append(gradient.value)
        if len(self.block) == BLOCK:
            self._write_block()

    def finish(self) -> None:
        if self.block:
            self._write_block()
        described = json.dumps({**self.metadata, **self.told, "block": BLOCK}, ensure_ascii=False).encode()
        self._write(METADATA_KEY, np.frombuffer(described, np.uint8))
        self.archive.close()

    def _write_block(self) -> None:
        for name in self.block[0].gradients:
            self._write(f"{self.blocks:06d}/{name}", np.stack([one.gradients[name] for one in self.block]))
        self.blocks += 1
        self.block = []

    def _write(self, key: str, array: np.ndarray) -> None:
        member = io.BytesIO()
        np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
        self.archive.writestr(zipfile.ZipInfo(f"{key}.npy", _EPOCH), member.getbuffer())
