"""Interaction files: ``<prefix>.json``, ``<prefix>.csv`` with one row per two neurons, ``<prefix>_neurons.csv``.

The JSON is ``{direction: {neurons, shapley, groups, strongest, ...}}``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from Neuron_Selection.FileFormats.results.result_files import ResultFiles
from Neuron_Selection.FileFormats.storage.csv_tables import read_table

INTERACTION_FILES = ResultFiles(
    endings={"interactions": ".csv", "neurons": "_neurons.csv"}, script="find_interactions.py"
)
INTERACTION_COLUMNS = (
    "direction", "layer", "neuron", "other_layer", "other_neuron", "effect", "other_effect", "effect_together",
    "interaction", "interval_low", "interval_high", "p", "q", "kind",
)  # fmt: skip
PLAYER_COLUMNS = ("direction", "layer", "neuron", "effect", "shapley", "standard_error", "group")


def load_interactions(path: Path) -> list[dict[str, Any]]:
    """The rows of the table of every two neurons, with ``INTERACTION_COLUMNS``; empty cells are None.

    :param path: of the JSON
    :raises InputError: not such a table
    """
    texts = ("direction", "layer", "other_layer", "kind")
    numbers = [name for name in INTERACTION_COLUMNS if name not in texts]
    table = INTERACTION_FILES.paths(path)["interactions"]
    return read_table(table, texts=texts, numbers=numbers, hint="find_interactions.py makes it")
