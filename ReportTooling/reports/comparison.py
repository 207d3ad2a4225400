"""Compare many agents in one table and one page, as ``compare_agents.py`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from Neuron_Selection.DrawingTooling.canvas import require_matplotlib
from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.hashed_files import save_hashed, stored_hashed
from Neuron_Selection.FileFormats.provenance import (
    check_outputs,
    installed_version,
    is_up_to_date,
    run_metadata,
)
from Neuron_Selection.FileFormats.storage.csv_tables import csv_bytes
from ReportTooling.page.blocks import Page
from ReportTooling.page.numbers import sentence
from ReportTooling.page.rendering import html_of
from ReportTooling.results.agent_rows import COLUMNS, AgentRow, agent_row
from ReportTooling.results.grouping import groups_of
from ReportTooling.sections.comparison import (
    curves_section,
    files_section,
    missing_section,
    overview,
    spread_section,
)

NAME, FOLDER = "compare_agents.py", "comparison"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The table and the page. ``not_run``: agent to the steps it misses."""

    table: Path
    page: Path
    agents: int
    not_run: dict[str, tuple[str, ...]]
    was_up_to_date: bool


def compare_agents(
    agent_paths: Sequence[str | Path],
    *,
    group_by: str | None = None,
    output_dir: str | Path = FOLDER,
    overwrite: bool = False,
) -> Comparison:
    """Write one table and one page over many agents, from the results in their folders.

    :param agent_paths: agent folders or zips
    :param group_by: a key of ``agent.json`` in the folders, or a regular expression with a group for their names
    :raises SuiteError: an agent that cannot be read, a damaged result, or no agent in any group
    """
    require_matplotlib()
    paths = {name: Path(path) for name, path in zip(_names(agent_paths), agent_paths, strict=True)}
    groups = groups_of({name: path if path.is_dir() else path.parent for name, path in paths.items()}, group_by)
    rows = [agent_row(path, name=name, group=groups[name]) for name, path in paths.items()]
    rows.sort(key=lambda row: row.values["group"])
    folder = Path(output_dir)
    table, page = folder / "comparison.csv", folder / "comparison.html"
    check_outputs([table, page], [Path(file) for row in rows for file in row.files])
    drawn_by = {library: installed_version(library) for library in ("matplotlib", "jinja2")}
    files = [[row.values["agent"], sorted(row.files.values()), row.values["not_run"]] for row in rows]
    planned = run_metadata(
        command={"script": NAME, "agents": [str(path) for path in agent_paths], "group_by": group_by},
        run={"task": "comparison", "agents": files, "group_by": group_by, **drawn_by},
        agent=None,
        libraries=("numpy",),
    )
    not_run = {str(row.values["agent"]): tuple(step.name for step in row.not_run) for row in rows if row.not_run}
    written = {"table": table, "page": page}
    if is_up_to_date(stored_hashed(page, written), planned, overwrite=overwrite):
        return Comparison(table=table, page=page, agents=len(rows), not_run=not_run, was_up_to_date=True)
    contents = {"table": csv_bytes(COLUMNS, [row.values for row in rows]), "page": html_of(page_of(rows, group_by))}
    save_hashed(page, written, contents, metadata=planned)
    return Comparison(table=table, page=page, agents=len(rows), not_run=not_run, was_up_to_date=False)


def page_of(rows: Sequence[AgentRow], group_by: str | None) -> Page:
    """All sections, in their order."""
    made = [overview(rows), spread_section(rows), curves_section(rows), missing_section(rows), files_section(rows)]
    by = sentence(", grouped by {}", group_by) if group_by else ""
    return Page(
        title=f"{len(rows)} agents compared",
        subtitle=sentence("Which neurons and weights decide{}", by),
        sections=[section for section in made if section is not None],
        footer="Every number comes from the files listed above; a pointer over a number shows all its digits.",
    )


def _names(agent_paths: Sequence[str | Path]) -> list[str]:
    """The last part of each path, or as many parts as make the names different.

    :raises UsageError: an agent given twice
    """
    resolved = [Path(path).resolve() for path in agent_paths]
    if len(set(resolved)) < len(resolved):
        twice = next(path for path in resolved if resolved.count(path) > 1)
        raise UsageError(f"agent {twice} is given twice")
    depth = 1
    while len({path.parts[-depth:] for path in resolved}) < len(resolved):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in resolved]
