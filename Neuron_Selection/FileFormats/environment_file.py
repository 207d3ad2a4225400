"""``environment.json``: the environment in which an agent's inputs were recorded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from Neuron_Selection.FileFormats.storage.document_checks import checked_document
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, read_edited_json

ENVIRONMENT_FILE = "environment.json"


class EnvironmentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file.

    ``env``: an id, ``module:Id`` or ``FILE.py:factory``. ``env_file_sha256``: of ``FILE.py``. ``wrappers``: as
    ``--wrapper`` takes them, the innermost first. ``vecnormalize_sha256``: of the file whose statistics normalised the
    observations; None if they were not normalised.
    """

    env: str
    env_kwargs: dict[str, Any] = msgspec.field(default_factory=dict)
    wrappers: tuple[str, ...] = ()
    frame_stack: Annotated[int, Meta(ge=1)] = 1
    env_file_sha256: str | None = None
    vecnormalize_sha256: str | None = None


def environment_bytes(described: Mapping[str, Any], *, vecnormalize_sha256: str | None) -> bytes:
    """The bytes of the file.

    :param described: the keys of ``EnvironmentRecord``
    """
    normalised = {} if vecnormalize_sha256 is None else {"vecnormalize_sha256": vecnormalize_sha256}
    return json_bytes({**described, **normalised})


def load_environment_record(path: Path) -> EnvironmentRecord:
    """Load the file; nothing that it names is made, imported or run.

    :raises InputError: a field that is missing or of another type
    """
    return checked_document(read_edited_json(path), EnvironmentRecord, path)
