"""Record the states that an agent visits in its environment, visited_inputs.json; make_pairs.py makes pairs of them."""

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
from Neuron_Selection.next_command import handed_on, next_command

_HERE = "Neuron_Selection/ObservationTooling"


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} Observations are stored as the network receives them: in the wrappers, with stacked "
        "frames, images transposed, normalised with --vecnormalize; equal ones once. An input's cluster is the seed of "
        "its episode.",
        example=f"python {_HERE}/record_inputs.py --agent_path my_agent \\\n"
        "      --env examples/lava_crossing/environment.py:make_env",
    )
    add_agent_flags(parser, policy="--policy_class")
    add_environment_flags(parser)
    add_acting_flags(parser)
    parser.add_argument("--episodes", type=positive_int, default=20, help="number of episodes")
    parser.add_argument("--seed", type=whole_number, default=0, help="seed of the first episode; the next has seed + 1")
    parser.add_argument(
        "--max_steps",
        type=positive_int,
        default=1000,
        help="an episode that has not ended is stopped after these steps",
    )
    parser.add_argument("--frames", action="store_true", help="keep a rendered picture of each state")
    parser.add_argument("--output_prefix", default="visited_inputs", help="name of the file, without .json")
    parser.add_argument("--output_dir", help="a folder instead of the agent's activation_inputs/")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Run the episodes, save the states, show the summary, name the next command."""
    from Neuron_Selection.ObservationTooling.recording import record_inputs
    from Neuron_Selection.ObservationTooling.recording.lines import has_contrast, remarks, summary_lines
    from Neuron_Selection.PatchingTooling import open_agent

    recorded = record_inputs(
        open_agent(args.agent_path, **agent_options(args)),
        policy=args.acting,
        **{name: getattr(args, name) for name in _REQUEST},
        progress=lambda episodes: console.progress(episodes, total=args.episodes, unit="episode"),
        **environment_options(args),
    )
    path = recorded.files["inputs"]
    if recorded.was_up_to_date:
        console.say(f"{path}: up to date, left as it is")
    for remark in remarks(recorded.summary, max_steps=args.max_steps, policy=args.acting):
        console.say(remark)
    following = _pairs(args, path) if has_contrast(recorded.summary) else _again(args)
    written = [str(file) for file in recorded.files.values()]
    console.result(
        {"summary": recorded.summary, "written": written, "next": following},
        [*summary_lines(recorded.summary), *written],
    )
    if following is not None:
        console.say(f"next: {following}")


_REQUEST = ("episodes", "seed", "max_steps", "frames", "output_prefix", "output_dir", "overwrite")


def _pairs(args: argparse.Namespace, path: Path) -> str:
    is_default = args.output_dir is None and args.output_prefix == "visited_inputs"
    words = [] if is_default else ["--inputs", handed_on(path)]
    return next_command(f"{_HERE}/make_pairs.py", "--agent_path", args.agent_path, *words, loading=args)


def _again(args: argparse.Namespace) -> str | None:
    """The same episodes with another way of acting; None for an agent that acts alike wherever it goes."""
    from Neuron_Selection.ObservationTooling.recording.lines import other_policy

    policy = other_policy(args.acting)
    if policy is None:
        return None
    words = ["--agent_path", args.agent_path, *environment_words(args), "--policy", policy, "--overwrite"]
    for name in ("episodes", "seed", "max_steps", "output_prefix", "output_dir"):
        if getattr(args, name) != build_parser().get_default(name):
            words += [f"--{name}", str(getattr(args, name))]
    words += ["--frames"] if args.frames else []
    return next_command(f"{_HERE}/record_inputs.py", *words, loading=args)


if __name__ == "__main__":
    sys.exit(main())
