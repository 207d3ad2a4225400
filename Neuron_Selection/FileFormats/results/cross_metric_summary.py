"""``cross_metric_summary.json``: the important neurons, and what every metric says of them.

The keys of ``common_neurons`` are the important neurons. We write ``exp_<n>_<layer>`` with a ``patch`` inside; others
wrote ``exp_62_q_net.0`` or ``q_net.0_neuron_61``, with numbers inside, or with ``{metric: {noising, denoising}}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.definitions import check_patch
from Neuron_Selection.FileFormats.run_metadata import check_format
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes
from Neuron_Selection.FileFormats.storage.json_files import is_finite_number, parse_edited_json

SUMMARY_FILE = "cross_metric_summary.json"
_POSITION = re.compile(r"exp_([1-9][0-9]{0,8})_(.+)")
_NEURON = re.compile(r"(.+)_neuron_(0|[1-9][0-9]{0,8})")
_HINT = "analyze_metrics.py makes it"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportantNeuron:
    """One key of ``common_neurons``, and what it says of which neuron it is.

    ``patch`` is the field of that name, None where there is none; ``position`` and ``layer`` are those of
    ``exp_<position>_<layer>``; ``layer`` and ``neuron`` those of ``<layer>_neuron_<neuron>``. ``importance`` is None
    in the nested form, which has none.
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
    """A summary as it was read; ``metadata`` is empty for files of others."""

    where: str
    neurons: tuple[ImportantNeuron, ...]
    metrics_info: Mapping[str, Mapping[str, Any]]
    metadata: Mapping[str, Any]

    @property
    def weights_sha256(self) -> str:
        """Fingerprint of the network that was analysed; empty if unknown."""
        return str(self.metadata.get("run", {}).get("weights_sha256", ""))


def load_cross_metric_summary(path: Path) -> CrossMetricSummary:
    """A summary of ours, or of one of the published forms; no important neuron is a valid summary.

    :raises InputError: the field, what was found and what was expected
    """
    document = parse_edited_json(read_bytes(path, hint=_HINT), path)
    if not isinstance(document, dict):
        raise InputError(path, found=shown(document), expected="an object", hint=_HINT)
    neurons = document.get("common_neurons")
    if not isinstance(neurons, dict):
        found = shown(neurons) if "common_neurons" in document else "no such field"
        raise InputError(path, "common_neurons", found=found, expected="an object {experiment: {...}}", hint=_HINT)
    metrics = document.get("metrics_info", {})
    if not isinstance(metrics, dict) or not all(isinstance(info, dict) for info in metrics.values()):
        raise InputError(path, "metrics_info", found=shown(metrics), expected="an object {metric: {...}}")
    count = document.get("common_count", len(neurons))
    if type(count) is not int or count < 0:
        raise InputError(path, "common_count", found=shown(count), expected="a whole number from 0")
    metadata = document.get("metadata", {})
    if not isinstance(metadata, dict) or not isinstance(metadata.get("run", {}), dict):
        raise InputError(path, "metadata", found=shown(metadata), expected="an object")
    if metadata:
        check_format(metadata, path)
    return CrossMetricSummary(
        where=str(path),
        neurons=tuple(_neuron(key, values, path) for key, values in neurons.items()),
        metrics_info=metrics,
        metadata=metadata,
    )


def _neuron(key: str, values: Any, path: Path) -> ImportantNeuron:
    where = f"common_neurons.{shown(key, quoted=False)}"
    if not isinstance(values, dict):
        raise InputError(path, where, found=shown(values), expected="an object")
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
        importance=_importance(values.get("final_average_importance"), path, where),
        values=values,
    )


def _importance(value: Any, path: Path, where: str) -> float | None:
    if value is None:
        return None
    if not is_finite_number(value):
        raise InputError(path, f"{where}.final_average_importance", found=shown(value), expected="a finite number")
    return float(value)
