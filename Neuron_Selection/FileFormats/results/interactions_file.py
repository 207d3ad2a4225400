"""Interaction files: ``<prefix>.json``, ``<prefix>.csv`` with one row per two neurons, ``<prefix>_neurons.csv``.

The JSON is ``{direction: {neurons, shapley, groups, strongest, ...}}``.
"""

from __future__ import annotations

from Neuron_Selection.FileFormats.results.result_files import ResultFiles

INTERACTION_FILES = ResultFiles(
    endings={"interactions": ".csv", "neurons": "_neurons.csv"}, script="find_interactions.py"
)
INTERACTION_COLUMNS = (
    "direction", "layer", "neuron", "other_layer", "other_neuron", "effect", "other_effect", "effect_together",
    "interaction", "interval_low", "interval_high", "p", "q", "kind",
)  # fmt: skip
PLAYER_COLUMNS = ("direction", "layer", "neuron", "effect", "shapley", "standard_error", "group")
