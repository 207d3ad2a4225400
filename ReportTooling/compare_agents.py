"""Compare many agents in one table and one page, from the results in their folders."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "ReportTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from Neuron_Selection.command_line import Console, SuiteParser, add_shared_flags, script


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} A row for each agent: size, pairs, dead neurons, number of neurons a decision needs, "
        "share of the strongest. Steps that an agent misses are listed with their commands.",
        example="python ReportTooling/compare_agents.py my_agent edited.zip",
    )
    parser.add_argument("agents", nargs="+", metavar="FOLDER", help="agent folders (with agent.zip), or zips")
    parser.add_argument(
        "--group_by",
        metavar="KEY|PATTERN",
        help="a key of agent.json in the agents' folders, such as algorithm; or a regular expression with a group in "
        "parentheses that is searched in the folders' names, such as '(ppo|dqn)'",
    )
    parser.add_argument("--output_dir", default="comparison", help="output folder")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Read, write, list what is missing."""
    from ReportTooling.reports import compare_agents

    compared = compare_agents(args.agents, group_by=args.group_by, output_dir=args.output_dir, overwrite=args.overwrite)
    if compared.was_up_to_date:
        console.say(f"{compared.page}: up to date, left as it is")
    written = {"table": str(compared.table), "page": str(compared.page)}
    not_run = {agent: list(steps) for agent, steps in compared.not_run.items()}
    lines = [
        f"{compared.agents} agents",
        *(f"{agent}: not run: {', '.join(steps)}" for agent, steps in not_run.items()),
    ]
    console.result({**written, "agents": compared.agents, "not_run": not_run}, [*lines, *written.values()])


if __name__ == "__main__":
    sys.exit(main())
