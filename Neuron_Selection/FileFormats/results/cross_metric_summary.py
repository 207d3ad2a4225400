"""``cross_metric_summary.json``: the important neurons and their values of every metric.

The keys of ``common_neurons`` are the important neurons. This suite writes
``exp_<n>_<layer>`` with a ``patch`` field. Published files have keys such as ``exp_62_q_net.0`` or
``q_net.0_neuron_61``, with one number per metric or ``{metric: {noising, denoising}}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from Neuron_Selection.errors import shown
from Neuron_Selection.FileFormats.definitions import check_patch
from Neuron_Selection.FileFormats.provenance import check_format
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes
from Neuron_Selection.FileFormats.storage.document_checks import Index, checked_document
from Neuron_Selection.FileFormats.storage.json_files import parse_edited_json

SUMMARY_FILE = "cross_metric_summary.json"
_POSITION = re.compile(r"exp_([1-9][0-9]{0,8})_(.+)")
_NEURON = re.compile(r"(.+)_neuron_(0|[1-9][0-9]{0,8})")
_HINT = "analyze_metrics.py makes it"


class _Summary(msgspec.Struct):
    common_neurons: dict[str, Any]
    metrics_info: dict[str, dict[str, Any]] = {}
    common_count: Index = 0
    metadata: dict[str, Any] = {}


class _Neuron(msgspec.Struct):
    final_average_importance: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportantNeuron:
    """One key of ``common_neurons``, and what identifies its neuron.

    ``patch`` is the field of that name, None if it is missing; ``position`` and ``layer`` are parsed from
    ``exp_<position>_<layer>``, ``layer`` and ``neuron`` from ``<layer>_neuron_<neuron>``. ``importance`` is None in the
    nested form, which has none.
    """

    key: str
    patch: Mapping[str, Any] | None
    position: int | None
    layer: str | None
    neuron: int | None
    importance: float | None
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossMetricSummary:
    """A summary; ``metadata`` is empty for published files."""

    where: str
    neurons: tuple[ImportantNeuron, ...]
    metrics_info: Mapping[str, Mapping[str, Any]]
    metadata: Mapping[str, Any]

    @property
    def weights_sha256(self) -> str:
        """Fingerprint of the network that was analysed; empty if unknown."""
        return str(self.metadata.get("run", {}).get("weights_sha256", ""))


def load_cross_metric_summary(path: Path) -> CrossMetricSummary:
    """Load a summary written by this suite or in one of the published forms; it may have no important neurons.

    :raises InputError: the field, what was found and what was expected
    """
    document = parse_edited_json(read_bytes(path, hint=_HINT), path)
    summary = checked_document(document, _Summary, path, hint=_HINT)
    if summary.metadata:
        check_format(summary.metadata, path)
    return CrossMetricSummary(
        where=str(path),
        neurons=tuple(_neuron(key, values, path) for key, values in summary.common_neurons.items()),
        metrics_info=summary.metrics_info,
        metadata=summary.metadata,
    )


def _neuron(key: str, values: Any, path: Path) -> ImportantNeuron:
    where = f"common_neurons.{shown(key, quoted=False)}"
    importance = checked_document(values, _Neuron, path, field=where).final_average_importance
    if "patch" in values:
        check_patch(values["patch"], path, f"{where}.patch")
    position, named = _POSITION.fullmatch(key), _NEURON.fullmatch(key)
    if position is not None:
        named = None  # exp_3_x_neuron_5 is a position and a layer of that odd name
    return ImportantNeuron(
        key=key,
        patch=values.get("patch"),
        position=int(position[1]) if position else None,
        layer=position[2] if position else named[1] if named else None,
        neuron=int(named[2]) if named else None,
        importance=importance,
        values=values,
    )
