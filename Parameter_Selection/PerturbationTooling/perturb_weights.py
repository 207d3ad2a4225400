"""Change weights of an agent, each alone and all together, and measure which of its decisions change."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ != "Parameter_Selection.PerturbationTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_cluster_flag,
    add_input_ids_flag,
    add_plot_flag,
    add_shared_flags,
    agent_options,
    number,
    script,
    whole_number,
)
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN

if TYPE_CHECKING:
    from Parameter_Selection.PerturbationTooling.perturbations.run import PerturbationSummary


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=__doc__,
        example="python Parameter_Selection/PerturbationTooling/perturb_weights.py --agent_path my_agent \\\n"
        '      --weights "q_net.0.weight[61,5]; q_net.2.weight[0,3]" --mode scale --values 0 -1',
    )
    add_agent_flags(parser)
    add_weight_flags(parser)
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
        help="one or several, each tried by itself; scaling by 0 zeroes a weight, by -1 flips its sign (default for "
        "scale: 0, -1 and seven more from -0.5 to 4; set and add have no default)",
    )
    parser.add_argument(
        "--control_sets",
        type=whole_number,
        metavar="N",
        help="number of random sets of as many weights to compare with; 0 for none (default: as many as a significant "
        "result needs, 99 to 999; without the fast engine at the first two values only)",
    )
    add_cluster_flag(parser)
    parser.add_argument("--seed", type=whole_number, default=0, help="seed of the random sets and of the intervals")
    parser.add_argument("--output_dir", help="folder of the outputs (default: the agent's perturbation_results/)")
    parser.add_argument("--output_prefix", default="results", help="name of the .csv and the .json")
    add_plot_flag(parser, of="what the weights change, compared with random ones")
    add_shared_flags(parser)
    return parser


def add_weight_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that choose weights and inputs, shared with find_smallest_flips.py."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--candidates", metavar="FILE", help="candidate weights of extract.py (default: candidate_weights.json)"
    )
    chosen.add_argument("--weights", metavar="SPEC", help='by hand: "q_net.0.weight[61,5]; q_net.2.weight[0,3]"')
    chosen.add_argument("--all_weights", nargs="+", metavar="LAYER", help="every weight of these layers")
    parser.add_argument(
        "--inputs", default=CLEAN, metavar="FILE", help="inputs file with the observations to decide on"
    )
    add_input_ids_flag(parser)


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Perturb the weights and report the effects."""
    from Neuron_Selection.DrawingTooling.plot_files import check_plot, save_plot
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments
    from Neuron_Selection.FileFormats.weights.perturbation_results import load_perturbation_results
    from Neuron_Selection.PatchingTooling import open_agent
    from Parameter_Selection.PerturbationTooling.exact_flips.supported_networks import flips_can_be_found
    from Parameter_Selection.PerturbationTooling.perturbations.pictures import draw_perturbations
    from Parameter_Selection.PerturbationTooling.perturbations.run import perturb_weights
    from SaliencyTooling.next_steps import command_after

    check_plot(args.plot)
    agent = open_agent(args.agent_path, **agent_options(args))
    perturbed = perturb_weights(
        agent,
        candidates=args.candidates,
        weights=args.weights,
        all_weights=args.all_weights,
        inputs=args.inputs,
        input_ids=ids_from_arguments(args.input_ids),
        mode=args.mode,
        values=args.values,
        control_sets=args.control_sets,
        cluster_by=args.cluster_by,
        seed=args.seed,
        output_dir=args.output_dir,
        output_prefix=args.output_prefix,
        overwrite=args.overwrite,
        progress=console.progress,
    )
    summary, files = perturbed.summary, [str(path) for path in perturbed.files]
    if not perturbed.written:
        console.say(f"{files[0]}: up to date, left as it is")
    results = perturbed.files[0]
    plot = save_plot(
        args.plot, lambda: draw_perturbations(load_perturbation_results(results)), overwrite=args.overwrite
    )
    console.result(
        {"files": files, "written": perturbed.written, **asdict(summary), **plot},
        [*summary_lines(summary, args.mode), *files, *plot.values()],
    )
    for line in agent.scores_described:
        console.say(line)
    by_default = args.candidates is None and args.weights is None and args.all_weights is None
    if by_default and flips_can_be_found(agent):
        command = command_after("perturb_weights", args.agent_path, loading=args)
    else:  # the strongest change, written into an agent
        edit = f"{summary.strongest['target']}={summary.strongest['weight_after']!r}"
        words = ("--edits", edit, "--output", "edited.zip")
        command = command_after("find_smallest_flips", args.agent_path, *words, loading=args)
    console.say(f"next: {command}")


def summary_lines(summary: PerturbationSummary, mode: str) -> list[str]:
    """The summary for people."""
    together = ", ".join(f"{value}: {share:.0%}" for value, share in summary.together.items())
    plural = "" if summary.targets == 1 else "s"
    inputs = f"{summary.inputs} inputs ({summary.near_ties} near ties)"
    flipping = f"alone, {summary.targets_that_flip} of {summary.targets} flip some action"
    lines = [
        f"{summary.targets} target{plural}, {inputs}; {summary.computed_by}",
        f"{flipping}; flips of all together by {mode} {together}",
    ]
    controls = summary.controls
    if not controls["comparisons"]:
        return [*lines, f"no comparison with chance: {controls['reason']}"]
    plural = "" if controls["clusters"] == 1 else "s"
    lines.append(
        f"against {controls['random_sets']} random sets of the same layers, {controls['clusters']} "
        f"cluster{plural} ({controls['clusters_by']}):"
    )
    lines.append(
        f"{'measure':<20}{mode:>7}{'chosen':>11}{'random':>11}{'least':>11}  {'difference':<24}{'p':>7}{'q':>7}"
    )
    for row in controls["comparisons"]:
        low_high = row["difference_interval"]
        interval = "" if low_high is None else f"[{low_high[0]:.3g}, {low_high[1]:.3g}]"
        lines.append(
            f"{row['measure']:<20}{row['value']!r:>7}{row['candidates']:>11.4g}{row['random']:>11.4g}"
            f"{row['least_gradient']:>11.4g}  {interval:<24}{row['p']:>7.3f}{row['q']:>7.3f}"
            + ("  beats chance" if row["beats_chance"] else "")
        )
    return [*lines, *controls["remarks"]]


if __name__ == "__main__":
    sys.exit(main())
