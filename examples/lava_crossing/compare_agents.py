"""Print how many neurons the decisions of each agent need, by layer and kind of edit, as tables in Markdown.

Reads ``patching_results/minimal_sets.csv`` of each agent folder, which ``find_minimal_sets.py`` writes with a row per
direction, layer and pair with contrast, and the kinds of edit from ``pairs.json`` of the DQN.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from statistics import median

PAIRS = Path(__file__).resolve().parent / "agent" / "activation_inputs" / "pairs.json"

Sizes = dict[tuple[str, str], dict[str, int]]
"""Direction and layer to input id to the size of the minimal set."""


def load_sizes(agent_path: Path) -> Sizes:
    """Read the size of the minimal set of each pair."""
    sizes: Sizes = {}
    with (agent_path / "patching_results" / "minimal_sets.csv").open(newline="") as file:
        for row in filter(itemgetter("input_id"), csv.DictReader(file)):  # without the set for all pairs together
            sizes.setdefault((row["direction"], row["layer"]), {})[row["input_id"]] = int(row["size"])
    return sizes


def pairs_with_contrast(sizes: Sizes) -> set[str]:
    """The ids of the pairs in which the agent's greedy action differs."""
    return {input_id for by_pair in sizes.values() for input_id in by_pair}


def median_sizes(by_pair: dict[str, int], kinds: dict[str, str], pairs: set[str]) -> list[str]:
    """The median size over all given pairs, then over those of each kind of edit."""
    groups = [pairs, *({pair for pair in pairs if kinds[pair] == kind} for kind in sorted(set(kinds.values())))]
    sizes = [[size for pair, size in by_pair.items() if pair in group] for group in groups]
    return [f"{median(group):g}" if group else "-" for group in sizes]


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Format a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def main() -> None:
    """Count the pairs with contrast of each agent; compare set sizes over the pairs that all agents have in common."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("agents", nargs="+", type=Path, help="agent folders in which find_minimal_sets.py has run")
    agents = {path.name: load_sizes(path) for path in parser.parse_args().agents}
    kinds = {input_id: str(record["edit"]) for input_id, record in json.loads(PAIRS.read_text()).items()}
    contrast = {name: pairs_with_contrast(sizes) for name, sizes in agents.items()}
    common = set.intersection(*contrast.values())
    columns = sorted(set(kinds.values()))

    def counted(name: str, pairs: Iterable[str]) -> list[object]:
        counts = Counter(kinds[pair] for pair in pairs)
        return [name, sum(counts.values()), *(counts[kind] for kind in columns)]

    counts = [counted(name, pairs) for name, pairs in {**contrast, "every agent": common}.items()]
    print(table(["contrast in", "all edits", *columns], [*counts, counted("pairs given", kinds)]))
    for title, chosen in (
        ("own pairs with contrast", contrast),
        ("common pairs", dict.fromkeys(contrast, common)),
    ):
        rows = [
            [name, layer, direction, *median_sizes(by_pair, kinds, chosen[name])]
            for name, sizes in agents.items()
            for (direction, layer), by_pair in sizes.items()
        ]
        print(f"Median size, {title}:\n")
        print(table(["agent", "layer", "direction", "all edits", *columns], rows))


if __name__ == "__main__":
    main()
