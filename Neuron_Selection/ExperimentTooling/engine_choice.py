"""Which engine runs many experiments: numpy for MLPs, torch, hooks where nothing shorter applies, for all else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from Neuron_Selection.errors import EngineError
from Neuron_Selection.PatchingTooling.experiment import PatchingExperiment


def open_for_experiments(
    agent_path: str | Path, *, engine: str = "auto", **options: Any
) -> tuple[PatchingExperiment, str]:
    """The agent under the engine that shall run it, in float64 unless told otherwise; and why that one was taken.

    :param engine: ``auto``, ``fast`` or ``hooks``
    :param options: what ``PatchingExperiment`` takes
    :raises EngineError: ``fast`` was asked for and does not apply
    """
    on_cpu = options.get("device", "cpu") in ("cpu", "auto") and options.get("dtype") != "float32"
    reason = "as asked for" if engine == "hooks" else "a device or dtype that only hooks have"
    if engine == "fast" or (engine == "auto" and on_cpu):
        try:
            return PatchingExperiment(agent_path, engine="fast", **options), "an MLP"
        except EngineError as error:
            if engine == "fast":
                raise
            reason = str(error).removeprefix("engine fast: ").partition(", expected")[0]
    return PatchingExperiment(agent_path, **{**options, "dtype": options.get("dtype") or "float64"}), reason
