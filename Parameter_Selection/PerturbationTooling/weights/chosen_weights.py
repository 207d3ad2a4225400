"""The weights that a command line names: a candidates file, a list by hand, or every weight of some layers."""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, SuiteWarning
from Neuron_Selection.FileFormats.agent_zip.agent_folder import GRADIENTS
from Neuron_Selection.FileFormats.provenance import fingerprint_in
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of
from Neuron_Selection.FileFormats.weights.candidate_weights import CANDIDATES_FILE, load_candidate_weights
from Neuron_Selection.PatchingTooling.experiment import OpenedAgent
from Parameter_Selection.PerturbationTooling.weights.targets import (
    WeightTarget,
    all_weights_of,
    check_targets,
    parse_weight_targets,
    targets_of_candidates,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenWeights:
    """``origin``: where they come from, for the metadata. ``paths``: the files that were read."""

    targets: list[WeightTarget]
    origin: dict[str, Any]
    paths: list[Path]


def choose_weights(opened: OpenedAgent, args: argparse.Namespace) -> ChosenWeights:
    """The weights that ``--candidates``, ``--weights`` or ``--all_weights`` name; by default the agent's candidates.

    :raises SuiteError: none, unknown ones, or the candidates of another agent
    """
    if args.weights is not None:
        targets = check_targets(parse_weight_targets(args.weights), opened.online_weights)
        return ChosenWeights(targets=targets, origin={"weights": [str(target) for target in targets]}, paths=[])
    if args.all_weights is not None:
        targets = all_weights_of(args.all_weights, opened.online_weights)
        layers = list(dict.fromkeys(target.parameter for target in targets))
        return ChosenWeights(targets=targets, origin={"all_weights": layers}, paths=[])
    return candidates_of(opened, args.candidates or CANDIDATES_FILE)


def candidates_of(opened: OpenedAgent, name: str) -> ChosenWeights:
    """The targets of a candidates file, a bare name being looked for in the agent's gradient_analysis/ first.

    :raises InputError: not such a file, or one of another agent
    """
    path = opened.folder.find(name, GRADIENTS, hint="extract.py makes it; --weights names weights by hand")
    document = load_candidate_weights(path)
    told = fingerprint_in(document.get("metadata", {}), path)
    if told is None:
        warnings.warn(
            SuiteWarning(f"{path}: does not say which agent it is of; only its indices are checked"), stacklevel=2
        )
    elif told != opened.agent_zip.weights_sha256:
        own = opened.agent_zip.weights_sha256[:12]
        raise InputError(
            path,
            "metadata.run.weights_sha256",
            found=f"candidates of another agent, {told[:12]}",
            expected=f"of this one, {own}",
            hint="run initial_test.py again",
        )
    targets = targets_of_candidates(document, opened.online_weights, where=path)
    origin = {"candidates": {"name": path.name, "sha256": sha256_of(read_bytes(path))}}
    return ChosenWeights(targets=targets, origin=origin, paths=[path])
