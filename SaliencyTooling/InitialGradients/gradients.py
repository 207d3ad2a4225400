"""Compute the gradient of every input's greatest Q-value with respect to every weight and bias."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "SaliencyTooling.InitialGradients":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_shared_flags,
    agent_options,
    script,
)
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=__doc__,
        example="python SaliencyTooling/InitialGradients/gradients.py --agent_path my_agent --output_dir gradients",
    )
    add_agent_flags(parser)
    parser.add_argument("--inputs", default=CLEAN, metavar="FILE", help="inputs to differentiate at")
    parser.add_argument("--output_dir", help="where the files go (default: the agent's gradient_analysis/)")
    parser.add_argument(
        "--format",
        choices=("json", "npz", "both"),
        default="json",
        help="weight_gradients.json, .npz (smaller) or both",
    )
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Compute, save, say where."""
    from Neuron_Selection.FileFormats.agent_zip.agent_folder import GRADIENTS, output_folder
    from Neuron_Selection.PatchingTooling.experiment import OpenedAgent
    from SaliencyTooling.gradient_runs import FORMATS, saving_of_npz, write_weight_gradients
    from SaliencyTooling.next_steps import averaging

    opened = OpenedAgent(args.agent_path, **agent_options(args))
    folder = output_folder(args.output_dir, opened.folder.folder / GRADIENTS)
    inputs = opened.inputs(args.inputs)
    paths, written, by = write_weight_gradients(
        opened,
        inputs,
        folder,
        formats=FORMATS[args.format],
        overwrite=args.overwrite,
        progress=lambda items, total: console.progress(items, total=total, unit="input"),
    )
    if not written:
        console.say(f"{paths[0]}: up to date, left as it is")
    sizes = [path.stat().st_size for path in paths]
    console.result(
        {"files": [str(path) for path in paths], "bytes": sizes, "written": written, "gradients_by": by},
        [f"weight gradients (engine {by}): {path} ({size:,} bytes)" for path, size in zip(paths, sizes, strict=True)],
    )
    if args.format == "json":
        console.say(saving_of_npz(opened, len(inputs.ids), paths[0]))
    console.say(f"next: {averaging(args, paths[0], folder)}")


if __name__ == "__main__":
    sys.exit(main())
