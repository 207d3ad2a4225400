"""``Experiment``: one change of an agent, under which whole episodes are run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from Neuron_Selection.FileFormats.patch_spec import Neurons, format_patch_spec
from Neuron_Selection.PatchingTooling.agent.interventions import Intervention
from Neuron_Selection.PatchingTooling.agent.network import WeightChange

ABLATED, EDITED, WEIGHTS, AGENT = "ablated", "edited", "weights", "agent"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Experiment:
    """One change of an agent.

    ``kind``: neurons that are ``ablated`` (``--ablate``) or ``edited`` with fixed values; changed ``weights``; or
    another ``agent``. ``description``: the change in words. ``neurons``: which are changed. ``edits``: of edited ones.
    ``changes``: all new values of weights. ``control_of``: the names of the experiments for which this is a random
    control of the same size; empty for one that was asked for.
    """

    name: str
    kind: str
    description: str
    neurons: Mapping[str, Neurons] = field(default_factory=dict)
    edits: Intervention = field(default_factory=dict)
    changes: tuple[WeightChange, ...] = ()
    control_of: tuple[str, ...] = ()

    @property
    def patch(self) -> str:
        """The neurons as a patch spec; empty for changed weights and other agents."""
        return format_patch_spec(self.neurons) if self.neurons else ""

    @property
    def layer(self) -> str:
        """The only layer whose neurons are changed; empty for several or none."""
        return next(iter(self.neurons)) if len(self.neurons) == 1 else ""

    @property
    def is_single_neuron(self) -> bool:
        """Whether one neuron is ablated, as an experiment that was asked for."""
        neurons = self.neurons.get(self.layer, ())
        return self.kind == ABLATED and neurons != "all" and len(neurons) == 1 and not self.control_of
