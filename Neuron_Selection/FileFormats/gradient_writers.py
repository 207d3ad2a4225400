"""Weight gradients written as they come, so that memory does not grow with the number of inputs."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.atomic_files import write_atomically, written_atomically
from Neuron_Selection.FileFormats.json_files import json_bytes
from Neuron_Selection.FileFormats.npz_members import METADATA_KEY, metadata_array, write_array
from Neuron_Selection.FileFormats.weight_gradients import BLOCK, InputGradient


def save_weight_gradients(
    folder: Path, gradients: Iterable[InputGradient], *, formats: Iterable[str], metadata: Mapping[str, Any]
) -> list[Path]:
    """Write ``weight_gradients.json``, ``weight_gradients.npz`` or both, in one pass.

    :param formats: of ``json`` and ``npz``
    :return: the paths written; the JSON's metadata lies in ``weight_gradients.meta.json``
    """
    paths = {kind: folder / f"weight_gradients.{kind}" for kind in formats}
    with ExitStack() as open_files:
        files = {kind: open_files.enter_context(written_atomically(path)) for kind, path in paths.items()}
        writers: list[_JsonWriter | _NpzWriter] = []
        digest = hashlib.sha256()
        if "json" in files:
            writers.append(_JsonWriter(files["json"], digest))
        if "npz" in files:
            archive = open_files.enter_context(zipfile.ZipFile(files["npz"], "w"))
            writers.append(_NpzWriter(archive, metadata))
        for gradient in gradients:
            told = {**gradient.gradients, "max_logit_value": np.asarray(gradient.value)}
            odd = next((name for name, array in told.items() if not np.isfinite(array).all()), None)
            if odd is not None:
                field = f"{shown(gradient.input_id)}.{odd}"
                raise InputError(folder, field, found="NaN or infinity in a gradient", expected="finite numbers")
            for writer in writers:
                writer.add(gradient)
        for writer in writers:
            writer.finish()
        if "json" in paths:  # takes its place first: an interrupted run leaves no file without it
            described = {**metadata, "gradients_sha256": digest.hexdigest()}
            write_atomically(folder / "weight_gradients.meta.json", json_bytes(described))
    return list(paths.values())


class _JsonWriter:
    def __init__(self, file: BinaryIO, digest: hashlib._Hash) -> None:
        self.file = file
        self.digest = digest  # of all that is written; to read it back would take the memory that writing spares
        self.empty = True

    def _write(self, data: bytes) -> None:
        self.file.write(data)
        self.digest.update(data)

    def add(self, gradient: InputGradient) -> None:
        import msgspec

        entry = {
            "max_logit_action": gradient.action,
            "max_logit_value": gradient.value,
            "gradients": {name: array.tolist() for name, array in gradient.gradients.items()},
        }
        self._write(b"{\n" if self.empty else b",\n")
        self._write(json.dumps(gradient.input_id, ensure_ascii=False).encode() + b": " + msgspec.json.encode(entry))
        self.empty = False

    def finish(self) -> None:
        self._write(b"{}\n" if self.empty else b"\n}\n")


class _NpzWriter:
    def __init__(self, archive: zipfile.ZipFile, metadata: Mapping[str, Any]) -> None:
        self.archive = archive
        self.metadata = dict(metadata)
        self.told: dict[str, list[Any]] = {"ids": [], "actions": [], "values": []}
        self.block: list[InputGradient] = []
        self.blocks = 0
        self.parameters: list[str] = []  # of every block, so that a reader sees where one is missing

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
        described = {**self.metadata, **self.told, "block": BLOCK, "parameters": self.parameters}
        write_array(self.archive, METADATA_KEY, metadata_array(described))

    def _write_block(self) -> None:
        self.parameters = list(self.block[0].gradients)
        for name in self.parameters:
            key = f"{self.blocks:06d}/{name}"
            write_array(self.archive, key, np.stack([one.gradients[name] for one in self.block]))
        self.blocks += 1
        self.block = []
