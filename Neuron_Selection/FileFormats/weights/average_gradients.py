"""``average_gradients.json``: means of the gradients of every parameter over inputs.

``average_gradients`` is the mean of the absolute gradient of the greatest Q-value, the published key. Optional keys are
``average_signed_gradients`` (the mean of the signed gradient, in which opposite signs cancel) and
``average_margin_gradients`` (the mean of the absolute gradient of Q[best] - Q[second best]).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.scores import LOGITS, Q_VALUES, scores_in
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, write_atomically
from Neuron_Selection.FileFormats.storage.document_checks import Index, checked_document
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, parse_edited_json
from Neuron_Selection.FileFormats.storage.nested_numbers import filled_float_array

AVERAGE_FILE = "average_gradients.json"
MAGNITUDE = "average_gradients"
SIGNED = "average_signed_gradients"
MARGIN = "average_margin_gradients"
_HINT = "average.py makes it"
_SINGULAR = {Q_VALUES: "Q-value", LOGITS: "logit"}


class _Metadata(msgspec.Struct):
    num_examples: Index = 0


class _AverageGradients(msgspec.Struct):
    average_gradients: Annotated[dict[str, Any], msgspec.Meta(min_length=1)]
    average_signed_gradients: dict[str, Any] = {}
    average_margin_gradients: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AverageGradients:
    """``means``: one of the three keys to {parameter: array of its shape}, parameters in the order of the network."""

    num_examples: int
    means: Mapping[str, Mapping[str, np.ndarray]]
    metadata: Mapping[str, Any]


def save_average_gradients(path: Path, average: AverageGradients) -> None:
    """Write the file."""
    score = _SINGULAR[scores_in(average.metadata.get("run", {}))]
    description = f"Mean over the inputs of the absolute gradient of the greatest {score}, for every weight and bias"
    document: dict[str, Any] = {
        "metadata": {"num_examples": average.num_examples, "description": description, **average.metadata}
    }
    for key, means in average.means.items():
        document[key] = {name: array.tolist() for name, array in means.items()}
    write_atomically(path, json_bytes(document, indent=None))


def load_average_gradients(path: Path) -> AverageGradients:
    """Load a whole file, written by this suite or published.

    :raises InputError: not such a file, values that are not numbers, negative magnitudes
    """
    document = parse_edited_json(read_bytes(path, hint=_HINT), path)
    checked = checked_document(document, _AverageGradients, path, hint=_HINT)
    count = checked_document(checked.metadata, _Metadata, path, field="metadata").num_examples
    means: dict[str, dict[str, np.ndarray]] = {}
    for key in (MAGNITUDE, SIGNED, MARGIN):
        if key not in document:
            continue
        means[key] = {name: filled_float_array(value, path, f"{key}.{name}") for name, value in document[key].items()}
        for name, array in means[key].items():
            if key != SIGNED and (array < 0).any():
                raise InputError(path, f"{key}.{name}", found="a negative value", expected="means of absolute values")
            if name not in means[MAGNITUDE] or array.shape != means[MAGNITUDE][name].shape:
                raise InputError(path, f"{key}.{name}", f"does not have the shape it has in {MAGNITUDE}")
    return AverageGradients(num_examples=count, means=means, metadata=checked.metadata)
