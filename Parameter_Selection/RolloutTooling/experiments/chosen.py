"""The experiments of a run, from its flags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb, prod
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.ExperimentTooling.definition_lists import random_sets, single_neurons
from Neuron_Selection.ExperimentTooling.hidden_layers import hidden_layers
from Neuron_Selection.FileFormats.agent_zip.agent_folder import RESULTS
from Neuron_Selection.FileFormats.agent_zip.spaces import describe_space
from Neuron_Selection.FileFormats.definitions import load_definitions
from Neuron_Selection.FileFormats.patch_spec import Neurons, experiment_name, format_patch_spec, patch_configuration
from Neuron_Selection.FileFormats.storage.atomic_files import is_there
from Neuron_Selection.PatchingTooling.ablations import Ablation, parse_ablation
from Neuron_Selection.PatchingTooling.agent.layers import LayerTable
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent, open_agent
from Parameter_Selection.PerturbationTooling.weights.agent_edits import edits_from
from Parameter_Selection.PerturbationTooling.weights.targets import changes_of, choose_weights
from Parameter_Selection.RolloutTooling.experiments.edited_neurons import edited_neurons
from Parameter_Selection.RolloutTooling.experiments.experiment import ABLATED, AGENT, WEIGHTS, Experiment
from Parameter_Selection.RolloutTooling.experiments.named_neurons import READERS, named_neurons
from Parameter_Selection.RolloutTooling.experiments.opening import options_of

ALL = "all"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Changes:
    """What is to be changed, as the flags of ``run_rollouts.py`` name it; each may be left out.

    ``patch_spec``, ``patches_file``, ``neurons`` (specs, each neuron alone; or ``all``) and ``named_by`` (``--from``)
    choose neurons that are ablated by the kind ``ablate``. ``control_sets``: random sets for each size in ``named_by``.
    """

    patch_spec: Sequence[str | Mapping[str, Any]] | None = None
    patches_file: str | None = None
    neurons: Sequence[str] | None = None
    named_by: str | None = None
    ablate: str = "zero"
    steer: Sequence[str] | None = None
    clamp: Sequence[str] | None = None
    weights: str | None = None
    candidates: str | None = None
    mode: str = "scale"
    values: Sequence[float] = (0.0,)
    edits: str | None = None
    against: str | None = None
    control_sets: int = 10


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ChosenExperiments:
    """Experiments; the ablation of those that ablate neurons; the other agent; what decides them; files that were read.

    Names are different from each other.
    """

    experiments: tuple[Experiment, ...]
    ablation: Ablation | None
    against: OpenedAgent | None
    decisive: dict[str, Any]
    paths: tuple[Path, ...] = field(default=())


def choose_experiments(agent: OpenedAgent, changes: Changes, *, seed: int) -> ChosenExperiments:
    """Check every change and list the experiments.

    :param seed: of the random controls
    :raises SuiteError: no change, or one that does not fit the agent
    """
    table, paths = agent.layer_table, []
    patches = [table.resolve(spec) for spec in changes.patch_spec or ()]
    _refuse_twice(map(format_patch_spec, patches))
    if changes.patches_file is not None:
        path = Path(changes.patches_file)
        paths.append(path)
        patches += [table.resolve(patch) for patch in load_definitions(path)]
    patches += _single_neurons(agent, changes.neurons or ())
    ablation = parse_ablation(changes.ablate)
    experiments = [
        _ablated(experiment_name(number, patch), patch, ablation) for number, patch in enumerate(patches, start=1)
    ]
    if changes.named_by is not None:
        hint = None if changes.named_by in READERS else f"--from takes {', '.join(READERS)}"
        path = agent.folder.find(changes.named_by, RESULTS, hint=hint)
        paths.append(path)
        named = [_ablated(name, patch, ablation) for name, patch in named_neurons(agent, path).items()]
        experiments += [*named, *_controls(table, named, ablation, sets=changes.control_sets, seed=seed)]
    for flag in ("steer", "clamp"):
        texts: Sequence[str] = getattr(changes, flag) or ()
        experiments += [edited_neurons(flag, text, table, number=n) for n, text in enumerate(texts, start=1)]
    weights, of_weights = _changed_weights(agent, changes)
    experiments += weights
    against = None
    if changes.against is not None:
        against, other = _other_agent(agent, changes.against)
        paths.append(against.folder.zip_path)
        experiments.append(other)
    if not experiments:
        flags = "--neurons all, --patch_spec, --steer, --clamp, --edits, --weights, --candidates, --against or --from"
        raise UsageError(f"no change of the agent: {flags} names one")
    _refuse_twice(one.name for one in experiments)
    return ChosenExperiments(
        experiments=tuple(experiments),
        ablation=ablation if any(one.kind == ABLATED for one in experiments) else None,
        against=against,
        decisive={
            "experiments": [_decisive(one) for one in experiments],
            "against_sha256": None if against is None else against.agent_zip.sha256,
            **of_weights[1],
        },
        paths=(*paths, *of_weights[0]),
    )


def _ablated(name: str, patch: Mapping[str, Neurons], ablation: Ablation, **more: Any) -> Experiment:
    description = f"{ablation} {format_patch_spec(patch)}"
    return Experiment(name=name, kind=ABLATED, description=description, neurons=patch, **more)


def _single_neurons(agent: OpenedAgent, texts: Sequence[str]) -> list[dict[str, Neurons]]:
    """Every neuron that the specs name, each alone; with ``all`` those of all hidden layers."""
    table, patches = agent.layer_table, []
    for text in texts:
        if text == ALL:
            patches += _hidden_neurons(agent)
            continue
        for layer, neurons in table.resolve(text).items():
            indices = range(table.layers[layer].width) if neurons == "all" else neurons
            patches += [{layer: (neuron,)} for neuron in indices]
    _refuse_twice(map(format_patch_spec, patches))
    return patches


def _hidden_neurons(agent: OpenedAgent) -> list[dict[str, Neurons]]:
    try:
        return single_neurons(agent.layer_table, hidden_layers(agent))
    except UsageError as error:
        hint = f"--neurons {agent.layer_table.output or 'LAYER'}:all ablates the outputs"
        raise UsageError("--neurons all: the network has no hidden layer", hint=hint) from error


def _controls(
    table: LayerTable, named: Sequence[Experiment], ablation: Ablation, *, sets: int, seed: int
) -> list[Experiment]:
    """Random sets of the sizes of the named ones; fewer than ``sets`` where a layer has no more."""
    by_shape: dict[tuple[tuple[str, int], ...], list[Experiment]] = {}
    for one in named:
        if all(neurons != ALL for neurons in one.neurons.values()):
            by_shape.setdefault(tuple((layer, len(n)) for layer, n in one.neurons.items()), []).append(one)
    controls: list[Experiment] = []
    for shape, alike in by_shape.items():
        others = prod(comb(table.layers[layer].width, size) for layer, size in shape) - len(alike)
        count = min(sets, others)
        drawn = random_sets(table, [one.neurons for one in alike], count, seed=seed) if count else []
        names = tuple(one.name for one in alike)
        first = len(controls) + 1
        controls += [
            _ablated(f"control_{n}", patch, ablation, control_of=names) for n, patch in enumerate(drawn, first)
        ]
    return controls


def _changed_weights(
    agent: OpenedAgent, changes: Changes
) -> tuple[list[Experiment], tuple[list[Path], dict[str, Any]]]:
    """Each weight alone by each value, all candidates together, and the edits as one experiment."""
    experiments: list[Experiment] = []
    paths, decisive = [], {}
    if changes.weights is not None or changes.candidates is not None:
        chosen = choose_weights(agent, weights=changes.weights, candidates=changes.candidates)
        paths += chosen.paths
        decisive = {**chosen.origin, "mode": changes.mode, "values": list(changes.values)}
        for value in changes.values:
            made = changes_of(chosen.targets, agent.online_weights, changes.mode, value)
            by = f"{changes.mode} {value:g}"
            for target, change in zip(chosen.targets, made, strict=True):
                name = f"weight_{len(experiments) + 1}"
                described = f"{target} {by}"
                experiments.append(Experiment(name=name, kind=WEIGHTS, description=described, changes=(change,)))
            if len(made) > 1:
                name, described = f"weights_together_{value:g}", f"{len(made)} weights {by}"
                experiments.append(Experiment(name=name, kind=WEIGHTS, description=described, changes=tuple(made)))
    if changes.edits is not None:
        edits = tuple(edits_from(changes.edits, agent))
        if is_there(Path(changes.edits)):
            paths.append(Path(changes.edits))
        described = f"{len(edits)} edited weights" if len(edits) > 1 else _described(edits[0])
        experiments.append(Experiment(name="edits", kind=WEIGHTS, description=described, changes=edits))
    return experiments, (paths, decisive)


def _described(change: Any) -> str:
    return f"{change.parameter}[{change.row},{change.column}]={change.value:g}"


def _other_agent(agent: OpenedAgent, path: str) -> tuple[OpenedAgent, Experiment]:
    """The agent of ``--against``, loaded like the first one, and its experiment."""
    other = open_agent(path, **{**options_of(agent), "engine": "auto", "dtype": None, "allow_nonfinite": False})
    found, expected = (describe_space(one.agent_zip.observation_space) for one in (other, agent))
    if found != expected:
        raise InputError(path, "observation space", found=found, expected=f"{expected}, as the first agent's")
    n_actions, own = other.architecture.n_actions, agent.architecture.n_actions
    if n_actions != own:
        raise InputError(path, "action space", found=f"{n_actions} actions", expected=f"{own}, as the first agent's")
    description = f"agent {Path(path).name} ({other.agent_zip.sha256[:12]})"
    return other, Experiment(name="against", kind=AGENT, description=description)


def _decisive(one: Experiment) -> dict[str, Any]:
    """What decides an experiment, for the metadata."""
    changes = [[change.parameter, change.row, change.column, change.value] for change in one.changes]
    return {
        "name": one.name,
        "description": one.description,
        **({"patch": patch_configuration(one.neurons)} if one.neurons else {}),
        **({"changes": changes} if changes else {}),
    }


def _refuse_twice(names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise UsageError(f"{shown(name)} is given twice")
