"""Attribution files: ``<prefix>.json``, ``<prefix>.csv`` with one row per neuron, ``<prefix>_pairs.npz``.

The JSON is ``{direction: {layer: {estimates, path, pairs, ...}}}``. The npz holds the same numbers for every pair, an
array (contrast pairs, neurons) named ``<direction>_<layer>_<column>`` each; its rows are in the order of ``pairs``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from Neuron_Selection.FileFormats.results.result_files import ResultFiles
from Neuron_Selection.FileFormats.storage.csv_tables import read_table

ATTRIBUTION_FILES = ResultFiles(endings={"neurons": ".csv", "pairs": "_pairs.npz"}, script="attribute_neurons.py")
NEURON_COLUMNS = (
    "direction", "layer", "neuron", "pairs_moved", "effect", "gradient_at_target", "gradient_at_source",
    "integrated_gradients",
)  # fmt: skip
ESTIMATES = NEURON_COLUMNS[5:]


def load_attribution(path: Path) -> list[dict[str, Any]]:
    """The rows of the table of neurons, with ``NEURON_COLUMNS``; empty cells are None.

    :param path: of the JSON
    :raises InputError: not such a table
    """
    table = ATTRIBUTION_FILES.paths(path)["neurons"]
    return read_table(table, texts=NEURON_COLUMNS[:2], numbers=NEURON_COLUMNS[2:], hint="attribute_neurons.py makes it")
