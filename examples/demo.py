"""The main job on the shipped agent, in ``demo_output/``: extract, patch, say in a few sentences what was found."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

LAYER = "q_net.2"
TARGET, SOURCE = "corrupted_inputs.json", "clean_activations.npz"


def main() -> int:
    """Run the steps a newcomer would run; the first exit code that is not 0."""
    import activation_extraction
    import activation_patching

    output = Path(os.path.relpath(ROOT / "demo_output"))
    agent = output / "agent"
    if agent.exists():
        shutil.rmtree(agent)
    shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", agent)
    flags = ["--target_input", TARGET, "--source_activations", SOURCE]
    spec = ["--patch_spec", f"{LAYER}:all", "--output_prefix", "whole_layer"]
    for script, name, more in (
        (activation_extraction.main, "activation_extraction.py", []),
        (activation_patching.main, "activation_patching.py", [*flags, *spec]),
    ):
        words = ["--agent_path", str(agent), *more]
        print(f"\n$ python {name} {' '.join(words)}", flush=True)
        code = script([*words, "--quiet"])
        if code:
            return code
    print("\n" + what_single_neurons_do(agent, picture=output / "pair.png"))
    return 0


def what_single_neurons_do(agent: Path, *, picture: Path) -> str:
    """Patch every neuron of one layer alone, draw a pair that one of them decides, and put it all into words."""
    from Neuron_Selection.FileFormats.storage.atomic_files import write_atomically
    from Neuron_Selection.ObservationTooling.drawing.lava_crossing import draw_pair
    from Neuron_Selection.ObservationTooling.lava_crossing.pair_files import load_pairs
    from Neuron_Selection.PatchingTooling import PatchingExperiment
    from Neuron_Selection.PatchingTooling.patching_plan import plan_patching
    from Neuron_Selection.PatchingTooling.patching_records import run_plan

    experiment = PatchingExperiment(agent)
    width = experiment.layers()[LAYER].width
    plan = plan_patching(experiment, TARGET, [{LAYER: [neuron]} for neuron in range(width)], source=SOURCE)
    results = run_plan(experiment, plan, command={"script": "demo.py"})
    restored_by: dict[int, list[str]] = {
        neuron: [i for i, r in one["results"].items() if r["action_changed"] and r["matches_source"]]
        for neuron, one in enumerate(results.values())
    }
    counts = Counter({neuron: len(ids) for neuron, ids in restored_by.items() if ids})
    inputs = {input_id for ids in restored_by.values() for input_id in ids}
    best = counts.most_common(3)
    shown = next(pair for pair in load_pairs(agent) if pair.input_id == restored_by[best[0][0]][0])
    write_atomically(picture, draw_pair(shown))
    pairs = len(plan.target.ids)
    sentences = (
        f"What was found: in {results.metadata['summary'][0]['contrast_pairs']} of {pairs} pairs the agent acts "
        f"otherwise once the grid is edited. Putting back all of {LAYER} from the clean run gives the clean decisions "
        f"back, as it must: the Q-values depend on the input through that layer alone. Putting back one of its {width} "
        f"neurons at a time is the experiment: in {len(inputs)} of {pairs} pairs some single neuron is enough. "
        f"{len(counts)} neurons can do it somewhere, most often "
        + ", ".join(f"neuron {neuron} ({count} pairs)" for neuron, count in best)
        + f"; the other decisions need several. {picture} shows a pair that neuron {best[0][0]} alone decides."
    )
    return textwrap.fill(sentences, 100)


if __name__ == "__main__":
    sys.exit(main())
