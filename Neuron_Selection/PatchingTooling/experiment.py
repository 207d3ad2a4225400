"""An agent opened, and patching and ablation experiments on it.

An opened agent is its folder with its zip read and its layers known; the network is built when it is first asked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from Neuron_Selection.address_space import require_address_space
from Neuron_Selection.errors import EngineError, UsageError, shown
from Neuron_Selection.FileFormats.activations import Activations
from Neuron_Selection.FileFormats.agent_zip.agent_folder import ACTIVATIONS, INPUTS, RESULTS, find_agent, output_folder
from Neuron_Selection.FileFormats.agent_zip.agent_zip import read_agent_zip
from Neuron_Selection.FileFormats.inputs import Inputs, inputs_from_arrays, load_inputs
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS, is_up_to_date, run_metadata
from Neuron_Selection.FileFormats.readable_activations import open_activations
from Neuron_Selection.FileFormats.results.patching_results import (
    patching_results_path,
    save_patching_results,
    stored_results,
)
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of
from Neuron_Selection.FileFormats.storage.json_files import json_bytes
from Neuron_Selection.PatchingTooling.agent.architecture import architecture_of, refuse_nonfinite
from Neuron_Selection.PatchingTooling.agent.custom_classes import CustomClasses
from Neuron_Selection.PatchingTooling.agent.layers import Layer, LayerTable, mlp_layers
from Neuron_Selection.PatchingTooling.patching.ablations import check_enough_inputs, parse_ablation
from Neuron_Selection.PatchingTooling.patching.plan import (
    PatchingPlan,
    activations_from_arrays,
    plan_patching,
    stored_source,
)
from Neuron_Selection.PatchingTooling.patching.sources import AblatedSource, RecordedSource

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.agent.engines import Engine
    from Neuron_Selection.PatchingTooling.patching.records import PatchingResults
    from Neuron_Selection.PatchingTooling.torch_network.agents import Agent


LIBRARIES = ("numpy", "torch", "stable-baselines3", "gymnasium")


class OpenedAgent:
    """An agent as every room uses it.

    :param agent_path: an agent folder or a zip
    :param device: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``
    :param engine: ``hooks`` on the real ``q_net``, the definition; or ``fast``, numpy in float64 for MLPs
    :param dtype: ``float32`` as the agent was trained, or ``float64``; the fast engine computes in float64 always
    :param trust: names of custom classes (``module.Class``) that may be imported
    :param features_extractor: your own copy of the agent's custom one, ``FILE.py:Class`` or the class
    :param activation_fn: the same for its activation function
    :param policy: the same for its policy
    :param allow_nonfinite: load weights that are NaN or infinite
    :raises InputError: the zip cannot be read, or is no DQN
    :raises UntrustedError: the network has custom classes that are not let in
    """

    def __init__(
        self,
        agent_path: str | Path,
        *,
        engine: str = "hooks",
        device: str = "cpu",
        dtype: str | None = None,
        trust: str | Sequence[str] = (),
        features_extractor: str | type | None = None,
        activation_fn: str | type | None = None,
        policy: str | type | None = None,
        allow_nonfinite: bool = False,
    ) -> None:
        if engine not in ("hooks", "fast"):
            raise UsageError(f"engine: found {shown(engine)}, expected hooks or fast")
        if dtype not in (None, "float32", "float64"):
            raise UsageError(f"dtype: found {shown(dtype)}, expected float32 or float64")
        if engine == "fast" and (dtype == "float32" or device not in ("cpu", "auto")):
            raise EngineError("engine fast: found a dtype or device, expected float64 on the cpu, which is all it has")
        self.folder = find_agent(agent_path)
        self.agent_zip = read_agent_zip(self.folder.zip_path)
        self.custom_classes = CustomClasses(
            trust=(trust,) if isinstance(trust, str) else tuple(trust or ()),
            features_extractor=features_extractor,
            activation_fn=activation_fn,
            policy=policy,
        )
        self.architecture = architecture_of(self.agent_zip, self.custom_classes)
        if not allow_nonfinite:
            refuse_nonfinite(self.agent_zip)
        self.device = device
        self.dtype = dtype or ("float64" if engine == "fast" else "float32")
        self.stored_dtype = np.dtype(dtype or "float32")  # of the activations that files hold
        self.engine_name = engine
        if engine == "fast":
            _ = self.engine  # what it cannot compute is refused at once

    @cached_property
    def agent(self) -> Agent:
        """The policy itself; torch and Stable-Baselines3 are imported when it is first asked for."""
        require_address_space("torch")
        from Neuron_Selection.PatchingTooling.torch_network.agents import build_agent

        return build_agent(self.agent_zip, self.architecture, self.custom_classes, device=self.device, dtype=self.dtype)

    @cached_property
    def engine(self) -> Engine:
        """What runs the network."""
        if self.engine_name == "fast":
            from Neuron_Selection.PatchingTooling.numpy_network.engine import FastEngine
            from Neuron_Selection.PatchingTooling.numpy_network.mlp import fast_mlp

            return FastEngine(network=fast_mlp(self.agent_zip, self.architecture))
        require_address_space("torch")
        from Neuron_Selection.PatchingTooling.torch_network.engine import HooksEngine

        return HooksEngine(agent=self.agent)

    @cached_property
    def layer_table(self) -> LayerTable:
        """Every name in the network; of an MLP it is known before the network is built."""
        if self.engine_name == "fast":
            return self.engine.layers
        return mlp_layers(self.architecture, self.agent_zip.observation_space) or self.agent.layers

    @property
    def online_weights(self) -> dict[str, np.ndarray]:
        """Every tensor of the online Q-network, under the name it has there: ``q_net.0.weight``."""
        tensors = self.agent_zip.tensors.items()
        return {name.removeprefix("q_net."): array for name, array in tensors if name.startswith("q_net.")}

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

    def q_values(self, inputs: Any) -> np.ndarray:
        """Q-values.

        :param inputs: an inputs file, or arrays
        :return: (n, n_actions), in the experiment's dtype, rows in the order of the inputs
        """
        return self.engine.q_values(self.inputs(inputs).observations)

    def activations(self, inputs: Any, *, layers: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """What layers output.

        :param layers: names; None means every layer with parameters or an activation function
        :return: layer to (n, *shape), rows in the order of the inputs
        """
        chosen = self.layer_table.chosen(layers)
        return self.engine.activations(self.inputs(inputs).observations, chosen)

    def stored_run(self, name: str | Path) -> Activations:
        """A run's activations from an npz or a readable file."""
        return open_activations(self.folder.find(str(name), ACTIVATIONS), self.layer_table.all_names)

    def metadata(self, run: Mapping[str, Any], *, command: Mapping[str, Any]) -> dict[str, Any]:
        """The metadata of a run with these decisive settings."""
        uses_torch = self.engine_name == "hooks"
        hooks_only = {"chunk_rows": CHUNK_ROWS, "mkl_cbwr": os.environ.get("MKL_CBWR")} if uses_torch else {}
        libraries = LIBRARIES if uses_torch else LIBRARIES[:1]
        numerics = {
            "engine": self.engine_name,
            "device": str(self.agent.policy.device) if uses_torch and self.device == "auto" else self.device,
            "dtype": self.dtype,
            **hooks_only,
            "custom_classes": self.custom_classes.described,
        }
        return run_metadata(command=command, run={**run, **numerics}, agent=self.agent_zip, libraries=libraries)


class PatchingExperiment(OpenedAgent):
    """Patching experiments on one agent: by forward hooks on the real ``q_net`` of Stable-Baselines3, or in numpy.

    Files are named as on the command line: a bare name is looked for in the agent's folder first. Wherever a file
    of inputs is taken, arrays are too: ``{id: observation}``, or a batch (n, *shape) whose ids are "0", "1", ...
    What the constructor takes is told by ``OpenedAgent``.
    """

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
        :param source_activation_file: an activations file, or arrays ``{layer: (n, *shape)}``, rows as in the target
        :param patch_spec: ``"q_net.0:5,6;q_net.2:all"`` or ``{"q_net.0": [5, 6], "q_net.2": "all"}``
        :param input_ids: only these inputs
        :param allow_mismatch: take activations of another agent
        :return: for each input id what patching_results files hold; ``.metadata`` is what made it
        """
        plan = self.plan_patching(
            target_input_file,
            [patch_spec],
            source=source_activation_file,
            input_ids=input_ids,
            allow_mismatch=allow_mismatch,
        )
        return self.run_plan(plan, command={"function": "run_patching_experiment", **plan.described})

    def run_ablation_experiment(
        self,
        target_input_file: Any,
        patch_spec: str | Mapping[str, Any],
        ablation: str = "zero",
        input_ids: Sequence[str] | None = None,
        *,
        reference_inputs: Any = None,
        seed: int = 0,
    ) -> PatchingResults:
        """Run the target inputs with some neurons taken out.

        :param ablation: ``zero``, ``mean``, ``resample``, ``noise``, ``noise=K`` or ``constant=V``
        :param reference_inputs: whose activations mean and noise are made of; None means the target inputs
        :param seed: of resample and noise
        :return: as ``run_patching_experiment``; there is no source run, so its action and match are None
        """
        plan = self.plan_patching(
            target_input_file,
            [patch_spec],
            source=self.ablated_source(ablation, reference_inputs, seed=seed),
            input_ids=input_ids,
        )
        return self.run_plan(plan, command={"function": "run_ablation_experiment", **plan.described})

    def ablated_source(self, ablation: str, reference_inputs: Any = None, *, seed: int = 0) -> AblatedSource:
        """A source for ``plan_patching`` that takes neurons out."""
        reference = None if reference_inputs is None else self.inputs(reference_inputs)
        return AblatedSource(ablation=parse_ablation(ablation), reference=reference, seed=seed)

    def recorded_source(self, inputs: Any) -> RecordedSource:
        """A source for ``plan_patching`` that is a run of other inputs with the same ids."""
        return RecordedSource(inputs=self.inputs(inputs))

    def plan_patching(
        self,
        target: Any,
        patch_specs: Sequence[str | Mapping[str, Any]],
        *,
        source: Any,
        input_ids: Sequence[str] | None = None,
        direction: str | None = None,
        allow_mismatch: bool = False,
    ) -> PatchingPlan:
        """Check everything that can be checked before a network runs.

        :param source: an activations file, arrays, or what ``ablated_source`` or ``recorded_source`` gave
        :param direction: denoising or noising; None reads it off the names of target and source
        """
        inputs = self.inputs(target)  # before the specs, whose layers may need the network built
        chosen = inputs.selected(input_ids)
        patches = [self._resolved(spec, number) for number, spec in enumerate(patch_specs, start=1)]
        if isinstance(source, RecordedSource):
            source = RecordedSource(inputs=source.inputs.selected(chosen.ids))
        elif isinstance(source, AblatedSource):
            check_enough_inputs(source.ablation, len(chosen.ids))
        else:
            stored = self._stored_activations(source, inputs.ids).selected(chosen.ids)
            source = stored_source(
                stored,
                list(dict.fromkeys(layer for patch in patches for layer in patch)),
                table=self.layer_table,
                weights_sha256=self.agent_zip.weights_sha256,
                n_actions=self.architecture.n_actions,
                dtype=self.dtype,
                allow_mismatch=allow_mismatch,
            )
        return plan_patching(target=chosen, source=source, patches=patches, direction=direction)

    def _resolved(self, spec: str | Mapping[str, Any], number: int) -> dict[str, Neurons]:
        try:
            return self.layer_table.resolve(spec)
        except UsageError as error:
            if error.detail:  # a caret shows the place
                raise
            raise UsageError(f"patch {number}: {str(error).removeprefix('patch spec: ')}") from error

    def _stored_activations(self, source: Any, ids: Sequence[str]) -> Activations:
        if isinstance(source, str | Path):
            return self.stored_run(source)
        return source if isinstance(source, Activations) else activations_from_arrays(source, ids, self.layer_table)

    def run_plan(self, plan: PatchingPlan, *, command: Mapping[str, Any]) -> PatchingResults:
        """Run a plan.

        :return: ``{id: result}`` for one patch, ``{experiment: {patch_configuration, results: {id: result}}}`` for more
        """
        from Neuron_Selection.PatchingTooling.patching.records import run_patches

        return run_patches(self.engine, plan, metadata=self.metadata(plan.decisive, command=command))

    def save_results(
        self, results: Mapping[str, Any], output_prefix: str = "patching", *, overwrite: bool = False
    ) -> Path:
        """Write results to ``patching_results/<output_prefix>.json`` in the agent's folder, with their metadata beside.

        :return: the path; a file that the same run wrote is left as it is
        :raises InputError: the file was written by a different run, and ``overwrite`` is off
        """
        if not results:
            raise UsageError("results: found none, expected what run_patching_experiment returned")
        path = patching_results_path(output_folder(None, self.folder.folder / RESULTS), output_prefix)
        metadata = getattr(results, "metadata", None)
        if metadata is None:  # a dict of the user's own making
            told = {"task": "results", "sha256": sha256_of(json_bytes(results))}
            metadata = self.metadata(told, command={"function": "save_results"})
        if is_up_to_date(stored_results(path), metadata, overwrite=overwrite):
            return path
        return save_patching_results(path, results, metadata=metadata)
