"""What to do with the important neurons of a summary, or where there is none."""

from __future__ import annotations

from pathlib import Path

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.agent_folder import GRADIENTS, RESULTS, find_agent
from Neuron_Selection.FileFormats.cross_metric_summary import load_cross_metric_summary
from Neuron_Selection.next_command import next_command


def next_lines(summary: Path, *, agent_path: str) -> list[str]:
    """The closing lines: initial_test.py reads the agent's own summary, extract.py one that lies elsewhere."""
    if not load_cross_metric_summary(summary).neurons:
        advice = "pairs of contrast, experiments on single neurons, or no --q_threshold and no --metrics give some"
        return [f"no neuron was chosen, so there are no weights to look for: see the remarks in {summary} ({advice})"]
    agent = ("--agent_path", agent_path)
    try:
        own = find_agent(agent_path).folder
    except InputError:
        return [f"next, once agent.zip lies in it: {next_command('SaliencyTooling/initial_test.py', *agent)}"]
    if summary.resolve() == (own / RESULTS / summary.name).resolve():
        return [f"next: {next_command('SaliencyTooling/initial_test.py', *agent)}"]
    average = own / GRADIENTS / "average_gradients.json"
    files = ("--cross_metric_path", summary, "--average_gradients_path", average)
    return [
        f"next: {next_command('SaliencyTooling/InitialGradients/average.py', *agent)}",
        f"next: {next_command('SaliencyTooling/InitialGradients/extract.py', *files)}",
    ]
