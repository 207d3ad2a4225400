"""Patching and ablation experiments on one agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.agent_zip.agent_folder import RESULTS, output_folder
from Neuron_Selection.FileFormats.provenance import is_up_to_date
from Neuron_Selection.FileFormats.results.patching_results import (
    patching_results_path,
    save_patching_results,
    stored_results,
)
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of
from Neuron_Selection.FileFormats.storage.json_files import json_bytes
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from Neuron_Selection.PatchingTooling.patching_plan import ablated_source, plan_patching
from Neuron_Selection.PatchingTooling.patching_records import PatchingResults, run_plan


class PatchingExperiment(OpenedAgent):
    """Patching experiments on one agent: by forward hooks on its real network, or in numpy.

    Files are named as on the command line: a bare name is looked for in the agent's folder first. Wherever a file of
    inputs is taken, arrays are too: ``{id: observation}``, or a batch (n, *shape) whose ids are "0", "1", ... The
    constructor's parameters are those of ``OpenedAgent``.
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
        plan = plan_patching(
            self,
            target_input_file,
            [patch_spec],
            source=source_activation_file,
            input_ids=input_ids,
            allow_mismatch=allow_mismatch,
        )
        return run_plan(self, plan, command={"function": "run_patching_experiment", **plan.described})

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
        """Run the target inputs with some neurons ablated.

        :param ablation: ``zero``, ``mean``, ``resample``, ``noise``, ``noise=K`` or ``constant=V``
        :param reference_inputs: inputs for mean and noise; None means the target inputs
        :param seed: of resample and noise
        :return: as ``run_patching_experiment``; there is no source run, so its action and match are None
        """
        plan = plan_patching(
            self,
            target_input_file,
            [patch_spec],
            source=ablated_source(self, ablation, reference_inputs, seed=seed),
            input_ids=input_ids,
        )
        return run_plan(self, plan, command={"function": "run_ablation_experiment", **plan.described})

    def save_results(
        self, results: Mapping[str, Any], output_prefix: str = "patching", *, overwrite: bool = False
    ) -> Path:
        """Write results to ``patching_results/<output_prefix>.json`` in the agent's folder, with their metadata.

        :return: the path; a file that the same run wrote is left as it is
        :raises InputError: the file was written by a different run, and ``overwrite`` is off
        """
        if not results:
            raise UsageError(field="results", found="none", expected="what run_patching_experiment returned")
        path = patching_results_path(output_folder(None, self.folder.folder / RESULTS), output_prefix)
        metadata = getattr(results, "metadata", None)
        if metadata is None:  # a dict that the caller made
            run = {"task": "results", "sha256": sha256_of(json_bytes(results))}
            metadata = self.metadata(run, command={"function": "save_results"})
        if is_up_to_date(stored_results(path), metadata, overwrite=overwrite):
            return path
        return save_patching_results(path, results, metadata=metadata)
