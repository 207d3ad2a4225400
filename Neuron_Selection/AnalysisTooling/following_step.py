"""What to do with the important neurons of a summary, or where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.agent_zip.agent_folder import GRADIENTS, RESULTS, find_agent
from Neuron_Selection.FileFormats.results.cross_metric_summary import load_cross_metric_summary
from Neuron_Selection.FileFormats.weights.average_gradients import AVERAGE_FILE
from Neuron_Selection.next_command import loading_of, next_command


def next_lines(summary: Path, *, agent_path: str, made_by: Mapping[str, Any]) -> list[str]:
    """The closing lines: initial_test.py reads the agent's own summary, extract.py one that lies elsewhere.

    :param made_by: what was typed for the runs; custom classes are handed on
    """
    if not load_cross_metric_summary(summary).neurons:
        advice = "pairs of contrast, experiments on single neurons, or no --q_threshold and no --metrics give some"
        return [f"no neuron was chosen, so there are no weights to look for: see the remarks in {summary} ({advice})"]
    agent, loading = ("--agent_path", agent_path), loading_of(made_by)
    try:
        own = find_agent(agent_path).folder
    except InputError:
        return [f"next, once agent.zip lies in it: {next_command('SaliencyTooling/initial_test.py', *agent)}"]
    if summary.resolve() == (own / RESULTS / summary.name).resolve():
        return [f"next: {next_command('SaliencyTooling/initial_test.py', *agent, loading=loading)}"]
    average = own / GRADIENTS / AVERAGE_FILE
    files = ("--cross_metric_path", summary, "--average_gradients_path", average)
    return [
        f"next: {next_command('SaliencyTooling/InitialGradients/average.py', *agent, loading=loading)}",
        f"next: {next_command('SaliencyTooling/InitialGradients/extract.py', *files)}",
    ]
