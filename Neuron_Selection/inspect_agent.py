"""Show the content of an agent's zip without running it: algorithm, spaces, layers, weights, pickled names."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if __package__ != "Neuron_Selection":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_loading_flags,
    add_shared_flags,
    agent_options,
    script,
)
from Neuron_Selection.errors import InputError, SuiteError, shown
from Neuron_Selection.next_command import next_command

_LINE_LIMIT = 2_000  # characters of one value from a file


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(description=__doc__, example="python Neuron_Selection/inspect_agent.py my_agent")
    parser.add_argument("agent_path", metavar="AGENT", help="agent folder (with agent.zip), or a zip")
    add_loading_flags(parser)
    add_shared_flags(parser, writes=False)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """List the content, load the agent if possible, print."""
    from Neuron_Selection.FileFormats.agent_zip.agent_folder import find_agent
    from Neuron_Selection.FileFormats.agent_zip.agent_zip import parse_agent_zip, read_agent_bytes
    from Neuron_Selection.FileFormats.agent_zip.inventory import take_inventory
    from Neuron_Selection.PatchingTooling import PatchingExperiment
    from Neuron_Selection.PatchingTooling.agent_description import (
        describe_inventory,
        describe_network,
        describe_normalizer,
        describe_zip,
    )

    found = find_agent(args.agent_path)
    path, folder = found.zip_path, found.folder
    data = read_agent_bytes(path)
    inventory = take_inventory(path, data)
    document: dict[str, Any] = {"agent": str(path), **describe_inventory(inventory)}
    try:
        document |= describe_zip(parse_agent_zip(data, path))
        experiment = PatchingExperiment(path, **agent_options(args))
        if experiment.agent_zip.sha256 != inventory.sha256:
            raise InputError(path, problem="the file changed while it was read")
        document |= describe_network(experiment) | describe_normalizer(experiment)
    except SuiteError as error:
        document["loads"] = str(error).partition(f"{path.name}: ")[2] or str(error)
    console.result(document, _lines(document))
    if document["loads"] is True:
        console.say(f"next: {_next_command(args, folder)}")


def _next_command(args: argparse.Namespace, folder: Path) -> str:
    """To extract activations, or first to record inputs, where the folder has none."""
    if any((folder / "activation_inputs").glob("*_inputs.json")):
        return next_command("activation_extraction.py", "--agent_path", args.agent_path, loading=args)
    script = "Neuron_Selection/ObservationTooling/record_inputs.py"
    return next_command(script, "--agent_path", args.agent_path, "--env", "ENV", loading=args)


def _lines(document: dict[str, Any]) -> list[str]:
    lines = [f"agent: {_text(document['agent'])} ({document['size']:,} bytes, sha256 {document['sha256']})"]
    if document["loads"] is not True:
        lines.append(f"does not load: {_text(document['loads'])}")
    facts = (
        *("algorithm", "scores", "sb3_version", "observation_space", "action_space", "weights_sha256"),
        "custom_classes",
    )
    lines += [f"{key.replace('_', ' ')}: {_text(document[key])}" for key in facts if document.get(key)]
    lines += [f"{name}: {_text(value)}" for name, value in document.get("policy", {}).items()]
    if "vecnormalize" in document:
        lines.append(f"vecnormalize: {_text(_of_normalizer(document['vecnormalize']))}")
    if "layers" in document:
        lines += ["", f"{'layer':<36}{'neurons':>8}  {'kind':<14}role"]
        lines += [
            f"{_text(name):<36}{layer['neurons']:>8}  {_text(layer['kind']):<14}{layer['role']}"
            for name, layer in document["layers"].items()
        ]
        lines += [f"{_text(name):<36}{'-':>8}  {_text(reason)}" for name, reason in document["left_out"].items()]
    else:
        lines += [
            "",
            "tensors stored:",
            *(f"  {_text(name)} {shape}" for name, shape in document["tensors"].items()),
        ]
    lines += ["", "pickled names (read, not run):"]
    lines += [f"  {_text(place)}: {', '.join(map(_text, names))}" for place, names in document["pickled_names"].items()]
    lines += [f"  {_text(place)}: not readable: {_text(reason)}" for place, reason in document["unread"].items()]
    return lines


def _of_normalizer(described: dict[str, Any]) -> str:
    """The statistics of VecNormalize in one line."""
    used = "used" if described["used"] else "not used (inputs are taken as normalised; --vecnormalize uses it)"
    if "problem" in described:
        return f"{described['file']}, not readable: {described['problem']}"
    keys = "all observations" if described["keys"] is None else f"the keys {', '.join(described['keys'])}"
    scope = f"normalises {keys}" if described["norm_obs"] else "leaves observations unchanged (norm_obs is false)"
    return f"{described['file']}, {used}; {scope}, epsilon {described['epsilon']:g}, clip {described['clip_obs']:g}"


def _text(value: object) -> str:
    """Text from a file with control characters escaped, which could move the cursor and forge lines."""
    return shown(str(value), limit=_LINE_LIMIT, quoted=False)


if __name__ == "__main__":
    sys.exit(main())
