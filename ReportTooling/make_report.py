"""Make one self-contained page about an agent from the results in its folder, and its pictures as files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "ReportTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_shared_flags,
    agent_options,
    script,
)


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} Steps that were not run are listed with their commands.",
        example="python ReportTooling/make_report.py --agent_path my_agent",
    )
    add_agent_flags(parser)
    parser.add_argument("--output_dir", help="output folder (default: the agent's report/)")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Load, write, print the findings."""
    from Neuron_Selection.PatchingTooling import open_agent
    from ReportTooling.reports import make_report

    agent = open_agent(args.agent_path, **agent_options(args))
    report = make_report(agent, output_dir=args.output_dir, overwrite=args.overwrite)
    if report.was_up_to_date:
        console.say(f"{report.path}: up to date, left as it is")
    for file in report.outdated:
        console.say(f"{file}: of other weights than this agent's, not shown")
    document = {
        "report": str(report.path),
        "pictures": [str(path) for path in report.pictures],
        "findings": list(report.findings),
        "not_run": list(report.missing),
        "not_shown": list(report.outdated),
    }
    numbered = [f"{place}. {finding}" for place, finding in enumerate(report.findings, start=1)]
    not_run = [f"not run yet: {', '.join(report.missing)}"] if report.missing else []
    console.result(document, [*numbered, *not_run, str(report.path)])


if __name__ == "__main__":
    sys.exit(main())
