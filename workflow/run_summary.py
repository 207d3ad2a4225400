"""What a run of the workflow did: a row for each agent and step in ``workflow_summary.csv``, failures on the terminal.

A step *ran* if its outputs are new, is *up to date* if they are older than the run, has *failed* if its log of this
run ends with an exit code, and was *not run* otherwise: it was not asked for, or an earlier step failed.
"""

from __future__ import annotations

import csv
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

LOGS = "workflow_logs"
COLUMNS = ("agent", "step", "status", "reason")


def report(steps: Mapping[str, Sequence[str]], agents: Iterable[str], *, since: float) -> None:
    """Write the table, and print the counts and the failures.

    :param steps: step to the files that it writes, with ``{agent}`` for the folder
    :param since: when the run started, in seconds since 1970
    """
    rows = [(agent, step, *_status(agent, step, files, since)) for agent in agents for step, files in steps.items()]
    path = Path("workflow_summary.csv")
    beside = path.with_suffix(".part")
    with beside.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    beside.replace(path)
    counts = Counter(status for _, _, status, _ in rows)
    print(", ".join(f"{count} {status}" for status, count in counts.items()), f"({path})", file=sys.stderr)
    for agent, step, status, reason in rows:
        if status == "failed":
            print(f"failed: {agent}: {step}: {reason}", file=sys.stderr)


def _status(agent: str, step: str, files: Sequence[str], since: float) -> tuple[str, str]:
    """The status of one step, and why it failed."""
    log = Path(agent) / LOGS / f"{step}.log"
    if log.exists() and log.stat().st_mtime >= since:
        *others, last = ["", *log.read_text(encoding="utf-8", errors="replace").splitlines()]
        if last.startswith("exit code "):
            return "failed", next((line for line in reversed(others) if line), last)
    outputs = [Path(file.format(agent=agent)) for file in files]
    if not all(map(os.path.exists, outputs)):
        return "not run", ""
    return ("ran" if max(file.stat().st_mtime for file in outputs) >= since else "up to date"), ""
