"""Make clean and corrupted inputs for any agent: inputs that differ little and are decided differently."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "Neuron_Selection.ObservationTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_shared_flags,
    agent_options,
    number,
    positive_int,
    script,
    whole_number,
)
from Neuron_Selection.environment_flags import add_environment_flags, environment_options
from Neuron_Selection.next_command import handed_on, next_command


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} The corrupted input is the nearest visited state with another decision (nearest), the "
        "clean input with the fewest features of that state that flip the decision (features), or the same state of a "
        "MiniGrid world after one edit (environment).",
        example="python Neuron_Selection/ObservationTooling/make_pairs.py --agent_path my_agent \\\n"
        "      --inputs clean_inputs.json --method features --group cells --n_pairs 50 --output_dir features_pairs",
    )
    add_agent_flags(parser)
    parser.add_argument("--method", choices=("nearest", "features", "environment"), default="nearest", help="see above")
    parser.add_argument(
        "--inputs",
        metavar="FILE",
        help="states for nearest and features, as record_inputs.py writes them, or any other inputs file (default: "
        "visited_inputs.json)",
    )
    parser.add_argument("--n_pairs", type=positive_int, default=100, help="largest number of pairs")
    parser.add_argument(
        "--min_margin",
        type=number,
        default=0.0,
        help="smallest lead of the greedy action in both inputs, in units of the scores; near ties are always left out",
    )
    parser.add_argument("--from_action", metavar="ACTION", help="only this clean action: its number or its name")
    parser.add_argument("--to_action", metavar="ACTION", help="only this corrupted action")
    parser.add_argument(
        "--group",
        choices=("entries", "cells", "keys"),
        default="entries",
        help="what counts as one feature: an entry; all channels of a cell of an image; a key of a Dict",
    )
    parser.add_argument("--first_env_seed", type=whole_number, help="first seed for environment (default: 0)")
    parser.add_argument("--n_env_seeds", type=positive_int, help="number of seeds for environment (default: 100)")
    parser.add_argument("--seed", type=whole_number, default=0, help="seed of the choice among possible pairs")
    parser.add_argument("--output_dir", help="a folder instead of the agent's activation_inputs/")
    add_environment_flags(parser)
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Make, save, count, name the next command."""
    from Neuron_Selection.errors import UsageError
    from Neuron_Selection.ObservationTooling.environments.chosen import chosen_environment
    from Neuron_Selection.ObservationTooling.pair_making import make_pairs
    from Neuron_Selection.ObservationTooling.pair_making.lines import pair_lines, remarks
    from Neuron_Selection.PatchingTooling import open_agent

    edits_worlds = args.method == "environment"
    for name in _OF_ENVIRONMENT if not edits_worlds else ():
        if getattr(args, name) is not None:
            raise UsageError(f"--{name} can only be used with --method environment, not with {args.method}")
    agent = open_agent(args.agent_path, engine="auto", **agent_options(args))
    environment = chosen_environment(agent, **environment_options(args)) if edits_worlds else None
    request = {name: getattr(args, name) for name in _REQUEST}
    first = args.first_env_seed or 0
    env_seeds = range(first, first + (args.n_env_seeds or 100)) if edits_worlds else None
    made = make_pairs(agent, **request, environment=environment, env_seeds=env_seeds)
    if made.was_up_to_date:
        console.say(f"{made.paths['pairs']}: up to date, left as it is")
    for remark in remarks(made.summary, n_pairs=args.n_pairs):
        console.say(remark)
    written = [str(path) for path in made.paths.values()]
    words = ["--agent_path", args.agent_path]
    if args.output_dir:
        words += ["--clean", handed_on(made.paths["clean"]), "--corrupted", handed_on(made.paths["corrupted"])]
    following = next_command("Neuron_Selection/ExperimentTooling/run_experiments.py", *words, loading=args)
    console.result(
        {"summary": made.summary, "written": written, "next": following}, [*pair_lines(made.summary), *written]
    )
    console.say(f"next: {following}")


_REQUEST = (
    "inputs", "method", "n_pairs", "min_margin", "group", "from_action", "to_action", "seed", "output_dir", "overwrite",
)  # fmt: skip
_OF_ENVIRONMENT = ("env", "env_kwargs", "wrapper", "frame_stack", "first_env_seed", "n_env_seeds")


if __name__ == "__main__":
    sys.exit(main())
