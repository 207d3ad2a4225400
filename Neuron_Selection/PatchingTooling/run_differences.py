"""Two stored runs of one agent compared, layer by layer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from Neuron_Selection.AnalysisTooling.measures.differences import (
    active_and_dead,
    dead_test_of,
    most_different,
    neuron_differences,
)
from Neuron_Selection.errors import InputError, SuiteWarning
from Neuron_Selection.FileFormats.activations import Activations
from Neuron_Selection.FileFormats.provenance import vecnormalize_in
from Neuron_Selection.PatchingTooling.agent.layers import NOT_HIDDEN, LayerTable
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from Neuron_Selection.PatchingTooling.patching_plan import weights_match


def compare_runs(
    agent: OpenedAgent,
    clean: str,
    corrupted: str,
    *,
    layers: Sequence[str] | None,
    input_ids: Sequence[str] | None,
    top: int,
    allow_mismatch: bool = False,
) -> dict[str, Any]:
    """For each layer the neurons with the greatest differences, and those that are dead in one of the runs.

    :param clean: an activations file, npz or readable, like ``corrupted``
    :param layers: names; None means every layer that both files have
    :raises InputError: files of another agent, of different inputs or shapes, or without a named layer
    """
    one, other = agent.stored_run(clean), agent.stored_run(corrupted)
    for run in (one, other):
        weights_match(run, agent.agent_zip.weights_sha256, allow_mismatch=allow_mismatch)
    if vecnormalize_in(one.metadata.get("run")) != vecnormalize_in(other.metadata.get("run")):
        message = f"{one.where} and {other.where}: recorded with different normalisation of observations"
        warnings.warn(SuiteWarning(message), stacklevel=2)
    chosen = one.selected(input_ids if input_ids is not None else one.ids)
    other = other.selected(chosen.ids)
    table = agent.layer_table
    names = _layers(table, chosen, other, layers)
    compared = {name: _compared(table, name, chosen, other, top) for name in names}
    return {
        "clean": chosen.where,
        "corrupted": other.where,
        "inputs": len(chosen.ids),
        "layers": compared,
        "patch": _patch(table, compared),
    }


def _patch(table: LayerTable, compared: dict[str, Any]) -> dict[str, list[int]]:
    """The top neurons of hidden layers as a patch; of an activation only if the layer before it is not compared."""
    order = list(table.layers)
    patch: dict[str, list[int]] = {}
    for name, layer in compared.items():
        before = order[order.index(name) - 1] if order.index(name) else ""
        compared_before = layer["role"] == "post-activation" and before in patch
        if layer["top"] and layer["role"] not in NOT_HIDDEN and not compared_before:
            patch[name] = [row["neuron"] for row in layer["top"]]
    return patch


def _layers(table: LayerTable, one: Activations, other: Activations, names: Sequence[str] | None) -> list[str]:
    if names is None:
        names = [name for name in table.layers if name in one.values and name in other.values]
        if not names:
            raise InputError(other.where, problem=f"has no layer in common with {one.where}")
    else:
        names = table.chosen(names)
    for run in (one, other):
        for name in names:
            if name not in run.values:
                held = ", ".join(list(run.values)[:8])
                raise InputError(run.where, name, f"layer not recorded; the file has {held}")
            if run.values[name].shape[1:] != table.layers[name].shape:
                found = f"outputs of shape {run.values[name].shape[1:]}"
                raise InputError(run.where, name, found=found, expected=f"{table.layers[name].shape}")
    return names


def _compared(table: LayerTable, name: str, one: Activations, other: Activations, top: int) -> dict[str, Any]:
    layer = table.layers[name]
    clean, corrupted = one.values[name], other.values[name]
    order = list(table.layers)
    following = order[order.index(name) + 1] if layer.role == "pre-activation" else name
    test = dead_test_of(layer.role, table.layers[following].kind)
    differences = neuron_differences(clean, corrupted, neuron_axis=layer.neuron_axis)
    ranked = most_different(differences, top)
    described: dict[str, Any] = {
        "kind": layer.kind,
        "role": layer.role,
        "top": [{"neuron": n.neuron, "difference": n.difference, "top_share": n.top_share} for n in ranked],
        "dead_test": test,
    }
    if test is not None:
        described["dead_in_corrupted"] = active_and_dead(clean, corrupted, test, neuron_axis=layer.neuron_axis)
        described["dead_in_clean"] = active_and_dead(corrupted, clean, test, neuron_axis=layer.neuron_axis)
    return described
