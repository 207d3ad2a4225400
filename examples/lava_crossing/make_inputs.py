"""Make the example's clean and corrupted inputs of ``agent/activation_inputs``: 100 pairs, 42 clusters."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path.insert(0, str(here.parents[1]))
    from Neuron_Selection.ObservationTooling.generate_pairs import main

    sys.exit(main(["--agent_path", str(here / "agent"), "--n_pairs", "100", *sys.argv[1:]]))
