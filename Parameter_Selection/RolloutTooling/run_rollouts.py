"""Run whole episodes of an agent with neurons or weights changed, and measure whether its behaviour changes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if __package__ != "Parameter_Selection.RolloutTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_plot_flag,
    add_shared_flags,
    agent_options,
    number,
    positive_int,
    script,
    whole_number,
)
from Neuron_Selection.environment_flags import (
    add_acting_flags,
    add_environment_flags,
    environment_options,
    environment_words,
)
from Neuron_Selection.errors import UsageError
from Neuron_Selection.next_command import next_command

_HERE = "Parameter_Selection/RolloutTooling/run_rollouts.py"


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} Each change is an experiment of its own; all run on the same seeds as the unchanged "
        "agent. --exact computes the value of every state instead, where the transitions are known.",
        example=f"python {_HERE} --agent_path my_agent --episodes 20 \\\n"
        '      --env examples/lava_crossing/environment.py:make_env --patch_spec "q_net.0:5" "q_net.2:10,11"',
    )
    add_agent_flags(parser, policy="--policy_class")
    add_environment_flags(parser)
    _add_change_flags(parser)
    _add_episode_flags(parser)
    group = parser.add_argument_group("exact behaviour")
    group.add_argument(
        "--exact",
        action="store_true",
        help="no episodes: the value of every state, for MiniGrid with walls, lava and goals, Gymnasium's toy text, "
        "and environments with a method transitions()",
    )
    group.add_argument(
        "--gamma", type=number, help="discount factor, below 1 (default: that of the agent's training, else 0.99)"
    )
    parser.add_argument("--output_prefix", help="name of the result files (default: rollouts, or rollouts_exact)")
    parser.add_argument("--output_dir", help="a folder instead of the agent's rollout_results/")
    add_plot_flag(parser, of="how much each change costs")
    add_shared_flags(parser)
    return parser


def _add_change_flags(parser: argparse.ArgumentParser) -> None:
    from Neuron_Selection.PatchingTooling.ablations import ablation_help

    group = parser.add_argument_group("changes, at least one")
    group.add_argument(
        "--patch_spec",
        nargs="+",
        metavar="SPEC",
        help='neurons to ablate, "layer:neurons;layer:neurons"; several specs are several experiments',
    )
    group.add_argument("--patches_file", metavar="FILE", help='a list of patches such as [{"q_net.0": [5, 6]}]')
    group.add_argument(
        "--neurons",
        nargs="+",
        metavar="SPEC",
        help="each of these neurons alone, such as q_net.0:5-20; all: every neuron of the hidden layers",
    )
    group.add_argument(
        "--from",
        dest="named_by",
        metavar="FILE",
        help="neurons that another tool named: cross_metric_summary.json (each alone, and all together), "
        "minimal_sets.json or circuit.json, with random controls of the same size",
    )
    group.add_argument(
        "--ablate", default="zero", metavar="KIND", help=f"what the neurons output instead: {ablation_help()}"
    )
    group.add_argument(
        "--reference_inputs",
        metavar="FILE",
        help="inputs for --ablate mean, noise and resample (default: up to 64 states of each baseline episode; with "
        "--exact all states)",
    )
    group.add_argument("--control_sets", type=whole_number, default=10, metavar="N", help="random sets for --from")
    group.add_argument("--steer", nargs="+", metavar="SPEC", help='add to neurons: "q_net.0:5,6=+0.5;q_net.2:3=-1"')
    group.add_argument("--clamp", nargs="+", metavar="SPEC", help='hold neurons at a value: "q_net.0:5,6=0.5"')
    group.add_argument("--edits", metavar="SPEC", help='weights with new values: "q_net.0.weight[61,5]=0", or a file')
    weights = group.add_mutually_exclusive_group()
    weights.add_argument("--weights", metavar="SPEC", help='weights, each alone: "q_net.0.weight[61,5]; ..."')
    weights.add_argument(
        "--candidates", metavar="FILE", help="candidate weights of extract.py, each alone and all together"
    )
    group.add_argument(
        "--mode", choices=("set", "add", "scale"), default="scale", help="of --weights and --candidates, by --values"
    )
    group.add_argument("--values", nargs="+", type=number, default=[0.0], metavar="V", help="each an experiment")
    group.add_argument("--against", metavar="ZIP", help="another agent, in place of this one, on the same seeds")


def _add_episode_flags(parser: argparse.ArgumentParser) -> None:
    add_acting_flags(parser)
    group = parser.add_argument_group("episodes")
    group.add_argument("--episodes", type=positive_int, default=100, metavar="N", help="number of episodes")
    group.add_argument(
        "--seed",
        type=whole_number,
        default=0,
        help="seed of the first episode, the next has seed + 1; also of everything else that is drawn",
    )
    group.add_argument(
        "--max_steps", type=positive_int, default=1000, metavar="N", help="an episode is stopped after these steps"
    )
    group.add_argument(
        "--when", metavar="FILE.py:F", help="changes are active where F(observation, step) is true, else the baseline"
    )
    group.add_argument("--from_step", type=whole_number, default=0, metavar="N", help="first step with the changes")
    group.add_argument("--to_step", type=whole_number, metavar="N", help="last step with the changes")
    group.add_argument(
        "--success",
        metavar="SIGNAL",
        help="FILE.py:f, a function of reward, terminated, truncated and info of the last step, or info[key] (default: "
        "the environment's own signals)",
    )
    group.add_argument("--trajectories", action="store_true", help="write actions and rewards of all episodes as npz")
    group.add_argument(
        "--gif",
        action="store_true",
        help="write one episode, baseline beside changed, with the first difference marked",
    )
    group.add_argument("--frames", action="store_true", help="the same as a zip of PNGs")
    group.add_argument("--show", metavar="EXPERIMENT", help="the one for --gif and --frames (default: largest effect)")
    group.add_argument("--show_seed", type=whole_number, metavar="SEED", help="its episode (default: largest effect)")
    group.add_argument("--jobs", type=positive_int, default=1, metavar="N", help="processes; the results are the same")


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Run, save, show, name the next command."""
    from Neuron_Selection.DrawingTooling.plot_files import check_plot, save_plot
    from Neuron_Selection.PatchingTooling import open_agent
    from Parameter_Selection.RolloutTooling.rollouts import Changes, exact_rollouts, run_rollouts
    from Parameter_Selection.RolloutTooling.rollouts.lines import exact_lines, sampled_lines
    from Parameter_Selection.RolloutTooling.rollouts.pictures import draw_changes_of_return

    check_plot(args.plot)
    if args.exact:
        _refuse_with_exact(args)
    agent = open_agent(args.agent_path, **agent_options(args))
    changes = Changes(**{name: getattr(args, name) for name in Changes.__dataclass_fields__})
    request = {name: getattr(args, name) for name in _BOTH} | environment_options(args) | {"policy": args.acting}
    if args.output_prefix is not None:
        request["output_prefix"] = args.output_prefix
    if args.exact:
        found, lines = (result := exact_rollouts(agent, changes, **request)), exact_lines(result)
    else:
        request |= {name: getattr(args, name) for name in _SAMPLED}
        found = run_rollouts(agent, changes, **request, progress=console.progress)
        lines = sampled_lines(found)
    if found.was_up_to_date:
        console.say(f"{found.files['results']}: up to date, left as it is")
    for remark in found.document.get("remarks", ()):
        console.say(remark)
    plot = save_plot(args.plot, lambda: draw_changes_of_return(found.document), overwrite=args.overwrite)
    written = {kind: str(path) for kind, path in found.files.items()} | plot
    following = _next_command(args, found.document)
    summary = {key: found.document[key] for key in ("rule", "classes", "baseline")}
    console.result(
        {"files": written, "engine": agent.engine, "dtype": agent.dtype, **summary, "next": following},
        [*lines, f"engine {agent.engine}, {agent.dtype}", *written.values()],
    )
    if following is not None:
        console.say(f"next: {following}")


_BOTH = ("seed", "max_steps", "gamma", "reference_inputs", "when", "output_dir", "overwrite")
_REPEATED = ("max_steps", "gamma", "reference_inputs", "when", "from_step", "to_step", "success", "seed", "output_dir")
_SAMPLED = (
    "episodes", "from_step", "to_step", "success", "trajectories", "gif", "frames", "show", "show_seed", "jobs",
)  # fmt: skip


def _refuse_with_exact(args: argparse.Namespace) -> None:
    parser = build_parser()
    for name in _SAMPLED:
        if getattr(args, name) != parser.get_default(name):
            raise UsageError(f"--{name} cannot be used with --exact, which runs no episodes")


def _next_command(args: argparse.Namespace, document: Mapping[str, Any]) -> str | None:
    """The experiment with the largest effect again, animated or, after exact values, in episodes; after that a page.

    None where all neurons were tried without an effect.
    """
    from Parameter_Selection.RolloutTooling.rollouts.lines import largest_effect

    row = largest_effect(document)
    if args.gif and row is not None:
        return next_command("ReportTooling/make_report.py", "--agent_path", args.agent_path, loading=args)
    if row is None and args.neurons and args.ablate != "zero":
        return None
    words = ["--agent_path", args.agent_path, *environment_words(args)]
    if row is None:  # nothing that was tried changes anything
        words += ["--neurons", "all", "--ablate", "mean" if args.neurons and args.ablate == "zero" else args.ablate]
        prefix = ["--output_prefix", "all_neurons", *(["--exact"] if args.exact else [])]
    else:
        is_ablated = bool(row["patch"]) and not row["experiment"].startswith(("steer_", "clamp_"))
        words += ["--patch_spec", row["patch"], "--ablate", args.ablate] if is_ablated else _change_words(args, row)
        episodes = ["--episodes", "20"] if args.exact else ["--episodes", str(args.episodes), "--gif"]
        prefix = [*episodes, "--output_prefix", "shown"]
    words += ["--policy", args.acting] if args.acting != "greedy" else []
    parser = build_parser()
    for name in _REPEATED:
        if getattr(args, name) != parser.get_default(name):
            words += [f"--{name}", str(getattr(args, name))]
    return next_command(_HERE, *words, *prefix, loading=args)


def _change_words(args: argparse.Namespace, row: Mapping[str, Any]) -> list[str]:
    """The flags of an experiment that is no ablation; of weights, those of all of them."""
    kind, _, number = row["experiment"].partition("_")
    if kind in ("steer", "clamp"):
        return [f"--{kind}", getattr(args, kind)[int(number) - 1]]
    if kind in ("against", "edits"):
        return [f"--{kind}", getattr(args, kind)]
    words = ["--weights", args.weights] if args.weights else ["--candidates", args.candidates]
    return [*words, "--mode", args.mode, "--values", *map(str, args.values)]


if __name__ == "__main__":
    sys.exit(main())
