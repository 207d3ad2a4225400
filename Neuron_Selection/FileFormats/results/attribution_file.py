"""Attribution files: ``<prefix>.json``, ``<prefix>.csv`` with one row per neuron, ``<prefix>_pairs.npz``.

The JSON is ``{direction: {layer: {estimates, path, pairs, ...}}}``. The npz holds the same numbers for every pair, an
array (contrast pairs, neurons) named ``<direction>_<layer>_<column>`` each; its rows are in the order of ``pairs``.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np

from Neuron_Selection.FileFormats.results.result_files import ResultFiles
from Neuron_Selection.FileFormats.storage.npz_files import write_array

ATTRIBUTION_FILES = ResultFiles(endings={"neurons": ".csv", "pairs": "_pairs.npz"}, script="attribute_neurons.py")
NEURON_COLUMNS = (
    "direction", "layer", "neuron", "pairs_moved", "effect", "gradient_at_target", "gradient_at_source",
    "integrated_gradients",
)  # fmt: skip


def pair_arrays_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An npz file of these arrays."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            write_array(archive, name, array)
    return file.getvalue()
