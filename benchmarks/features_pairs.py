"""CPU seconds for 100 pairs by minimal sets of features, for an agent of 147 entries and 1,000 visited states."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from Neuron_Selection.ObservationTooling.pair_making import make_pairs  # noqa: E402
from Neuron_Selection.PatchingTooling import open_agent  # noqa: E402
from tests.made_worlds import random_inputs, vector_agent, with_visited  # noqa: E402


def main() -> None:
    """Make an agent and states, time both methods from visited states."""
    with tempfile.TemporaryDirectory() as folder:
        agent = with_visited(vector_agent(Path(folder) / "agent", 147), random_inputs(147, 1000, values=11))
        opened = open_agent(agent)
        for method in ("nearest", "features"):
            start = time.process_time()
            made = make_pairs(opened, method=method, output_dir=str(Path(folder) / method))
            seconds = time.process_time() - start
            print(f"{method}: {made.summary['pairs']} pairs, {seconds:.2f} s of CPU")


if __name__ == "__main__":
    main()
