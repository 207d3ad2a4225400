"""Patching and ablation experiments on one agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.activations import Activations, load_activations
from Neuron_Selection.FileFormats.agent_folder import ACTIVATIONS, RESULTS, output_folder
from Neuron_Selection.FileFormats.atomic_files import sha256_of
from Neuron_Selection.FileFormats.json_files import json_bytes
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.FileFormats.patching_results import patching_results_path, save_patching_results, stored_metadata
from Neuron_Selection.FileFormats.run_metadata import is_up_to_date
from Neuron_Selection.PatchingTooling.ablations import check_enough_inputs, parse_ablation
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from Neuron_Selection.PatchingTooling.patching_plan import (
    PatchingPlan,
    activations_from_arrays,
    plan_patching,
    stored_source,
)
from Neuron_Selection.PatchingTooling.patching_sources import AblatedSource, RecordedSource

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.patching_records import PatchingResults


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
            return load_activations(self.folder.find(str(source), ACTIVATIONS), self.layer_table.all_names)
        return source if isinstance(source, Activations) else activations_from_arrays(source, ids, self.layer_table)

    def run_plan(self, plan: PatchingPlan, *, command: Mapping[str, Any]) -> PatchingResults:
        """Run a plan.

        :return: ``{id: result}`` for one patch, ``{experiment: {patch_configuration, results: {id: result}}}`` for more
        """
        from Neuron_Selection.PatchingTooling.patching_records import run_patches

        return run_patches(self.engine, plan, metadata=self.metadata(plan.decisive, command=command))

    def save_results(
        self, results: Mapping[str, Any], output_prefix: str = "patching", *, overwrite: bool = False
    ) -> Path:
        """Write results to ``patching_results/<output_prefix>.json`` in the agent's folder, with their metadata beside.

        :return: the path; a file that the same run wrote is left as it is
        :raises UsageError: the file is there from another run, and ``overwrite`` is off
        """
        if not results:
            raise UsageError("results: found none, expected what run_patching_experiment returned")
        path = patching_results_path(output_folder(None, self.folder.folder / RESULTS), output_prefix)
        metadata = getattr(results, "metadata", None)
        if metadata is None:  # a dict of the user's own making
            told = {"task": "results", "sha256": sha256_of(json_bytes(results))}
            metadata = self.metadata(told, command={"function": "save_results"})
        if is_up_to_date(path, stored_metadata(path), metadata, overwrite=overwrite):
            return path
        return save_patching_results(path, results, metadata=metadata)
