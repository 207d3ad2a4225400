"""Find patched runs, check that they belong to the agent, analyse and save, as ``analyze_metrics.py`` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Neuron_Selection.AnalysisTooling.analysis import Analysis, analyse, result_rows
from Neuron_Selection.AnalysisTooling.experiment_metrics import (
    averaged_metrics,
    check_metrics,
    chosen_metrics,
    selection_metrics,
)
from Neuron_Selection.AnalysisTooling.experiment_statistics import Sampling
from Neuron_Selection.AnalysisTooling.measures.clusters import clusters_of
from Neuron_Selection.AnalysisTooling.runs.patched_runs import PatchedRuns
from Neuron_Selection.AnalysisTooling.runs.runs_by_input import runs_by_input
from Neuron_Selection.AnalysisTooling.runs.swept_runs import runs_of_sweep
from Neuron_Selection.AnalysisTooling.summary_document import summary_document
from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.FileFormats.agent_zip.agent_folder import (
    CLEAN,
    INPUTS,
    RESULTS,
    AgentFolder,
    find_agent,
    output_folder,
)
from Neuron_Selection.FileFormats.agent_zip.agent_zip import AgentZip, read_agent_zip
from Neuron_Selection.FileFormats.inputs import clusters_in
from Neuron_Selection.FileFormats.provenance import is_up_to_date, run_metadata
from Neuron_Selection.FileFormats.results.cross_metric_summary import SUMMARY_FILE
from Neuron_Selection.FileFormats.results.results_by_input import file_names
from Neuron_Selection.FileFormats.results.results_table import (
    results_table_bytes,
    save_with_summary,
    stored_analysis,
)
from Neuron_Selection.FileFormats.storage.json_files import json_bytes

SWEEP, TABLE = "sweep.npz", "results.csv"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AnalyzedRuns:
    """The two files of an analysis; ``analysis`` is None if they were up to date.

    ``runs``: the sweep, or the folder of results by input; ``made_by``: the command that made these runs.
    """

    analysis: Analysis | None
    table: Path
    summary: Path
    runs: Path
    made_by: Mapping[str, Any]


def analyze(
    agent_path: str | Path,
    *,
    sweep: str | None = None,
    by_input: bool = False,
    clean: str | None = None,
    metrics: Sequence[str] | None = None,
    max_neurons: int = 8,
    q_threshold: float | None = None,
    cluster_by: str = "auto",
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
    output_dir: str | None = None,
    overwrite: bool = False,
) -> AnalyzedRuns:
    """Analyse a sweep, or with ``by_input`` results organised by input, and write ``results.csv`` and the summary.

    The parameters are the flags of ``analyze_metrics.py``; the network itself is not needed.

    :raises InputError: no runs, damaged runs, or runs of a different agent
    :raises SuiteError: an unknown metric, arguments that cannot be used together, or an output of a different run
    """
    check_metrics(metrics or ())
    if not 0 < confidence < 1:
        raise UsageError(field="confidence", found=f"{confidence:g}", expected="a number between 0 and 1")
    if q_threshold is not None and not 0 <= q_threshold <= 1:
        raise UsageError(field="q_threshold", found=f"{q_threshold:g}", expected="a number from 0 to 1")
    if by_input and sweep is not None:
        raise UsageError("--sweep cannot be used with --by_input")
    if clean is not None and not by_input:
        raise UsageError("--clean requires --by_input; a sweep holds the clusters of its inputs")
    folder, agent = _opened(Path(agent_path), by_input=by_input)
    settings: dict[str, Any] = {
        "max_neurons": max_neurons,
        "q_threshold": q_threshold,
        "cluster_by": cluster_by,
        "confidence": confidence,
        "resamples": resamples,
        "seed": seed,
    }
    with _runs_by_input(folder, clean) if by_input else runs_of_sweep(folder.find(sweep or SWEEP, RESULTS)) as runs:
        if agent is not None and runs.weights_sha256 not in ("", agent.weights_sha256):
            raise InputError(
                runs.where,
                "weights_sha256",
                found=f"patched runs of the agent {runs.weights_sha256[:12]}",
                expected=f"runs of this agent, {agent.weights_sha256[:12]}",
                hint="run_experiments.py --overwrite makes them again",
            )
        sampling = Sampling(confidence=confidence, resamples=resamples, seed=seed)
        clusters = clusters_of(runs.ids, runs.clusters, cluster_by, where=runs.where)
        command = {"script": "analyze_metrics.py", "agent_path": str(agent_path), "runs": str(runs.where)}
        chosen = chosen_metrics(metrics, runs.scores)
        settings = {"task": "analysis", "metrics": list(chosen), **settings, **runs.decisive}
        planned = run_metadata(command=command, run=settings, agent=agent, libraries=("numpy", "scipy"))
        out = output_folder(output_dir, folder.folder / RESULTS)
        table, summary = out / TABLE, out / SUMMARY_FILE
        if is_up_to_date(stored_analysis(table, summary), planned, overwrite=overwrite):
            return AnalyzedRuns(
                analysis=None, table=table, summary=summary, runs=Path(runs.where), made_by=runs.command
            )
        analysis = analyse(
            runs,
            clusters,
            metrics=chosen,
            max_neurons=max_neurons,
            q_threshold=q_threshold,
            sampling=sampling,
        )
    table_bytes = results_table_bytes(
        result_rows(analysis), metrics=averaged_metrics(), selection_metrics=selection_metrics(chosen)
    )
    document = json_bytes(summary_document(analysis, metadata=planned))
    save_with_summary(table, table_bytes, summary, document, metadata=planned)
    return AnalyzedRuns(analysis=analysis, table=table, summary=summary, runs=Path(runs.where), made_by=runs.command)


def _opened(path: Path, *, by_input: bool) -> tuple[AgentFolder, AgentZip | None]:
    """The agent's folder and zip; published results may lack the zip."""
    if by_input and path.is_dir() and not any(entry.suffix == ".zip" for entry in path.iterdir()):
        return AgentFolder(zip_path=path / "agent.zip", folder=path), None
    folder = find_agent(path)
    return folder, read_agent_zip(folder.zip_path)


@contextmanager
def _runs_by_input(folder: AgentFolder, clean: str | None) -> Iterator[PatchedRuns]:
    if clean is None:  # published results may lack their inputs
        inputs = folder.folder / INPUTS / CLEAN
        clusters = clusters_in(inputs) if inputs.exists() else {}
    else:
        clusters = clusters_in(folder.find(clean, INPUTS))
    # published files name their input only by the file name
    by_file = {name.removesuffix(".json"): clusters[input_id] for input_id, name in file_names(list(clusters)).items()}
    yield runs_by_input(folder.folder / RESULTS, {**by_file, **clusters})
