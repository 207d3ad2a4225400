"""How the page was made: the commands, versions and hashes that its files record; and the steps not run yet."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ReportTooling.page.blocks import Block, Commands, Folded, Paragraph, Section, Table, Text
from ReportTooling.page.numbers import name, printable, sentence
from ReportTooling.results.loading import Results
from ReportTooling.results.steps import STEPS, step_command


def origin(results: Results) -> Section:
    """Commands, versions and hashes."""
    agent = results.agent.agent_zip
    rows: list[list[Text]] = [[name(file), name(sha256)] for file, sha256 in results.files.items()]
    files = Table(name="files", caption="Files on this page", columns=["File", "SHA-256"],
                  rows=[[name(agent.path.name), name(agent.sha256)], *rows])  # fmt: skip
    runs: list[list[Text]] = []
    for step in STEPS:
        metadata = results.metadata.get(step.name)
        if metadata is not None:
            libraries = metadata.get("libraries")
            versions = (
                ", ".join(f"{key} {value}" for key, value in libraries.items())
                if isinstance(libraries, Mapping)
                else ""
            )
            script, suite = step.script.rpartition("/")[2], str(metadata.get("suite_version", ""))
            runs.append([name(script), _typed(metadata.get("command")), suite, versions])
    blocks: list[Block] = [
        Paragraph(text=sentence("Network {} (SHA-256 of the weights that decide).", name(agent.weights_sha256)))
    ]
    if runs:
        blocks.append(
            Table(name="runs", caption="Runs", columns=["Script", "Called with", "Version", "Libraries"], rows=runs)
        )
    blocks.append(Folded(summary="Files and their hashes", blocks=[files]))
    return Section(name="origin", title="How it was made", blocks=blocks)


def steps_left(results: Results) -> Section | None:
    """Steps that were not run, each with its command; None if all were."""
    if not results.missing and not results.outdated:
        return None
    blocks: list[Block] = []
    if results.outdated:
        files = ", ".join(step.file for step in results.outdated)
        blocks.append(
            Paragraph(
                text=sentence("Results of other weights than this agent's are not shown: {}.", files), kind="text"
            )
        )
    wanted = [(step, False) for step in results.missing] + [(step, True) for step in results.outdated]
    ordered = sorted(wanted, key=lambda one: STEPS.index(one[0]))
    folder, recorded = results.agent.folder.folder, [one.get("command") for one in results.metadata.values()]
    commands: list[tuple[Text, str]] = [
        (step.answers, printable(step_command(step, folder, recorded=recorded, overwrite=again)))
        for step, again in ordered
    ]
    return Section(name="steps", title="Not run yet", blocks=[*blocks, Commands(commands=commands)])


def _typed(command: Any) -> Text:
    """The arguments that a file records of its run."""
    if not isinstance(command, Mapping):
        return ""
    shown = {key: value for key, value in command.items() if key not in ("script", "task")}
    words = [f"{key}={shlex.quote(str(value))}" for key, value in shown.items() if isinstance(value, str | int | float)]
    return sentence('<span class="long">{}</span>', " ".join(words))
