"""``--steer`` and ``--clamp``: values that are added to neurons, or that neurons are held at.

The grammar is that of a patch spec with ``=NUMBER`` at the end of every entry: ``"q_net.0:5,6=+0.5;q_net.2:3=-1"``.
"""

from __future__ import annotations

from math import isfinite

import numpy as np

from Neuron_Selection.errors import UsageError, shown
from Neuron_Selection.FileFormats.patch_spec import Neurons, format_patch_spec
from Neuron_Selection.flag_types import plain_float
from Neuron_Selection.PatchingTooling.agent.interventions import Edit
from Neuron_Selection.PatchingTooling.agent.layers import LayerTable
from Parameter_Selection.RolloutTooling.experiments.experiment import EDITED, Experiment

_OPERATIONS = {"steer": "add", "clamp": "replace"}


def edited_neurons(flag: str, text: str, table: LayerTable, *, number: int) -> Experiment:
    """The experiment in one value of ``--steer`` or ``--clamp``.

    :param flag: ``steer`` or ``clamp``
    :param number: of the experiment among those of its flag, from 1
    :raises UsageError: another form, a layer or neuron that the agent does not have, or one named twice
    """
    values: dict[str, dict[int, float]] = {}
    for part in filter(str.strip, text.split(";")):
        spec, sign, after = part.rpartition("=")
        try:
            value = plain_float(after.strip())
        except ValueError:
            value = np.nan
        if not sign or not isfinite(value):
            raise UsageError(field=f"--{flag}", found=shown(part.strip()), expected="layer:neurons=NUMBER")
        for layer, neurons in table.resolve(spec).items():
            of_layer = values.setdefault(layer, {})
            for neuron in range(table.layers[layer].width) if neurons == "all" else neurons:
                if neuron in of_layer:
                    raise UsageError(f"neuron {neuron} of {layer} is named twice", field=f"--{flag}")
                of_layer[neuron] = value
    if not values:
        raise UsageError(field=f"--{flag}", found=shown(text), expected="layer:neurons=NUMBER")
    edits = {layer: _edit(of_layer, table, layer, _OPERATIONS[flag]) for layer, of_layer in values.items()}
    edits = {layer: edits[layer] for layer in table.layers if layer in edits}
    return Experiment(
        name=f"{flag}_{number}",
        kind=EDITED,
        description=f"{flag} " + "; ".join(_described(values[layer], layer, flag) for layer in edits),
        neurons={layer: edit.neurons for layer, edit in edits.items()},
        edits=edits,
    )


def _edit(values: dict[int, float], table: LayerTable, layer: str, operation: str) -> Edit:
    record = table.layers[layer]
    array = np.zeros((1, *record.shape))
    by_neuron = np.moveaxis(array, record.neuron_axis, 0)
    for neuron, value in values.items():
        by_neuron[neuron] = value
    neurons: Neurons = tuple(sorted(values))
    return Edit(neurons=neurons, operation=operation, values=(array,))


def _described(values: dict[int, float], layer: str, flag: str) -> str:
    by_value: dict[float, list[int]] = {}
    for neuron, value in sorted(values.items()):
        by_value.setdefault(value, []).append(neuron)
    sign = "+" if flag == "steer" else ""
    return "; ".join(f"{format_patch_spec({layer: neurons})}={value:{sign}.6g}" for value, neurons in by_value.items())
