"""The environment of pairs that were made by edits: named by flags, else the one in their metadata."""

from __future__ import annotations

from typing import Any

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.environment_file import EnvironmentRecord
from Neuron_Selection.FileFormats.pairs_file import PAIRS, PairFiles
from Neuron_Selection.FileFormats.provenance import meta_path
from Neuron_Selection.FileFormats.storage.document_checks import checked_document
from Neuron_Selection.ObservationTooling.environments.chosen import recorded_environment
from Neuron_Selection.ObservationTooling.environments.environment import Environment, environment_from


def environment_of_pairs(files: PairFiles, *, env: str | None = None, **flags: Any) -> Environment:
    """The environment that flags name, else the one that ``make_pairs.py`` recorded.

    :param flags: as for ``chosen_environment``
    :raises SuiteError: neither, or the recorded one is code of others, which is not run from a file
    """
    if env is not None:
        return environment_from(env, **flags)
    path = meta_path(files.folder / PAIRS)
    described = files.of_run("environment")
    if described is None:
        raise UsageError("records no environment; --env names it", file=path)
    record = checked_document(described, EnvironmentRecord, path, field="run.environment")
    return recorded_environment(record, path)
