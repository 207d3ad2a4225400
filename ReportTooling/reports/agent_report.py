"""Make the page about one agent from the results in its folder, as ``make_report.py`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from Neuron_Selection.DrawingTooling.canvas import require_matplotlib
from Neuron_Selection.FileFormats.agent_zip.agent_folder import output_folder
from Neuron_Selection.FileFormats.hashed_files import save_hashed, stored_hashed
from Neuron_Selection.FileFormats.provenance import (
    check_outputs,
    installed_version,
    is_up_to_date,
    meta_path,
    stored_document,
)
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from ReportTooling.findings.five import five_findings
from ReportTooling.page.blocks import Finding, Findings, Page, Section, pictures_of
from ReportTooling.page.numbers import name, sentence
from ReportTooling.page.rendering import html_of
from ReportTooling.results.loading import Results, load_results
from ReportTooling.sections.agent_box import agent_box, environment_of
from ReportTooling.sections.behaviour_section import behaviour
from ReportTooling.sections.circuit_section import circuit
from ReportTooling.sections.effects import effects
from ReportTooling.sections.episode import episode
from ReportTooling.sections.neurons import neurons
from ReportTooling.sections.origin import origin, steps_left
from ReportTooling.sections.pairs_section import pairs_section
from ReportTooling.sections.sizes import sizes
from ReportTooling.sections.weights import weights

NAME, FOLDER, PAGE, PICTURES = "make_report.py", "report", "report.html", "pictures"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A page that was written.

    ``findings``: its sentences, as plain text. ``pictures``: the files of its pictures. ``missing``: the steps that
    were not run; ``outdated``: the files that belong to other weights, which are not shown.
    """

    path: Path
    pictures: tuple[Path, ...]
    findings: tuple[str, ...]
    missing: tuple[str, ...]
    outdated: tuple[str, ...]
    was_up_to_date: bool


def make_report(agent: OpenedAgent, *, output_dir: str | None = None, overwrite: bool = False) -> Report:
    """Make one page from whatever results are in an agent's folder.

    :param output_dir: None means the agent's ``report/``
    :raises InputError: a result file that is damaged, or a page of a different run without ``overwrite``
    :raises MachineError: matplotlib or jinja2 is not installed
    """
    require_matplotlib()
    results = load_results(agent)
    folder = output_folder(output_dir, agent.folder.folder / FOLDER)
    path = folder / PAGE
    check_outputs([path], [agent.folder.zip_path])
    drawn_by = {library: installed_version(library) for library in ("matplotlib", "jinja2")}
    planned = agent.metadata({"task": "report", "files": dict(results.files), **drawn_by}, command={"script": NAME})
    missing = tuple(step.name for step in results.missing)
    outdated = tuple(step.file for step in results.outdated)
    stored = stored_document(meta_path(path)) or {}
    listed = [file for file in stored.get("pictures", ()) if isinstance(file, str)]
    files = {"report": path} | {file: folder / PICTURES / Path(file).name for file in listed}
    if is_up_to_date(stored_hashed(path, files), planned, overwrite=overwrite):
        return Report(
            path=path,
            pictures=tuple(files.values())[1:],
            findings=tuple(stored["findings"]),
            missing=missing,
            outdated=outdated,
            was_up_to_date=True,
        )
    page = page_of(results)
    pictures = {
        f"{picture.name}.svg": picture.svg for section in page.sections for picture in pictures_of(section.blocks)
    }
    sentences = tuple(finding.sentence.striptags() for finding in findings_of(page))
    files = {"report": path} | {file: folder / PICTURES / file for file in pictures}
    about = {**planned, "findings": list(sentences), "pictures": [*pictures]}
    save_hashed(path, files, {"report": html_of(page), **pictures}, metadata=about)
    return Report(
        path=path,
        pictures=tuple(files.values())[1:],
        findings=sentences,
        missing=missing,
        outdated=outdated,
        was_up_to_date=False,
    )


def page_of(results: Results) -> Page:
    """All sections, in their order; those without results are left out."""
    findings = five_findings(results)
    made: list[Section | None] = [
        agent_box(results),
        Section(name="findings", title="What was found", blocks=[Findings(findings=findings)]) if findings else None,
        pairs_section(results),
        effects(results),
        neurons(results),
        sizes(results),
        circuit(results),
        weights(results),
        behaviour(results),
        episode(results),
        steps_left(results),
        origin(results),
    ]
    environment = environment_of(results)
    title = sentence("{} on {}", results.algorithm, environment) if environment else sentence("{}", results.algorithm)
    return Page(
        title=title,
        subtitle=sentence(
            "Which neurons and weights decide? The agent in {}", name(results.agent.folder.folder.name or ".")
        ),
        sections=[section for section in made if section is not None],
        footer="Every number comes from the files listed above; a pointer over a number shows all its digits.",
    )


def findings_of(page: Page) -> list[Finding]:
    """The findings of a page."""
    return [one for section in page.sections for block in section.blocks if isinstance(block, Findings)
            for one in block.findings]  # fmt: skip
