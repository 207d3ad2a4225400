"""The whole story on the shipped agent, in ``demo_output/``: every step as a user types it, then what was found."""

from __future__ import annotations

import importlib
import io
import os
import shlex
import shutil
import sys
import textwrap
import time
from contextlib import redirect_stdout
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

OUTPUT = Path("demo_output")
AGENT = OUTPUT / "agent"
ENVIRONMENT = "--env examples/lava_crossing/environment.py:make_env"
CLEAN_INTO_CORRUPTED = "--target_input corrupted_inputs.json --source_activations clean_activations.npz"
STEPS = (
    "Neuron_Selection/ObservationTooling/verify_pairs.py",
    "Neuron_Selection/ObservationTooling/draw_pairs.py --input_ids MiniGrid-LavaCrossingS9N1-v0-81110-1,4,1-0000",
    "activation_extraction.py",
    f"activation_patching.py {CLEAN_INTO_CORRUPTED} --patch_spec q_net.2:all q_net.2:78 --output_prefix demo",
    "Neuron_Selection/ExperimentTooling/run_experiments.py",
    "Neuron_Selection/AnalysisTooling/analyze_metrics.py",
    "Neuron_Selection/ExperimentTooling/find_minimal_sets.py",
    "Neuron_Selection/ExperimentTooling/attribute_neurons.py",
    "Neuron_Selection/ExperimentTooling/find_interactions.py",
    "Neuron_Selection/ExperimentTooling/patch_edges.py",
    "SaliencyTooling/initial_test.py",
    "Parameter_Selection/PerturbationTooling/perturb_weights.py",
    "Parameter_Selection/PerturbationTooling/find_smallest_flips.py",
    f"Parameter_Selection/RolloutTooling/run_rollouts.py {ENVIRONMENT} --exact --neurons all",
    f"Parameter_Selection/RolloutTooling/run_rollouts.py {ENVIRONMENT} --patch_spec q_net.2:1 --episodes 40 --frames",
    "ReportTooling/make_report.py",
)


def main() -> int:
    """Run the steps one after the other; the first exit code that is not 0."""
    os.chdir(ROOT)
    shutil.rmtree(AGENT, ignore_errors=True)
    shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", AGENT)
    print(f"$ cp -r examples/lava_crossing/agent {AGENT}")
    printed = ""
    with (OUTPUT / "output.txt").open("w", encoding="utf-8") as log:
        for step in STEPS:
            script, *flags = shlex.split(step)
            words = ["--agent_path", str(AGENT), *flags]
            command = shlex.join(["python", script, *words])
            print(f"$ {command}", end="", flush=True)
            started = time.perf_counter()
            with redirect_stdout(io.StringIO()) as stream:
                code = importlib.import_module(script.removesuffix(".py").replace("/", ".")).main([*words, "--quiet"])
            print(f"  # {time.perf_counter() - started:.1f} s", flush=True)
            if code:
                return int(code)
            printed = stream.getvalue()
            log.write(f"$ {command}\n{printed}\n")
    *found, page = printed.splitlines()
    print("\nWhat was found:\n")
    for line in found:  # a number and its unit stay together
        print(textwrap.fill(line.replace(" %", "\xa0%"), 100, subsequent_indent="   ").replace("\xa0", " "))
    print(f"\nThe page: {ROOT / page}\nWhat each step printed: {log.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
