"""Minimal sets: against brute force over all subsets, networks with known answers, invariants, failures."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from Neuron_Selection.errors import UsageError
from Neuron_Selection.ExperimentTooling.minimal_sets.exact_families import search_family
from Neuron_Selection.ExperimentTooling.minimal_sets.explain import (
    contrast_rows,
    explain_pairs,
    explain_together,
    of_rows,
    single_effects,
)
from Neuron_Selection.ExperimentTooling.minimal_sets.goals import parse_goal, reached, reached_together, requirements
from Neuron_Selection.ExperimentTooling.minimal_sets.interval_bounds import (
    could_reach,
    least_size,
    linear_differences,
    tail_of,
)
from Neuron_Selection.ExperimentTooling.minimal_sets.linear_sets import smallest_linear_set
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import Mixtures, mixtures_of
from Neuron_Selection.ExperimentTooling.minimal_sets.search import run_searches, search_minimal_set
from Neuron_Selection.PatchingTooling import OpenedAgent, open_agent
from tests.gates import GATES
from tests.interventions import patched
from tests.made_actors import planted_actor, planted_quantiles
from tests.made_agents import mlp_agent, new_dqn, planted_agent, save_dqn
from tests.raised import raises

Sets = set[tuple[int, ...]]
GOALS = ["flip", "matches_source", "recovery=0.6"]


def all_masks(width: int) -> np.ndarray:
    return np.array(list(itertools.product([False, True], repeat=width)))


def minimal_of(does: np.ndarray, masks: np.ndarray) -> Sets:
    """By the definition: the sets that reach the goal and have no proper subset that does."""
    good = [frozenset(map(int, np.flatnonzero(mask))) for mask in masks[does]]
    return {tuple(sorted(one)) for one in good if not any(other < one for other in good)}


def brute_force(mixtures: Mixtures, row: int, goal: Any) -> tuple[np.ndarray, np.ndarray]:
    masks = all_masks(mixtures.layer.width)
    rows = np.full(len(masks), row)
    q_values = mixtures.q_values(rows, masks)
    return masks, reached(goal, mixtures.baseline[rows], q_values, mixtures.source_q_values[rows])


def by_truth(table: Iterable[Any]) -> Any:
    """An evaluation of one search from a set of the sets that do it."""
    good = {frozenset(one) for one in table}

    def evaluate(asked: list[Any]) -> np.ndarray:
        return np.array([frozenset(map(int, np.flatnonzero(mask))) in good for _, masks in asked for mask in masks])

    return evaluate


def random_mixtures(folder: Path, seed: int, *, layer: str, count: int = 8, **more: Any) -> Mixtures:
    """Contrast pairs of a random net of planted weights, large enough that decisions differ."""
    random = np.random.default_rng(seed)
    sides = more.get("sides", [4, 9, 7, 3])
    layers = [(random.normal(size=(b, a)), random.normal(size=b)) for a, b in itertools.pairwise(sides)]
    agent = OpenedAgent(planted_agent(folder, layers), engine=more.get("engine", "numpy"), dtype="float64")
    target, source = (agent.inputs(random.normal(size=(60, sides[0])).astype(np.float32)) for _ in range(2))
    mixtures = mixtures_of(agent.network, layer, target, source)
    rows = contrast_rows(mixtures)[:count]
    assert len(rows) == count, "too few pairs to test with"
    return of_rows(mixtures, rows)


# --- networks with known answers

FAMILIES: dict[str, dict[str, Sets]] = {
    "AND2": {"denoising": {(0, 1)}, "noising": {(0,), (1,)}},
    "OR2": {"denoising": {(0,), (1,)}, "noising": {(0, 1)}},
    "SUM3": {"denoising": {(0, 1), (0, 2)}, "noising": {(0,), (1, 2)}},
    "INHIBIT": {"denoising": {(0,), (2,)}, "noising": {(0,), (2,)}},
    "MAJ3": {"denoising": {(0, 1), (0, 2), (1, 2)}, "noising": {(0, 1), (0, 2), (1, 2)}},
}


MAKERS = {
    "q_net.1": planted_agent,
    "mlp_extractor.policy_net.1": planted_actor,
    "quantile_net.1": planted_quantiles,
}


def gate(folder: Path, name: str, direction: str, layer: str = "q_net.1") -> Mixtures:
    """Hidden h is the layer, 0 corrupted and 1 clean; the scores are (margin, 0.55)."""
    inner, outer, shift = GATES[name]
    width = len(inner[0][0])
    layers = [
        (np.eye(width), np.zeros(width)),
        ([weights for weights, _ in inner], [bias for _, bias in inner]),
        ([outer, [0.0] * len(outer)], [shift, 0.55]),
    ]
    agent = OpenedAgent(MAKERS[layer](folder, layers), engine="numpy")
    clean, corrupted = agent.inputs({"pair": np.ones(width)}), agent.inputs({"pair": np.zeros(width)})
    target, source = (corrupted, clean) if direction == "denoising" else (clean, corrupted)
    return mixtures_of(agent.network, layer, target, source)


@pytest.mark.parametrize("layer", MAKERS)
@pytest.mark.parametrize("direction", ["denoising", "noising"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_gates_have_their_known_minimal_sets(name: str, direction: str, layer: str, tmp_path: Path) -> None:
    mixtures, goal = gate(tmp_path, name, direction, layer), parse_goal("matches_source")
    (explained,) = explain_pairs(mixtures, ["pair"], goal, budget=100)
    masks, does = brute_force(mixtures, 0, goal)
    assert minimal_of(does, masks) == FAMILIES[name][direction]
    assert explained.family is not None
    assert explained.found is not None
    assert explained.family.is_whole
    assert set(explained.family.sets) == FAMILIES[name][direction]
    assert explained.found.neurons in FAMILIES[name][direction]
    assert explained.found.is_minimal
    assert explained.is_smallest
    assert len(explained.smallest or ()) == min(map(len, FAMILIES[name][direction]))


def test_inhibit_is_met_as_not_monotone_and_the_others_are_not(tmp_path: Path) -> None:
    broken = {}
    for name in GATES:
        (explained,) = explain_pairs(gate(tmp_path / name, name, "denoising"), ["pair"], parse_goal("flip"))
        assert explained.found is not None
        broken[name] = explained.found.broken_by
    assert broken == {"AND2": (), "OR2": (), "SUM3": (), "INHIBIT": (1,), "MAJ3": ()}


def test_measures_of_a_sum_are_its_weights(tmp_path: Path) -> None:
    (explained,) = explain_pairs(gate(tmp_path, "SUM3", "denoising"), ["pair"], parse_goal("recovery=0.8"))
    assert explained.found is not None
    assert explained.measures is not None
    assert explained.found.neurons == (0, 1)
    assert explained.measures.faithfulness == pytest.approx(0.8)
    assert explained.measures.completeness == pytest.approx(0.2)
    assert explained.measures.minimality == pytest.approx(0.3)


@pytest.mark.parametrize("run", ["baseline", "source_q_values"])
def test_a_near_tie_of_the_target_or_of_the_source_run_is_reported_as_one_of_the_set(run: str, tmp_path: Path) -> None:
    sure = gate(tmp_path, "SUM3", "denoising")
    ahead = getattr(sure, run)
    tied = np.where(ahead == ahead.max(axis=1, keepdims=True), ahead.min() + 1e-6, ahead)
    for mixtures, expected in ((sure, False), (replace(sure, **{run: tied}), True)):
        (explained,) = explain_pairs(mixtures, ["pair"], parse_goal("flip"))
        assert explained.found is not None
        assert explained.near_tie is expected
        assert explain_together(mixtures, parse_goal("flip")).near_tie is expected


# --- against brute force over all subsets


@pytest.mark.parametrize("goal_text", GOALS)
@pytest.mark.parametrize("layer", ["q_net.0", "q_net.1", "q_net.2", "q_net.3"])
def test_families_and_optimum_are_those_of_brute_force(layer: str, goal_text: str, tmp_path: Path) -> None:
    goal, mixtures = parse_goal(goal_text), random_mixtures(tmp_path, seed=3, layer=layer)
    explained = explain_pairs(mixtures, [str(row) for row in range(len(mixtures.target))], goal, budget=10_000)
    for row, one in enumerate(explained):
        masks, does = brute_force(mixtures, row, goal)
        family = minimal_of(does, masks)
        assert one.family is not None
        assert one.found is not None
        assert one.smallest is not None
        assert set(one.family.sets) == family
        assert one.family.is_whole
        assert one.is_smallest
        assert len(one.smallest) == one.at_least == min(map(len, family))
        assert one.smallest in family
        assert (one.found.neurons in family) == bool(one.found.is_minimal)


@pytest.mark.parametrize("seed", [1, 2])
def test_one_hidden_layer_of_fourteen_is_linear_and_solved_exactly(seed: int, tmp_path: Path) -> None:
    mixtures = random_mixtures(tmp_path, seed, layer="q_net.1", sides=[5, 14, 4], count=5)
    for goal in map(parse_goal, GOALS):
        for row in range(len(mixtures.target)):
            tail = tail_of(mixtures, row)
            assert tail is not None
            assert tail.is_linear
            asked = requirements(goal, mixtures.baseline[row], mixtures.source_q_values[row])
            optimum = smallest_linear_set(*linear_differences(tail, asked), asked)
            masks, does = brute_force(mixtures, row, goal)
            assert optimum is not None
            assert optimum.neurons is not None
            assert optimum.at_least == len(optimum.neurons) == masks[does].sum(axis=1).min()
            assert does[(masks == np.isin(np.arange(14), optimum.neurons)).all(axis=1)]
            several = goal.kind == "matches_source"
            assert optimum.method == ("integer program" if several else "sorting")


@pytest.mark.parametrize("layer", ["features_extractor.flatten", "q_net.1", "q_net.3"])
def test_the_bound_never_shuts_out_a_set_that_reaches_the_goal(layer: str, tmp_path: Path) -> None:
    mixtures, random = random_mixtures(tmp_path, seed=3, layer=layer), np.random.default_rng(0)
    shut_out = 0
    for goal, row in itertools.product(map(parse_goal, GOALS), range(len(mixtures.target))):
        tail = tail_of(mixtures, row)
        assert tail is not None
        asked = requirements(goal, mixtures.baseline[row], mixtures.source_q_values[row])
        masks, does = brute_force(mixtures, row, goal)
        assert least_size(tail, asked) <= masks[does].sum(axis=1).min()
        chosen = random.random((40, masks.shape[1])) < 0.3
        free = (random.random(chosen.shape) < 0.3) & ~chosen
        allowed = could_reach(tail, asked, chosen, free)
        for one, more, is_allowed in zip(chosen, free, allowed, strict=True):
            between = ((masks >= one) & (masks <= (one | more))).all(axis=1)
            assert is_allowed or not does[between].any()
        shut_out += int((~allowed).sum())
    assert shut_out > 50


@pytest.mark.parametrize("goal_text", ["flip", "recovery=0.6"])
def test_where_q_is_linear_the_bound_lets_through_no_branch_in_vain(goal_text: str, tmp_path: Path) -> None:
    mixtures, random = random_mixtures(tmp_path, seed=3, layer="q_net.3"), np.random.default_rng(0)
    for row in range(len(mixtures.target)):
        tail = tail_of(mixtures, row)
        assert tail is not None
        goal = parse_goal(goal_text)
        masks, does = brute_force(mixtures, row, goal)
        chosen = random.random((40, 7)) < 0.3
        free = (random.random(chosen.shape) < 0.5) & ~chosen
        asked = requirements(goal, mixtures.baseline[row], mixtures.source_q_values[row])
        between = [
            does[((masks >= one) & (masks <= (one | more))).all(axis=1)] for one, more in zip(chosen, free, strict=True)
        ]
        assert could_reach(tail, asked, chosen, free).tolist() == [bool(some.any()) for some in between]


# --- invariants of the search


@pytest.mark.parametrize("seed", range(30))
def test_delta_debugging_ends_one_minimal_on_any_function_of_sets(seed: int) -> None:
    random = np.random.default_rng(seed)
    width = int(random.integers(2, 12))
    good = [tuple(np.flatnonzero(mask)) for mask in all_masks(width) if random.random() < 0.3 and mask.any()]
    good.append(tuple(range(width)))
    evaluate = by_truth(good)
    found = run_searches({0: search_minimal_set(random.permutation(width), width)}, evaluate)[0]
    assert found is not None
    sets = {frozenset(map(int, one)) for one in good}
    members = frozenset(found.neurons)
    assert members in sets
    assert not any(members - {one} in sets for one in members)
    subsets = {frozenset(part) for size in range(len(members)) for part in itertools.combinations(members, size)}
    assert found.is_minimal is None or not subsets & sets
    assert set(found.broken_by) == {n for n in range(width) if n not in members and members | {n} not in sets}


@pytest.mark.parametrize("seed", range(10))
def test_sets_too_large_to_run_all_their_subsets_are_one_minimal_too(seed: int) -> None:
    random, width = np.random.default_rng(seed), 24
    needed = random.permutation(width)[:11]
    unlucky = random.integers(1, 2**31)

    def does(mask: np.ndarray) -> bool:
        """All that is needed, unless neurons beyond it spoil it: not monotone."""
        more = int(mask.sum()) - 11
        return bool(mask[needed].all()) and (more in (0, width - 11) or (more * int(unlucky)) % 3 > 0)

    def evaluate(asked: list[Any]) -> np.ndarray:
        return np.array([does(mask) for _, masks in asked for mask in masks])

    found = run_searches({0: search_minimal_set(random.permutation(width), width)}, evaluate)[0]
    assert found is not None
    assert found.is_minimal is None
    mask = np.isin(np.arange(width), found.neurons)
    assert does(mask)
    for one in found.neurons:
        assert not does(mask & (np.arange(width) != one))


def test_a_detour_is_left_for_the_smaller_set_inside_and_reported() -> None:
    evaluate = by_truth([(0, 1, 2, 3), (0, 2)])  # every removal from the whole fails, yet two of them do it
    found = run_searches({0: search_minimal_set(np.array([0, 1, 2, 3]), 4)}, evaluate)[0]
    assert found is not None
    assert (found.neurons, found.has_detour, found.is_minimal) == ((0, 2), True, True)
    assert found.broken_by == (1, 3)


def test_a_layer_that_fails_as_a_whole_gives_no_set() -> None:
    assert run_searches({0: search_minimal_set(np.arange(3), 3)}, by_truth([(0, 1)]))[0] is None


def test_a_goal_that_is_reached_without_any_neuron_is_explained_by_none() -> None:
    evaluate = by_truth([(), (0, 1)])
    found = run_searches({0: search_minimal_set(np.arange(2), 2)}, evaluate)[0]
    family = run_searches({0: search_family(np.arange(2), 2, budget=9)}, evaluate)[0]
    assert found is not None
    assert found.neurons == ()
    assert family.sets == ((),)


def test_the_budget_ends_a_family_after_a_whole_size() -> None:
    evaluate = by_truth([(0, 1, 2)])
    sizes = {}
    for budget in (3, 11, 21, 100):
        family = run_searches({0: search_family(np.arange(5), 5, budget=budget)}, evaluate)[0]
        assert family.looked_at <= budget
        sizes[budget] = (family.complete_up_to, family.is_whole, family.sets)
    assert sizes == {3: (0, False, ()), 11: (1, False, ()), 21: (2, False, ()), 100: (5, True, ((0, 1, 2),))}


def test_searches_side_by_side_find_what_each_finds_alone(tmp_path: Path) -> None:
    mixtures, goal = random_mixtures(tmp_path, seed=3, layer="q_net.1"), parse_goal("flip")
    together = explain_pairs(mixtures, [str(row) for row in range(len(mixtures.target))], goal)
    alone = [
        explain_pairs(of_rows(mixtures, np.array([row])), [str(row)], goal)[0] for row in range(len(mixtures.target))
    ]
    assert together == alone


def test_what_denoising_recovers_with_a_set_noising_damages_with_the_rest_less(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    agent = OpenedAgent(mlp_agent(tmp_path), engine="numpy")
    clean, corrupted = (agent.inputs(random.normal(size=(5, 4)).astype(np.float32)) for _ in range(2))
    denoising = mixtures_of(agent.network, "q_net.1", corrupted, clean)
    noising = mixtures_of(agent.network, "q_net.1", clean, corrupted)
    rows, masks = np.arange(5), random.random((5, 8)) < 0.5
    assert np.array_equal(denoising.q_values(rows, masks), noising.q_values(rows, ~masks))


@pytest.mark.parametrize("layer", ["features_extractor.flatten", "q_net.0", "q_net.1", "q_net.2", "q_net.4"])
def test_mixtures_of_both_engines_are_the_patches_of_the_definition(layer: str, tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    values = random.normal(size=(2, 6, 4)).astype(np.float32)
    folder = mlp_agent(tmp_path)
    answers = {}
    for engine in ("numpy", "torch"):
        agent = OpenedAgent(folder, engine=engine, dtype="float64")
        target, source = agent.inputs(values[0]), agent.inputs(values[1])
        mixtures = mixtures_of(agent.network, layer, target, source)
        rows = np.array([0, 5, 2, 2, 1])
        masks = np.random.default_rng(3).random((5, mixtures.layer.width)) < 0.5
        answers[engine] = mixtures.q_values(rows, masks)
        given = agent.network.activations(source.observations, [layer])
        for row, mask, answer in zip(rows, masks, answers[engine], strict=True):
            patch = {layer: tuple(map(int, np.flatnonzero(mask)))}
            expected, _ = patched(agent.network, target.observations, given, patch)
            assert np.abs(expected[row] - answer).max() < 1e-12
    assert np.abs(answers["numpy"] - answers["torch"]).max() < 1e-12


def test_neurons_that_do_not_differ_have_no_effect_and_are_in_no_set(tmp_path: Path) -> None:
    mixtures = random_mixtures(tmp_path, seed=3, layer="q_net.1")
    still = ~mixtures.moves
    assert still.any()
    assert (single_effects(mixtures)[0][still] == 0).all()
    for row, one in enumerate(explain_pairs(mixtures, [""] * len(still), parse_goal("flip"))):
        assert one.found is not None
        assert not still[row, list(one.found.neurons)].any()


# --- all pairs together


@pytest.mark.parametrize(("goal_text", "share"), [("flip", 1.0), ("matches_source", 0.7), ("recovery=0.5", 1.0)])
def test_one_set_for_all_pairs_is_one_of_brute_force(goal_text: str, share: float, tmp_path: Path) -> None:
    goal, mixtures = parse_goal(goal_text), random_mixtures(tmp_path, seed=3, layer="q_net.1")
    one = explain_together(mixtures, goal, share=share, budget=10_000)
    masks, n = all_masks(9), len(mixtures.target)
    patched = mixtures.q_values(np.tile(np.arange(n), len(masks)), np.repeat(masks, n, axis=0))
    does = reached_together(
        goal, mixtures.baseline, patched.reshape(len(masks), n, -1), mixtures.source_q_values, share=share
    )
    family = minimal_of(does, masks)
    assert one.family is not None
    assert one.found is not None
    assert {frozenset(s) for s in one.family.sets} == {frozenset(s) for s in family}
    assert one.is_smallest
    assert does[(masks == np.isin(np.arange(9), one.found.neurons)).all(axis=1)]
    assert one.found.is_minimal is None or one.found.neurons in family


def test_a_share_of_the_pairs_or_the_ratio_of_sums_is_what_a_set_for_all_must_reach() -> None:
    baseline, source = np.array([[1.0, 0.0]] * 4), np.array([[0.0, 1.0]] * 4)
    patched = np.array([[[0.0, 1.0]] * 3 + [[1.0, 0.0]], [[0.0, 1.0]] * 2 + [[1.0, 0.0]] * 2])
    for text, share, expected in (
        ("flip", 0.75, [True, False]),
        ("flip", 0.8, [False, False]),
        ("matches_source", 0.5, [True, True]),
        ("recovery=0.75", 1.0, [True, False]),
        ("recovery=0.5", 1.0, [True, True]),
    ):
        does = reached_together(parse_goal(text), baseline, patched, source, share=share)
        assert does.tolist() == expected, text


# --- other networks, failures


def test_channels_of_a_convolution_go_through_hooks(tmp_path: Path) -> None:
    space = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    agent = open_agent(save_dqn(tmp_path, new_dqn(space, policy="CnnPolicy")))
    assert (agent.engine, agent.dtype) == ("torch", "float64")
    random = np.random.default_rng(0)
    target, source = (agent.inputs(random.integers(0, 256, (12, 3, 36, 36), dtype=np.uint8)) for _ in range(2))
    mixtures = mixtures_of(agent.network, "features_extractor.cnn.0", target, source)
    goal = parse_goal("recovery=0.5")
    rows = contrast_rows(mixtures)[:1]
    assert len(rows)
    (one,) = explain_pairs(of_rows(mixtures, rows), ["0"], goal)
    assert one.found is not None
    given = {"features_extractor.cnn.0": mixtures.source}
    for left_out in (None, *one.found.neurons):
        patch = {"features_extractor.cnn.0": tuple(n for n in one.found.neurons if n != left_out)}
        if not patch["features_extractor.cnn.0"]:
            continue
        scores, _ = patched(agent.network, target.observations, given, patch)
        does = reached(goal, mixtures.baseline, scores, mixtures.source_q_values)[rows[0]]
        assert does == (left_out is None)


def test_many_images_are_mixed_a_few_megabytes_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = spaces.Box(0, 255, (1, 36, 36), np.uint8)
    agent = open_agent(save_dqn(tmp_path, new_dqn(space, policy="CnnPolicy")))
    target, source = (agent.inputs(np.full((1, 1, 36, 36), value, np.uint8)) for value in (0, 200))
    mixtures = mixtures_of(agent.network, "features_extractor.cnn.1", target, source)
    sizes = []

    def counted(self: Mixtures, rows: np.ndarray, masks: np.ndarray) -> np.ndarray:
        sizes.append(len(rows) * self.target[0].nbytes)
        return np.zeros((len(rows), 3))

    monkeypatch.setattr(Mixtures, "_some_scores", counted)
    mixtures.q_values(np.zeros(500, np.intp), np.zeros((500, 32), bool))
    assert max(sizes) <= 8 << 20


@pytest.mark.parametrize("text", ["", "flips", "recovery", "recovery=0", "recovery=-1", "recovery=nan", "recovery=1_0"])
def test_a_goal_that_is_none_is_refused(text: str) -> None:
    expected = "flip, matches_source or recovery=X with X above 0, as recovery=0.9"
    with raises(UsageError, field="goal", found=repr(text), expected=expected):
        parse_goal(text)


def test_goals_are_written_as_they_are_read() -> None:
    for text in ("flip", "matches_source", "recovery=0.9", "recovery=0.1234567890123"):
        assert str(parse_goal(text)) == text
        assert parse_goal(str(parse_goal(text))) == parse_goal(text)
