"""Average the magnitudes of gradients over inputs, from a weight_gradients file or straight from the agent."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "SaliencyTooling.InitialGradients":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_loading_flags,
    add_shared_flags,
    agent_options,
    script,
)


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=__doc__,
        example="python SaliencyTooling/InitialGradients/average.py --gradients_path gradients/weight_gradients.json",
    )
    parser.add_argument("--gradients_path", metavar="FILE", help="weight_gradients.json or .npz, of gradients.py")
    parser.add_argument(
        "--agent_path", help="agent folder or zip: averages without the large file, and the margin's gradients as well"
    )
    add_loading_flags(parser)
    parser.add_argument("--inputs", metavar="FILE", help="inputs, with --agent_path (default: clean_inputs.json)")
    parser.add_argument(
        "--output_dir", help="where the file goes (default: beside the gradients, or gradient_analysis/)"
    )
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Average, save, say where."""
    from Neuron_Selection.errors import UsageError
    from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, GRADIENTS, output_folder
    from Neuron_Selection.FileFormats.provenance import stored_json_metadata
    from Neuron_Selection.PatchingTooling.experiment import OpenedAgent
    from SaliencyTooling.gradient_runs import write_averages
    from SaliencyTooling.next_steps import agent_told_by, extracting

    if args.gradients_path is None and args.agent_path is None:
        raise UsageError("found neither --gradients_path nor --agent_path, expected one (gradients.py makes the file)")
    if args.inputs is not None and args.agent_path is None:
        raise UsageError("found --inputs without --agent_path, expected both: the gradients hold their inputs already")
    opened = OpenedAgent(args.agent_path, **agent_options(args)) if args.agent_path else None
    gradients_path = Path(args.gradients_path) if args.gradients_path else None
    if gradients_path is not None and opened is not None:
        gradients_path = opened.folder.find(args.gradients_path, GRADIENTS, hint="gradients.py makes it")
    if gradients_path is not None:
        beside = gradients_path.parent
    else:
        beside = opened.folder.folder / GRADIENTS if opened else Path()
    folder = output_folder(args.output_dir, beside)
    path, written = write_averages(
        opened,
        opened.inputs(args.inputs or CLEAN) if opened else None,
        folder,
        gradients_path=gradients_path,
        overwrite=args.overwrite,
    )
    if not written:
        console.say(f"{path}: up to date, left as it is")
    console.result({"file": str(path), "written": written}, [f"average gradients: {path}"])
    agent = agent_told_by(stored_json_metadata(path))
    agent_folder = opened.folder.folder if opened else agent.parent if agent else None
    console.say(f"next: {extracting(args, agent_folder, path)}")


if __name__ == "__main__":
    sys.exit(main())
