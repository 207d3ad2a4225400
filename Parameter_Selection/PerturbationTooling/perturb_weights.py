"""Change weights of an agent, each alone and all together, and see which of its decisions change."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "Parameter_Selection.PerturbationTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_shared_flags,
    agent_options,
    number,
    script,
    whole_number,
)
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=__doc__,
        example="python Parameter_Selection/PerturbationTooling/perturb_weights.py --agent_path my_agent \\\n"
        '      --weights "q_net.0.weight[61,5]; q_net.2.weight[0,3]" --mode scale --values 0 -1',
    )
    add_agent_flags(parser)
    add_weight_flags(parser)
    parser.add_argument("--inputs", default=CLEAN, metavar="FILE", help="inputs to decide on")
    parser.add_argument(
        "--input_ids", nargs="+", metavar="ID", help="only these inputs, or @FILE with one a line (default: all)"
    )
    parser.add_argument(
        "--mode",
        choices=("set", "add", "scale"),
        default="scale",
        help="set weights to, add to them, or scale them by --values",
    )
    parser.add_argument(
        "--values",
        nargs="+",
        type=number,
        metavar="V",
        help="one or several, each tried by itself; scale by 0 zeroes a weight, by -1 flips its sign (default for "
        "scale: 0, -1 and seven more from -0.5 to 4; set and add have none)",
    )
    parser.add_argument(
        "--control_sets",
        type=whole_number,
        metavar="N",
        help="random sets of as many weights to compare with; 0 for none (default: as many as can show something, "
        "99 to 999; without the fast engine at the first two values only)",
    )
    parser.add_argument(
        "--cluster_by",
        choices=("auto", "file", "id_seed", "input"),
        default="auto",
        help="inputs that are not independent: by cluster in the inputs file, by the environment seed in the id, or "
        "each input alone; auto is file where there are clusters",
    )
    parser.add_argument("--seed", type=whole_number, default=0, help="of the random sets and of the intervals")
    parser.add_argument("--output_dir", help="where the files go (default: the agent's perturbation_results/)")
    parser.add_argument("--output_prefix", default="results", help="name of the .csv and the .json")
    add_shared_flags(parser)
    return parser


def add_weight_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that choose weights, shared with find_smallest_flips.py."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--candidates", metavar="FILE", help="candidate weights, of extract.py (default: candidate_weights.json)"
    )
    chosen.add_argument("--weights", metavar="SPEC", help='by hand: "q_net.0.weight[61,5]; q_net.2.weight[0,3]"')
    chosen.add_argument("--all_weights", nargs="+", metavar="LAYER", help="every weight of these layers")


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Choose, run, write, tell."""
    from Neuron_Selection.ExperimentTooling.engine_choice import open_for_experiments
    from Neuron_Selection.FileFormats.agent_zip.agent_folder import output_folder
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments
    from Neuron_Selection.FileFormats.results.patching_results import results_path
    from Neuron_Selection.FileFormats.weights.perturbation_results import PERTURBATIONS
    from Parameter_Selection.PerturbationTooling.exact_flips.relu_networks import flips_can_be_found
    from Parameter_Selection.PerturbationTooling.next_steps import after_perturbing
    from Parameter_Selection.PerturbationTooling.perturbations.run import summary_lines, write_perturbations
    from Parameter_Selection.PerturbationTooling.weights.chosen_weights import choose_weights
    from Parameter_Selection.PerturbationTooling.weights.values import chosen_values

    values = chosen_values(args.mode, args.values)
    opened, _ = open_for_experiments(args.agent_path, **agent_options(args))
    folder = output_folder(args.output_dir, opened.folder.folder / PERTURBATIONS)
    path = results_path(folder, args.output_prefix)
    chosen = choose_weights(opened, args)
    summary, written = write_perturbations(
        opened,
        opened.inputs(args.inputs).selected(ids_from_arguments(args.input_ids)),
        chosen,
        path,
        mode=args.mode,
        values=values,
        control_sets=args.control_sets,
        cluster_by=args.cluster_by,
        seed=args.seed,
        overwrite=args.overwrite,
    )
    if not written:
        console.say(f"{path}: up to date, left as it is")
    files = [str(path), str(path.with_suffix(".csv"))]
    console.result({"files": files, "written": written, **summary}, [*summary_lines(summary, args.mode), *files])
    console.say(f"next: {after_perturbing(args, summary, flips_can_be_found=flips_can_be_found(opened))}")


if __name__ == "__main__":
    sys.exit(main())
