"""One agent held in memory, and what can be asked of it: layers, activations, Q-values, patching experiments."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from Neuron_Selection.errors import UsageError, shown
from Neuron_Selection.FileFormats.activations import Activations, load_activations
from Neuron_Selection.FileFormats.agent_folder import ACTIVATIONS, INPUTS, RESULTS, find_agent
from Neuron_Selection.FileFormats.agent_zip import read_agent_zip
from Neuron_Selection.FileFormats.inputs import Inputs, inputs_from_arrays, load_inputs
from Neuron_Selection.FileFormats.patching_results import results_path, save_patching_results, stored_metadata
from Neuron_Selection.FileFormats.run_metadata import CHUNK_ROWS, is_up_to_date, run_metadata
from Neuron_Selection.PatchingTooling.architecture import architecture_of
from Neuron_Selection.PatchingTooling.custom_classes import CustomClasses
from Neuron_Selection.PatchingTooling.layers import Layer, LayerTable, mlp_layers
from Neuron_Selection.PatchingTooling.patching_plan import PatchingPlan, activations_from_arrays, plan_patching
from Neuron_Selection.PatchingTooling.stored_sizes import refuse_nonfinite

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.agents import Agent
    from Neuron_Selection.PatchingTooling.patching_records import PatchingResults

LIBRARIES = ("numpy", "torch", "stable-baselines3", "gymnasium")


class PatchingExperiment:
    """Patching experiments on one agent, by forward hooks on the real ``q_net`` of Stable-Baselines3.

    Files are named as on the command line: a bare name is looked for in the agent's folder first. Wherever a file
    of inputs is taken, arrays are too: ``{id: observation}``, or a batch (n, *shape) whose ids are "0", "1", ...

    :param agent_path: an agent folder or a zip
    :param device: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``
    :param dtype: ``float32`` as the agent was trained, or ``float64``
    :param trust: names of custom classes (``module.Class``) that may be imported
    :param features_extractor: your own copy of the agent's custom one, ``FILE.py:Class`` or the class
    :param activation_fn: the same for its activation function
    :param allow_nonfinite: load weights that are NaN or infinite
    :raises InputError: the zip cannot be read, or is no DQN
    :raises UntrustedError: the network has custom classes that are not let in
    """

    def __init__(
        self,
        agent_path: str | Path,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        trust: str | Sequence[str] = (),
        features_extractor: str | type | None = None,
        activation_fn: str | type | None = None,
        allow_nonfinite: bool = False,
    ) -> None:
        if dtype not in ("float32", "float64"):
            raise UsageError(f"dtype: found {shown(dtype)}, expected float32 or float64")
        self.folder = find_agent(agent_path)
        self.agent_zip = read_agent_zip(self.folder.zip_path)
        self.custom_classes = CustomClasses(
            trust=(trust,) if isinstance(trust, str) else tuple(trust or ()),
            features_extractor=features_extractor,
            activation_fn=activation_fn,
        )
        self.architecture = architecture_of(self.agent_zip, self.custom_classes)
        if not allow_nonfinite:
            refuse_nonfinite(self.agent_zip)
        self.device = device
        self.dtype = dtype

    @cached_property
    def agent(self) -> Agent:
        """The policy itself; torch and Stable-Baselines3 are imported when it is first asked for."""
        from Neuron_Selection.PatchingTooling.agents import build_agent

        return build_agent(self.agent_zip, self.architecture, self.custom_classes, device=self.device, dtype=self.dtype)

    @cached_property
    def layer_table(self) -> LayerTable:
        """Every name in the network; of an MLP it is known before the network is built."""
        return mlp_layers(self.architecture, self.agent_zip.observation_space) or self.agent.layers

    def layers(self) -> dict[str, Layer]:
        """Every layer that can be recorded or patched, in the order in which they fire."""
        return dict(self.layer_table.layers)

    def inputs(self, inputs: Any) -> Inputs:
        """The inputs that a file name or arrays stand for."""
        if isinstance(inputs, Inputs):
            return inputs
        space = self.agent_zip.observation_space
        if isinstance(inputs, str | Path):
            return load_inputs(self.folder.find(str(inputs), INPUTS), space)
        return inputs_from_arrays(inputs, space)

    def source_activations(self, source: Any, ids: Sequence[str]) -> Activations:
        """The activations that a file name stands for, or ``{layer: (n, *shape)}``, rows in the order of ids."""
        if isinstance(source, str | Path):
            return load_activations(self.folder.find(str(source), ACTIVATIONS), self.layer_table.all_names)
        return source if isinstance(source, Activations) else activations_from_arrays(source, ids, self.layer_table)

    def q_values(self, inputs: Any) -> np.ndarray:
        """Q-values.

        :param inputs: an inputs file, or arrays
        :return: (n, n_actions), in the experiment's dtype, rows in the order of the inputs
        """
        from Neuron_Selection.PatchingTooling.q_values import compute_q_values

        return compute_q_values(self.agent, self.inputs(inputs).observations)

    def activations(self, inputs: Any, *, layers: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """What layers output.

        :param layers: names; None means every layer with parameters or an activation function
        :return: layer to (n, *shape), rows in the order of the inputs
        """
        from Neuron_Selection.PatchingTooling.q_values import record_activations

        chosen = self.layer_table.chosen(layers)
        return record_activations(self.agent, self.inputs(inputs).observations, chosen)

    def run_patching_experiment(
        self,
        target_input_file: Any,
        source_activation_file: Any,
        patch_spec: str | Mapping[str, Any],
        input_ids: Sequence[str] | None = None,
        *,
        allow_mismatch: bool = False,
    ) -> PatchingResults:
        """Run the target inputs with some neurons held at their values in the source run.

        :param target_input_file: an inputs file, or arrays
        :param source_activation_file: an activations file, or arrays ``{layer: (n, *shape)}``
        :param patch_spec: ``"q_net.0:5,6;q_net.2:all"`` or ``{"q_net.0": [5, 6], "q_net.2": "all"}``
        :param input_ids: only these inputs
        :param allow_mismatch: take activations of another agent
        :return: for each input id what patching_results files hold; ``.metadata`` is what made it
        """
        plan = self.plan_patching(
            target_input_file, source_activation_file, [patch_spec], input_ids, allow_mismatch=allow_mismatch
        )
        return self.run_plan(plan, command={"function": "run_patching_experiment", **plan.described})

    def plan_patching(
        self,
        target: Any,
        source: Any,
        patch_specs: Sequence[str | Mapping[str, Any]],
        input_ids: Sequence[str] | None = None,
        *,
        allow_mismatch: bool = False,
    ) -> PatchingPlan:
        """Check everything that can be checked before a network runs."""
        patches = [self.layer_table.resolve(spec) for spec in patch_specs]
        inputs = self.inputs(target)
        chosen = inputs.selected(input_ids)
        return plan_patching(
            target=chosen,
            source=self.source_activations(source, inputs.ids).selected(chosen.ids),
            patches=patches,
            table=self.layer_table,
            weights_sha256=self.agent_zip.weights_sha256,
            dtype=self.dtype,
            allow_mismatch=allow_mismatch,
        )

    def metadata(self, run: Mapping[str, Any], *, command: Mapping[str, Any]) -> dict[str, Any]:
        """The metadata of a run with these decisive settings."""
        numerics = {
            "engine": "hooks",
            "device": self.device,
            "dtype": self.dtype,
            "chunk_rows": CHUNK_ROWS,
            "mkl_cbwr": os.environ.get("MKL_CBWR"),
            "custom_classes": self.custom_classes.described,
        }
        return run_metadata(command=command, run={**run, **numerics}, agent=self.agent_zip, libraries=LIBRARIES)

    def run_plan(self, plan: PatchingPlan, *, command: Mapping[str, Any]) -> PatchingResults:
        """Run a plan.

        :return: ``{id: result}`` for one patch, ``{experiment: {patch_configuration, results: {id: result}}}`` for more
        """
        from Neuron_Selection.PatchingTooling.patching_records import result_records

        return result_records(self.agent, plan, metadata=self.metadata(plan.decisive, command=command))

    def save_results(
        self, results: Mapping[str, Any], output_prefix: str = "patching", *, overwrite: bool = False
    ) -> Path:
        """Write results to ``patching_results/<output_prefix>.json`` in the agent's folder, with their metadata beside.

        :return: the path; a file that the same run wrote is left as it is
        :raises UsageError: the file is there from another run, and ``overwrite`` is off
        """
        if not results:
            raise UsageError("results: found none, expected what run_patching_experiment returned")
        path = results_path(self.folder.folder / RESULTS, output_prefix)
        metadata = getattr(results, "metadata", None) or self.metadata({}, command={"function": "save_results"})
        if is_up_to_date(path, stored_metadata(path), metadata, overwrite=overwrite):
            return path
        return save_patching_results(path, results, metadata=metadata)
