"""Result files of one run: ``<prefix>.json``, tables and arrays beside it, and their metadata.

The metadata, ``<prefix>.meta.json``, hold the SHA-256 of the other files and are renamed into place first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.hashed_files import check_hashed, save_hashed, stored_hashed
from Neuron_Selection.FileFormats.provenance import StoredOutput
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, read_edited_json


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultFiles:
    """The files that a script writes.

    ``endings``: content of each file beside the JSON to what follows the prefix in its name. ``script``: which makes
    them.
    """

    endings: Mapping[str, str]
    script: str

    def paths(self, path: Path) -> dict[str, Path]:
        """The files by content, ``results`` being the JSON.

        :param path: of the JSON
        """
        beside = {kind: path.with_name(f"{path.stem}{ending}") for kind, ending in self.endings.items()}
        return {"results": path, **beside}

    def save(
        self, path: Path, document: Mapping[str, Any], beside: Mapping[str, bytes], *, metadata: Mapping[str, Any]
    ) -> None:
        """Write all files.

        :param beside: the content of each other file
        """
        save_hashed(path, self.paths(path), {"results": json_bytes(document), **beside}, metadata=metadata)

    def stored(self, path: Path) -> StoredOutput:
        """The files as they are on disk now."""
        return stored_hashed(path, self.paths(path))

    def load(self, path: Path) -> dict[str, Any]:
        """The document in the JSON.

        :raises InputError: not such a file, or the files do not match their metadata
        """
        document = read_edited_json(path, hint=f"{self.script} makes it")
        if not isinstance(document, dict) or not document:
            raise InputError(path, found=shown(document), expected="an object {direction: ...}")
        if not all(isinstance(part, dict) for part in document.values()):
            raise InputError(path, found="a direction without results", expected="an object {direction: {...}}")
        check_hashed(path, self.paths(path), script=self.script)
        return document
