"""Interactions: gates with known answers, duplicates, slow derivations, hooks on real networks, invariants."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Neuron_Selection.AnalysisTooling.experiment_statistics import Sampling
from Neuron_Selection.AnalysisTooling.measures.clusters import Clusters, clusters_of
from Neuron_Selection.ExperimentTooling.interactions.direction import DirectionInteractions, Rules, interactions_of
from Neuron_Selection.ExperimentTooling.interactions.naming import (
    ADDITIVE,
    BACKUP,
    JOINT,
    OPPOSING,
    groups_of,
    kinds_of,
)
from Neuron_Selection.ExperimentTooling.interactions.set_effects import Players, set_effects
from Neuron_Selection.ExperimentTooling.interactions.shapley import exact_values, sampled_values
from Neuron_Selection.ExperimentTooling.minimal_sets.explain import contrast_rows, of_rows
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import mixtures_of
from Neuron_Selection.FileFormats.observations import rows_of
from Neuron_Selection.PatchingTooling import OpenedAgent
from Neuron_Selection.PatchingTooling.agent.interventions import replacing
from tests.gates import gate_layers
from tests.made_actors import new_agent, planted_actor, planted_quantiles, samples, save_agent
from tests.made_agents import planted_agent
from tests.slow_attribution import interaction, shapley_values

MAKERS = {
    "q_net.1": planted_agent, "mlp_extractor.policy_net.1": planted_actor, "quantile_net.1": planted_quantiles,
}  # fmt: skip
PLANTED = {"DQN": planted_agent, "planted PPO": planted_actor, "planted QR-DQN": planted_quantiles}
BY_TRUTH = Rules(threshold=0.01, q_threshold=None, permutations=100)
QUICK = Sampling(resamples=99)


def players_of(agent: OpenedAgent, layers: list[str], target: Any, source: Any, neurons: Any = None) -> Players:
    inputs = agent.inputs(target), agent.inputs(source)
    mixtures = [mixtures_of(agent.network, layer, *inputs) for layer in layers]
    rows = contrast_rows(mixtures[0])
    assert len(rows)
    chosen = [np.arange(one.layer.width) for one in mixtures] if neurons is None else neurons
    return Players(mixtures=[of_rows(one, rows) for one in mixtures], neurons=chosen)


def each_alone(players: Players) -> Clusters:
    ids = [str(row) for row in range(len(players.mixtures[0].target))]
    return clusters_of(ids, {}, "input", where="test")


def found_in(players: Players, direction: str = "denoising") -> DirectionInteractions:
    return interactions_of(players, each_alone(players), direction, rules=BY_TRUTH, sampling=QUICK, intervals=QUICK)


def gate_players(folder: Path, name: str, direction: str, layer: str = "q_net.1") -> Players:
    layers = gate_layers(name)
    agent = OpenedAgent(MAKERS[layer](folder / "agent", layers), engine="numpy")
    width = len(layers[0][1])
    corrupted, clean = ({"pair": values} for values in (np.zeros(width), np.ones(width)))
    target, source = (corrupted, clean) if direction == "denoising" else (clean, corrupted)
    return players_of(agent, [layer], target, source)


def worth(players: Players) -> Any:
    """The effect of a set of players, run by hooks or numpy as one patch of the first pair."""

    def value(chosen: tuple[int, ...]) -> float:
        one, patch = players.mixtures[0], {}
        for player in chosen:
            layer, neuron = players.names[player]
            patch[layer] = (*patch.get(layer, ()), neuron)
        if not patch:
            return 0.0
        source = {site.layer.name: site.source[:1] for site in players.mixtures}
        scores = one.network.patched(rows_of(one.observations, slice(0, 1)), replacing(patch, source)).scores[0]
        weights = players.weights[0]
        return float((scores - one.baseline[0]) @ weights / ((one.source_q_values - one.baseline)[0] @ weights))

    return value


# gate to what pairs (0, 1), (0, 2), (1, 2) are: interaction and name, denoising then noising
KNOWN: dict[str, tuple[list[tuple[float, str]], list[tuple[float, str]]]] = {
    "AND2": ([(1, JOINT)], [(-1, JOINT)]),
    "OR2": ([(-1, BACKUP)], [(1, BACKUP)]),
    "SUM3": ([(0, ADDITIVE)] * 3, [(0, ADDITIVE)] * 3),
    "INHIBIT": ([(0, OPPOSING), (0, ADDITIVE), (0, OPPOSING)], [(0, OPPOSING), (0, ADDITIVE), (0, OPPOSING)]),
    "MAJ3": ([(1, JOINT)] * 3, [(1, BACKUP)] * 3),
}


@pytest.mark.parametrize("layer", MAKERS)
@pytest.mark.parametrize("direction", ["denoising", "noising"])
@pytest.mark.parametrize("name", KNOWN)
def test_the_gates_have_their_known_interactions_and_names(
    name: str, direction: str, layer: str, tmp_path: Path
) -> None:
    found = found_in(gate_players(tmp_path, name, direction, layer), direction)
    expected = KNOWN[name][direction == "noising"]
    assert found.interactions == pytest.approx([interaction for interaction, _ in expected], abs=1e-6)
    assert found.kinds.tolist() == [kind for _, kind in expected]
    binds = name in ("AND2", "OR2", "MAJ3")
    assert [group.players for group in found.groups] == ([tuple(range(len(found.effects)))] if binds else [])
    if binds:
        assert found.groups[0].effect == pytest.approx(1.0)
    assert np.isnan(found.intervals).all()  # a single cluster
    assert (found.p == 1).all()


@pytest.mark.parametrize("direction", ["denoising", "noising"])
@pytest.mark.parametrize("name", KNOWN)
def test_the_gates_have_their_known_shapley_values(name: str, direction: str, tmp_path: Path) -> None:
    players = gate_players(tmp_path, name, direction)
    values = exact_values(players, set_effects(players)).values
    by_hand = {
        "AND2": [0.5, 0.5],
        "OR2": [0.5, 0.5],
        "SUM3": [0.5, 0.3, 0.2],
        "MAJ3": [1 / 3] * 3,
        "INHIBIT": [1, -1, 1],
    }
    assert values == pytest.approx(by_hand[name], abs=1e-6)
    assert values == pytest.approx(shapley_values(worth(players), range(len(values))), abs=1e-6)


@pytest.mark.parametrize(("name", "kind", "effect"), [("OR", BACKUP, 1.0), ("SUM", ADDITIVE, 0.5)])
def test_a_duplicate_is_a_backup_where_it_saturates_and_adds_up_where_it_does_not(
    name: str, kind: str, effect: float, tmp_path: Path
) -> None:
    hidden = ([[-1, -1]], [1]) if name == "OR" else ([[0.5, 0.5]], [0])
    out = ([[-1], [0]], [1, 0.55]) if name == "OR" else ([[1], [0]], [0, 0.55])
    layers = [([[1], [1]], [0, 0]), hidden, out]
    agent = OpenedAgent(planted_agent(tmp_path / "agent", layers), engine="numpy")
    found = found_in(players_of(agent, ["q_net.1"], {"pair": np.zeros(1)}, {"pair": np.ones(1)}))
    assert found.effects == pytest.approx([effect, effect])
    assert found.kinds.tolist() == [kind]
    assert found.shapley is not None
    assert found.shapley.values == pytest.approx([0.5, 0.5])


def random_players(
    folder: Path, layers: list[str], *, name: str = "DQN", engine: str = "numpy", **more: Any
) -> Players:
    random = np.random.default_rng(3)
    if name in PLANTED:
        sides = [4, 9, 7, 5, 3]
        weights = [(random.normal(size=(b, a)), random.normal(size=b)) for a, b in itertools.pairwise(sides)]
        agent = OpenedAgent(PLANTED[name](folder / "agent", weights), engine=engine, dtype="float64")
        target, source = (random.normal(size=(20, 4)).astype(np.float32) for _ in range(2))
    else:
        model = new_agent(name)
        agent = OpenedAgent(save_agent(folder / "agent", model), engine=engine, dtype="float64")
        target, source = (samples(model.observation_space, 20, seed=seed) for seed in (3, 4))
    return players_of(agent, layers, target, source, **more)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("DQN", ["q_net.1"]),
        ("DQN", ["q_net.0", "q_net.3"]),
        ("DQN", ["q_net.2"]),
        ("DQN", ["q_net.1", "q_net.5"]),
        ("DQN", ["q_net.0", "q_net.1"]),  # the same neurons twice
        ("DQN", ["q_net.3", "q_net.6"]),
        ("planted PPO", ["mlp_extractor.policy_net.1"]),
        ("TRPO", ["mlp_extractor.policy_net.1", "mlp_extractor.policy_net.3"]),
        ("planted QR-DQN", ["quantile_net.1", "quantile_net.2"]),
        ("planted QR-DQN", ["quantile_net.1", "quantile_net.6"]),
    ],
)
def test_numpy_agrees_with_hooks_on_the_real_network(name: str, layers: list[str], tmp_path: Path) -> None:
    ours, theirs = (
        random_players(tmp_path / engine, layers, name=name, engine=engine) for engine in ("numpy", "torch")
    )
    count = len(ours.names)
    masks = np.random.default_rng(0).random((40, count)) < 0.3
    masks[0] = False
    for row in range(3):
        found, expected = (set_effects(players).changes(row, np.arange(count), masks) for players in (ours, theirs))
        assert np.abs(found - expected).max() < 1e-6
    patched = worth(theirs)
    gap = float((theirs.mixtures[0].source_q_values - theirs.mixtures[0].baseline)[0] @ theirs.weights[0])
    found = set_effects(ours).changes(0, np.arange(count), masks[:5])
    assert found / gap == pytest.approx([patched(tuple(np.flatnonzero(mask))) for mask in masks[:5]], abs=1e-6)


def test_channels_interact_too(tmp_path: Path) -> None:
    layer = "features_extractor.cnn.3"
    players = random_players(tmp_path, [layer], name="QR-DQN, CNN", engine="torch", neurons=[np.arange(4)])
    found = found_in(players)
    value = worth(Players(mixtures=[of_rows(players.mixtures[0], np.array([0]))], neurons=players.neurons))
    one = found_in(Players(mixtures=[of_rows(players.mixtures[0], np.array([0]))], neurons=players.neurons))
    assert one.interactions == pytest.approx(
        [interaction(value, *pair) for pair in itertools.combinations(range(4), 2)]
    )
    assert found.shapley is not None
    assert found.shapley.values.sum() == pytest.approx(found.shapley.total)


@pytest.mark.parametrize("layers", [["q_net.1"], ["q_net.1", "q_net.3"]])
def test_interactions_are_those_of_single_patches(layers: list[str], tmp_path: Path) -> None:
    players = random_players(tmp_path, layers, neurons=[np.array([1, 4, 6])] * len(layers))
    one = Players(mixtures=[of_rows(site, np.array([0])) for site in players.mixtures], neurons=players.neurons)
    found, value = found_in(one), worth(one)
    for place, (first, second) in enumerate(zip(found.first, found.second, strict=True)):
        assert found.interactions[place] == pytest.approx(interaction(value, first, second), abs=1e-9)
    assert found.effects == pytest.approx([value((player,)) for player in range(len(found.effects))], abs=1e-9)


def test_nothing_interacts_at_the_last_activation(tmp_path: Path) -> None:
    for layer in ("q_net.4", "q_net.5"):  # and its units move one by one, so that effects add up before it as well
        found = found_in(random_players(tmp_path / layer, [layer]))
        assert not found.interactions.any()
        assert set(found.kinds) <= {ADDITIVE, OPPOSING}
        assert (found.p == 1).all()
        assert not found.intervals.any()


@pytest.mark.parametrize("layers", [["q_net.1"], ["q_net.1", "q_net.3"]])
def test_shapley_values_sum_to_the_total_and_orders_agree_with_subsets(layers: list[str], tmp_path: Path) -> None:
    players = random_players(tmp_path, layers)
    effects = set_effects(players)
    exact, sampled = exact_values(players, effects), sampled_values(players, effects, permutations=400, seed=0)
    assert exact.errors is None
    assert sampled.errors is not None
    assert exact.values.sum() == pytest.approx(exact.total, abs=1e-9)
    assert sampled.values.sum() == pytest.approx(sampled.total, abs=1e-9)
    assert exact.total == pytest.approx(sampled.total)
    assert (np.abs(sampled.values - exact.values) <= 5 * sampled.errors + 1e-9).all()
    again = sampled_values(players, effects, permutations=400, seed=0)
    assert np.array_equal(again.values, sampled.values)
    if len(layers) == 1:  # of the whole layer, which is a cut
        whole = (players.mixtures[0].source_q_values - players.mixtures[0].baseline) * players.weights
        assert exact.total == pytest.approx(whole.sum())


def test_shapley_values_are_those_of_all_orders(tmp_path: Path) -> None:
    players = random_players(tmp_path, ["q_net.1"], neurons=[np.array([0, 2, 3, 5, 8])])
    one = Players(mixtures=[of_rows(players.mixtures[0], np.array([0]))], neurons=players.neurons)
    exact = exact_values(one, set_effects(one))
    gap = (one.mixtures[0].source_q_values - one.mixtures[0].baseline)[0] @ one.weights[0]
    assert exact.values / gap == pytest.approx(shapley_values(worth(one), range(5)), abs=1e-9)


def test_neurons_that_act_the_other_way_are_named_alike() -> None:
    for sign in (1.0, -1.0):
        effects = (sign * np.array([0.5, 0.0, 0.3]), sign * np.array([0.5, 0.0, -0.3]))
        kinds = kinds_of(
            "denoising", effects, sign * np.array([-0.5, 0.4, 0.1]), threshold=0.01, is_tested=np.ones(3, bool)
        )
        assert kinds.tolist() == [BACKUP, JOINT, OPPOSING]


def test_an_interaction_below_the_threshold_or_above_the_q_is_additive() -> None:
    effects = np.full(3, 0.5), np.full(3, 0.5)
    kinds = kinds_of(
        "noising", effects, np.array([-0.5, -0.009, -0.5]), threshold=0.01, is_tested=np.array([True, True, False])
    )
    assert kinds.tolist() == [JOINT, ADDITIVE, ADDITIVE]


def test_groups_are_connected_by_strong_pairs_only() -> None:
    first, second = np.array([0, 1, 3, 4]), np.array([1, 2, 4, 5])
    effects = np.zeros(4), np.zeros(4)
    interactions, kinds = np.array([0.5, 0.5, 0.5, 0.5]), np.array([JOINT, BACKUP, JOINT, ADDITIVE], dtype=object)
    assert groups_of(first, second, effects, interactions, kinds, count=6) == [(0, 1, 2), (3, 4)]
    weak = np.full(4, 2.0), np.zeros(4)
    assert groups_of(first, second, weak, interactions, kinds, count=6) == []


def test_clusters_decide_intervals_and_p_values(tmp_path: Path) -> None:
    players = random_players(tmp_path, ["q_net.1"])
    count = len(players.mixtures[0].target)
    ids = [str(row) for row in range(count)]
    of_two = clusters_of(ids, {one: str(place % 2) for place, one in enumerate(ids)}, "file", where="test")
    alone, by_two = (
        interactions_of(players, clusters, "denoising", rules=BY_TRUTH, sampling=QUICK, intervals=QUICK)
        for clusters in (each_alone(players), of_two)
    )
    assert np.allclose(alone.interactions, by_two.interactions, atol=1e-12)
    assert alone.p.min() < 0.5 <= by_two.p.min()
    low, high = alone.intervals
    assert (low <= alone.interactions + 1e-9).mean() > 0.9
    assert (high >= alone.interactions - 1e-9).mean() > 0.9
    assert (alone.q >= alone.p).all()
