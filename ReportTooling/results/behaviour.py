"""What changes of an agent do to its behaviour: experiments of exact values, or of sampled episodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ReportTooling.results.loading import Results


def single_neurons(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The experiments that change one neuron, without the random sets drawn as controls."""
    for one in document["experiments"]:
        patch = one.get("patch")
        if isinstance(patch, str) and not one.get("control_of") and _is_one_neuron(patch):
            yield one


def of_neuron(results: Results, spec: str) -> dict[str, Mapping[str, Any]]:
    """``exact`` and ``rollouts`` to the experiment that changes this neuron alone, where there is one."""
    documents = {"exact": results.exact, "rollouts": results.rollouts}
    found = {}
    for name, document in documents.items():
        own = next((one for one in single_neurons(document or {"experiments": []}) if one["patch"] == spec), None)
        if own is not None:
            found[name] = own
    return found


def _is_one_neuron(patch: str) -> bool:
    return patch.rpartition(":")[2].isdecimal() and ";" not in patch
