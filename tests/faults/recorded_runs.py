"""Where each script records what it did: the outputs and the metadata of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.FileFormats.activations import stored_npz_metadata

# the truth of each script's output first, then what is written with it
OUTPUTS = {
    "E": ["activation_logging/clean_activations.npz", "activation_logging/clean_activations_readable.json"],
    "P": ["patching_results/patching.json", "patching_results/patching.meta.json"],
    "G": ["gradient_analysis/weight_gradients.json", "gradient_analysis/weight_gradients.meta.json",
          "gradient_analysis/average_gradients.json", "gradient_analysis/candidate_weights.json"],
    "W": ["perturbation_results/results.json", "perturbation_results/results.csv"],
}  # fmt: skip


def metadata_of(script: str, agent: Path) -> dict[str, Any]:
    """The metadata of the last run of a script."""
    paths = [agent / name for name in OUTPUTS[script]]
    if script == "E":
        metadata = stored_npz_metadata(paths[0])
        assert metadata is not None
        return metadata
    document: dict[str, Any] = json.loads(paths[0 if script == "W" else 1].read_text())
    return document["metadata"] if script == "W" else document


def results_of(script: str, agent: Path) -> dict[str, Any]:
    """Every output without the path of the agent, so that runs in two folders can be compared."""
    found: dict[str, Any] = {}
    for name in OUTPUTS[script]:
        path = agent / name
        if name.endswith(".npz"):
            with np.load(path) as stored:
                found[name] = {key: stored[key].tobytes() for key in stored.files if key != "__metadata__"}
        elif name.endswith(".csv"):
            found[name] = path.read_bytes()
        else:
            document = json.loads(path.read_text())
            document.pop("metadata", None)
            found[name] = document["run"] if name.endswith(".meta.json") else document
    return found


def agent_recorded(script: str, agent: Path) -> dict[str, Any]:
    """What it records of the agent: paths and hashes."""
    metadata = metadata_of(script, agent)
    return {**metadata["agent"], **metadata["run"]}
