"""Sets of neurons that explain a decision, with their certificates; for each pair and for all together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.curves import Faithfulness, faithfulness_of
from Neuron_Selection.AnalysisTooling.measures.decisions import greedy_actions, near_ties
from Neuron_Selection.AnalysisTooling.measures.metrics import margin_parts
from Neuron_Selection.ExperimentTooling.minimal_sets.exact_families import Family, search_family
from Neuron_Selection.ExperimentTooling.minimal_sets.goals import (
    Goal,
    Requirements,
    reached,
    reached_together,
    requirements,
)
from Neuron_Selection.ExperimentTooling.minimal_sets.interval_bounds import (
    Tail,
    could_reach,
    least_size,
    linear_differences,
    tail_of,
)
from Neuron_Selection.ExperimentTooling.minimal_sets.linear_sets import LinearOptimum, smallest_linear_set
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import Mixtures
from Neuron_Selection.ExperimentTooling.minimal_sets.search import (
    FoundSet,
    Key,
    Search,
    run_searches,
    search_minimal_set,
)
from Neuron_Selection.FileFormats.observations import rows_of

Kept: TypeAlias = Callable[[str, Callable[[], Family]], Family]  # of an input's id, or "", and what finds its family

_NUMBERS_AT_ONCE = 1 << 22
_BOUNDED_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What explains one input's decision, or those of all of them (``input_id`` None).

    ``found``: the set that delta debugging ends at; None where even the whole layer fails. ``measures``: the found
    set's. ``near_tie``: its decision is one, or the target's or source's. ``smallest``: the smallest set known, run;
    ``at_least``: no set is smaller than that. ``family``: only with a budget. ``method``: how ``at_least`` was
    established.
    """

    input_id: str | None
    found: FoundSet | None
    measures: Faithfulness | None = None
    near_tie: bool = False
    smallest: tuple[int, ...] | None = None
    at_least: int = 0
    family: Family | None = None
    method: str = "run"

    @property
    def is_smallest(self) -> bool:
        """Whether no smaller set exists than the smallest one known."""
        return self.smallest is not None and len(self.smallest) <= self.at_least


def kept_nowhere(_name: str, find: Callable[[], Family]) -> Family:
    """Each family is searched."""
    return find()


def contrast_rows(mixtures: Mixtures) -> np.ndarray:
    """The inputs whose two runs choose different actions."""
    return np.flatnonzero(greedy_actions(mixtures.baseline) != greedy_actions(mixtures.source_q_values))


def of_rows(mixtures: Mixtures, rows: np.ndarray) -> Mixtures:
    """The mixtures of some of the inputs."""
    return replace(
        mixtures,
        observations=rows_of(mixtures.observations, rows),
        target=mixtures.target[rows],
        source=mixtures.source[rows],
        baseline=mixtures.baseline[rows],
        source_q_values=mixtures.source_q_values[rows],
        masks=None if mixtures.masks is None else mixtures.masks[rows],
    )


def single_effects(mixtures: Mixtures) -> tuple[np.ndarray, np.ndarray]:
    """Each neuron's own effect on each input's margin, (n, width); and the margins' whole difference, (n,)."""
    (n_rows, width), moves = (len(mixtures.target), mixtures.layer.width), mixtures.moves
    moved = np.zeros((n_rows, width))
    rows, neurons = np.nonzero(moves)
    at_once = max(1, _NUMBERS_AT_ONCE // width)
    for start in range(0, len(rows), at_once):
        some, own = rows[start : start + at_once], neurons[start : start + at_once]
        masks = np.zeros((len(some), width), bool)
        masks[np.arange(len(some)), own] = True
        moved[some, own] = _parts(mixtures, some, mixtures.q_values(some, masks))[0]
    everything = np.arange(n_rows)
    return moved, _parts(mixtures, everything, mixtures.source_q_values)[1]


def explain_pairs(
    mixtures: Mixtures, ids: Sequence[str], goal: Goal, *, budget: int = 0, kept: Kept = kept_nowhere
) -> list[Explanation]:
    """A 1-minimal set for each input, the searches side by side; with a budget, the minimal sets and the smallest.

    :param mixtures: of contrast pairs only
    :param budget: how many sets of each input to look at, in the order of their size
    :param kept: gives the family of an input, found now or by an earlier run
    """
    width, effects, moves = mixtures.layer.width, single_effects(mixtures)[0], mixtures.moves
    orders = [np.argsort(effect, kind="stable") for effect in effects]
    orders = [order[move[order]] for order, move in zip(orders, moves, strict=True)]

    def evaluate(wanted: list[tuple[int, np.ndarray]]) -> np.ndarray:
        rows = np.concatenate([np.full(len(masks), row) for row, masks in wanted])
        q_values = mixtures.q_values(rows, np.concatenate([masks for _, masks in wanted]))
        return reached(goal, mixtures.baseline[rows], q_values, mixtures.source_q_values[rows])

    found = run_searches({row: search_minimal_set(order, width) for row, order in enumerate(orders)}, evaluate)
    explained = []
    for row, input_id in enumerate(ids):
        explanation, result = Explanation(input_id=input_id, found=found[row]), found[row]
        tail = tail_of(mixtures, row)
        required = requirements(goal, mixtures.baseline[row], mixtures.source_q_values[row])
        if result is not None:
            explanation = _measured(of_rows(mixtures, np.array([row])), explanation, result)
        if result is not None and tail is not None:
            explanation = _improved(explanation, at_least=least_size(tail, required), method="bound")
            optimum = _linear_optimum(tail, required, budget)
            if optimum is not None:
                neurons = optimum.neurons
                if neurons is not None and not evaluate([(row, _mask(neurons, width))])[0]:
                    neurons = None
                explanation = _improved(explanation, neurons=neurons, at_least=optimum.at_least, method=optimum.method)
        if budget:
            possible = None if tail is None else partial(_possible, tail, required)
            search = search_family(orders[row][::-1], width, budget=budget, possible=possible)
            family = kept(input_id, partial(_searched, search, row, evaluate))
            explanation = _with_family(explanation, family)
        explained.append(explanation)
    return explained


def _linear_optimum(tail: Tail, required: Requirements, budget: int) -> LinearOptimum | None:
    """The smallest set where Q is linear; an integer program only where a budget says that time may be spent."""
    needs_program = required.needs_all and len(required.least) > 1
    if not tail.is_linear or (needs_program and not budget):
        return None
    pushes, start = linear_differences(tail, required)
    return smallest_linear_set(pushes, start, required)


def _possible(tail: Tail, required: Requirements, chosen: np.ndarray, free: np.ndarray) -> np.ndarray:
    parts = [slice(start, start + _BOUNDED_AT_ONCE) for start in range(0, len(chosen), _BOUNDED_AT_ONCE)]
    return np.concatenate([could_reach(tail, required, chosen[part], free[part]) for part in parts])


def explain_together(
    mixtures: Mixtures, goal: Goal, *, share: float = 1.0, budget: int = 0, kept: Kept = kept_nowhere
) -> Explanation:
    """One set for all inputs: ``share`` of them reach the goal with it, or their ratio of sums does for ``recovery``.

    :param mixtures: of contrast pairs only, at least one
    """
    width, n_rows = mixtures.layer.width, len(mixtures.target)
    order = np.argsort(single_effects(mixtures)[0].sum(axis=0), kind="stable")
    order = order[np.asarray(mixtures.moves.any(axis=0))[order]]

    def evaluate(wanted: list[tuple[None, np.ndarray]]) -> np.ndarray:
        masks, answers = wanted[0][1], []
        at_once = max(1, _NUMBERS_AT_ONCE // (n_rows * width))
        for start in range(0, len(masks), at_once):
            part = masks[start : start + at_once]
            rows = np.tile(np.arange(n_rows), len(part))
            patched = mixtures.q_values(rows, np.repeat(part, n_rows, axis=0)).reshape(len(part), n_rows, -1)
            answers.append(reached_together(goal, mixtures.baseline, patched, mixtures.source_q_values, share=share))
        return np.concatenate(answers)

    found = run_searches({None: search_minimal_set(order, width)}, evaluate)[None]
    explanation = Explanation(input_id=None, found=found)
    if found is not None:
        explanation = _measured(mixtures, explanation, found)
    if budget:
        search = search_family(order[::-1], width, budget=budget)
        explanation = _with_family(explanation, kept("", partial(_searched, search, None, evaluate)))
    return explanation


def _searched(
    search: Search[Family], key: Key, evaluate: Callable[[list[tuple[Key, np.ndarray]]], np.ndarray]
) -> Family:
    return run_searches({key: search}, evaluate)[key]


def _parts(mixtures: Mixtures, rows: np.ndarray, patched: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return margin_parts(mixtures.baseline[rows], patched, mixtures.source_q_values[rows])


def _measured(mixtures: Mixtures, explanation: Explanation, found: FoundSet) -> Explanation:
    """With faithfulness, completeness and minimality, ratios of sums over the inputs."""
    neurons, n_rows = list(found.neurons), len(mixtures.target)
    masks = np.repeat(_mask(found.neurons, mixtures.layer.width), 2 + len(neurons), axis=0)
    masks[1] = np.logical_not(masks[0])
    masks[np.arange(len(neurons)) + 2, neurons] = False
    rows = np.tile(np.arange(n_rows), len(masks))
    q_values = mixtures.q_values(rows, np.repeat(masks, n_rows, axis=0))
    moved, whole = (part.reshape(len(masks), n_rows).sum(axis=1) for part in _parts(mixtures, rows, q_values))
    effects = moved / whole
    return replace(
        explanation,
        measures=faithfulness_of(float(effects[0]), float(effects[1]), effects[2:]),
        near_tie=any(near_ties(run).any() for run in (mixtures.baseline, q_values[:n_rows], mixtures.source_q_values)),
        smallest=found.neurons,
        at_least=min(1, len(neurons)),
    )


def _improved(
    explanation: Explanation, *, neurons: tuple[int, ...] | None = None, at_least: int, method: str
) -> Explanation:
    known = explanation.smallest
    if neurons is not None and (known is None or len(neurons) < len(known)):
        explanation = replace(explanation, smallest=neurons)
    if at_least > explanation.at_least:
        explanation = replace(explanation, at_least=at_least, method=method)
    return explanation


def _with_family(explanation: Explanation, family: Family) -> Explanation:
    explanation = replace(explanation, family=family)
    if family.sets:
        return _improved(explanation, neurons=family.sets[0], at_least=len(family.sets[0]), method="enumeration")
    return _improved(explanation, at_least=family.complete_up_to + 1, method="enumeration")


def _mask(neurons: Sequence[int], width: int) -> np.ndarray:
    mask = np.zeros((1, width), bool)
    mask[0, list(neurons)] = True
    return mask
