"""Estimate each neuron's effect by gradients (attribution patching), with the error of the estimate."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

if __package__ != "Neuron_Selection.ExperimentTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_input_ids_flag,
    add_plot_flag,
    add_shared_flags,
    agent_options,
    positive_int,
    script,
)
from Neuron_Selection.ExperimentTooling.pair_flags import add_direction_flag, add_pair_flags, pair_words
from Neuron_Selection.next_command import next_command


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} Gradients at both ends and integrated along the path from target to source, exactly "
        "where only ReLU follows; each neuron is also patched alone, and the estimates are compared with that.",
        example="python Neuron_Selection/ExperimentTooling/attribute_neurons.py --agent_path my_agent \\\n"
        "      --direction denoising",
    )
    add_agent_flags(parser)
    add_pair_flags(parser)
    parser.add_argument(
        "--layers",
        nargs="+",
        metavar="LAYER",
        help="layers to attribute to, each by itself (default: the activation after every hidden Linear and "
        "convolution)",
    )
    add_direction_flag(parser)
    parser.add_argument(
        "--steps",
        type=positive_int,
        default=64,
        metavar="N",
        help="points on the path of each pair, where another activation function than ReLU follows, or torch runs",
    )
    add_input_ids_flag(parser, of="pairs")
    parser.add_argument("--output_prefix", default="attribution", help="name of the result files")
    parser.add_argument("--output_dir", help="a folder instead of the agent's patching_results/")
    add_plot_flag(parser, of="estimates against effects")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Attribute, save, show, name the next command."""
    from Neuron_Selection.DrawingTooling.plot_files import check_plot, save_plot
    from Neuron_Selection.ExperimentTooling.attribution import attribute_neurons
    from Neuron_Selection.ExperimentTooling.attribution.lines import attribution_lines, remarks
    from Neuron_Selection.ExperimentTooling.attribution.pictures import draw_estimates
    from Neuron_Selection.ExperimentTooling.hidden_layers import layers_left_out
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments
    from Neuron_Selection.FileFormats.results.attribution_file import ATTRIBUTION_FILES, load_attribution
    from Neuron_Selection.PatchingTooling import open_agent

    check_plot(args.plot)
    agent = open_agent(args.agent_path, **agent_options(args))
    for name, why in layers_left_out(agent).items() if args.layers is None else ():
        console.say(f"left out: {name} ({why})")

    def progress(sites: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        for place, (direction, layer) in enumerate(console.progress(sites, total=len(sites), unit="layer"), start=1):
            if agent.engine == "torch" and not sys.stderr.isatty():  # minutes, if there are many pairs
                console.say(f"{direction}, {layer}: layer {place} of {len(sites)}")
            yield direction, layer

    request = {name: getattr(args, name) for name in _REQUEST}
    found = attribute_neurons(agent, **request, input_ids=ids_from_arguments(args.input_ids), progress=progress)
    if found.was_up_to_date:
        console.say(f"{found.path}: up to date, left as it is")
    written = {kind: str(path) for kind, path in ATTRIBUTION_FILES.paths(found.path).items()}
    written |= save_plot(args.plot, lambda: draw_estimates(load_attribution(found.path)), overwrite=args.overwrite)
    has_contrast = any(site["contrast_pairs"] for layers in found.document.values() for site in layers.values())
    following = _next_command(args) if has_contrast else None
    parts = ("path", "estimates")
    summary = {
        direction: {layer: {part: site[part] for part in parts} for layer, site in layers.items()}
        for direction, layers in found.document.items()
    }
    lines = [*attribution_lines(found.document), *remarks(found.document), f"engine {agent.engine}, {agent.dtype}"]
    console.result(
        {**written, "engine": agent.engine, "dtype": agent.dtype, "summary": summary, "next": following},
        [*lines, *written.values()],
    )
    if following is not None:
        console.say(f"next: {following}")


_REQUEST = (
    "clean", "corrupted", "layers", "direction", "steps", "output_prefix", "output_dir", "overwrite",
)  # fmt: skip


def _next_command(args: argparse.Namespace) -> str:
    return next_command("Neuron_Selection/ExperimentTooling/find_interactions.py", *pair_words(args), loading=args)


if __name__ == "__main__":
    sys.exit(main())
