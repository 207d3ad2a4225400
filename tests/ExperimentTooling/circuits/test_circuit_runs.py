"""Circuits: runs against hooks node by node, measures by hand, curves, and the tests of Shi et al."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from Neuron_Selection.errors import UsageError
from Neuron_Selection.ExperimentTooling.circuits.hypothesis_tests import (
    _random_circuit,
    equivalence_test,
    independence_test,
    minimality_test,
    p_value,
    random_circuits_test,
)
from Neuron_Selection.ExperimentTooling.circuits.masked_runs import CircuitRuns, circuit_runs
from Neuron_Selection.ExperimentTooling.circuits.measures import (
    connected,
    edges_of,
    faithfulness_of,
    masks_of,
    mean_margin,
    measure_circuit,
    scale_of,
    without,
)
from Neuron_Selection.ExperimentTooling.circuits.strongest import faithfulness_curves, strongest_edges
from Neuron_Selection.ExperimentTooling.contrast_pairs import ContrastPairs, contrast_pairs
from Neuron_Selection.ExperimentTooling.node_chain import chain_of
from Neuron_Selection.PatchingTooling import OpenedAgent, open_agent
from tests.made_actors import new_agent, save_agent
from tests.made_agents import new_dqn, planted_agent, save_dqn
from tests.raised import raises
from tests.slow_edges import circuit_scores

SIDES = [3, 5, 4, 2]
Made = tuple[Any, ContrastPairs]


def made(folder: Path, engine: str = "auto") -> Made:
    """An untrained MLP with 40 pairs in 8 clusters."""
    random = np.random.default_rng(5)
    layers = [(random.normal(size=(b, a)), np.zeros(b)) for a, b in itertools.pairwise(SIDES)]
    agent = open_agent(planted_agent(folder, layers), engine=engine)
    runs = [agent.inputs(random.normal(size=(40, 3)).astype(np.float32)) for _ in range(2)]
    return agent, contrast_pairs(agent, *runs, cluster_by="auto")


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("mlp") / "agent")


def test_one_step_of_masked_weights_is_what_hooks_give_sender_by_sender(tmp_path: Path) -> None:
    for name in ("QR-DQN", "PPO"):
        folder = save_agent(tmp_path / name, new_agent(name))
        observations = {
            run: np.random.default_rng(seed).normal(size=(4, 5)).astype(np.float32)
            for seed, run in enumerate(("clean", "corrupted"))
        }
        for engine in ("numpy", "torch"):
            agent = open_agent(folder, engine=engine)
            scores = {run: agent.q_values(array) for run, array in observations.items()}
            pairs = ContrastPairs(observations=observations, scores=scores, clusters=None, n_given=4)  # type: ignore[arg-type]
            runs = circuit_runs(chain_of(agent), pairs, "corrupted")
            masks = random_masks(runs, 0)
            values = runs.live[0]
            for link, mask in zip(runs.chain.links, masks, strict=True):
                values = runs._by_senders(link, mask, values)
            assert np.abs(runs.scores(masks) - values).max() < 1e-9


def random_masks(runs: CircuitRuns, seed: int, share: float = 0.4) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.random(mask.shape) < share for mask in runs.whole]


@pytest.mark.parametrize("ablation", ["corrupted", "mean", "resample", "zero", "noise=2", "constant=0.5"])
def test_a_circuit_agrees_with_hooks_that_run_it_node_by_node(mlp: Made, ablation: str) -> None:
    agent, pairs = mlp
    chain = chain_of(agent)
    network = OpenedAgent(agent.folder.folder, engine="torch", dtype="float64").torch_network
    runs = circuit_runs(chain, pairs, ablation, seed=1)
    tensors = network.tensors(pairs.observations["clean"], np.arange(pairs.count))
    ablated = {
        name: torch.from_numpy(np.array(values)) for name, values in zip(chain.layers, runs.ablated, strict=False)
    }
    for seed in range(3):
        masks = random_masks(runs, seed)
        expected = circuit_scores(network, tensors, ablated, chain.layers, set(edges_of(masks)))
        assert np.abs(runs.scores(masks) - expected).max() < 1e-6
    assert np.abs(runs.scores(runs.whole) - pairs.scores["clean"]).max() < 1e-12


def test_both_engines_give_a_circuit_the_same_scores(mlp: Made, tmp_path: Path) -> None:
    of_engines = [circuit_runs(chain_of(agent), pairs, "mean") for agent, pairs in (mlp, made(tmp_path / "a", "torch"))]
    assert [runs.chain.network.engine for runs in of_engines] == ["numpy", "torch"]
    for seed in range(3):
        fast, hooked = (runs.scores(random_masks(runs, seed)) for runs in of_engines)
        assert np.abs(fast - hooked).max() < 1e-12


@pytest.mark.parametrize("ablation", ["corrupted", "mean"])
def test_circuits_of_channels_agree_with_hooks(ablation: str, tmp_path: Path) -> None:
    space = spaces.Box(0, 255, (2, 36, 36), np.uint8)
    model = new_dqn(space, policy="CnnPolicy", features_extractor_kwargs={"features_dim": 3}, net_arch=[2])
    agent = open_agent(save_dqn(tmp_path / "agent", model))
    space.seed(1)
    observations = np.stack([space.sample() for _ in range(4)])
    chain, network = chain_of(agent), agent.torch_network
    scores = agent.network.scores(observations)
    pairs = ContrastPairs(
        observations={"clean": observations, "corrupted": observations[::-1].copy()},
        scores={"clean": scores, "corrupted": scores[::-1]}, clusters=None, n_given=4,  # type: ignore[arg-type]
    )  # fmt: skip
    runs = circuit_runs(chain, pairs, ablation)
    random, masks = np.random.default_rng(0), [np.zeros_like(mask) for mask in runs.whole]
    for mask in masks:  # two receivers of each layer
        mask[:, -2:] = random.random((len(mask), 2)) < 0.5
    values = chain.values(observations)[0].astype(np.float64)
    for link, mask, rest in zip(chain.links, masks, runs.ablated, strict=True):
        received = chain.received(link, rest, observations)
        for receiver in np.flatnonzero(mask.any(axis=0)):
            outputs = np.where(mask[:, receiver].reshape(1, -1, *[1] * (rest.ndim - 2)), values, rest)
            received[:, receiver] = chain.received(link, outputs, observations)[:, receiver]
        values = received
    assert np.abs(runs.scores(masks) - values).max() < 1e-9
    assert np.abs(runs.scores(runs.whole) - scores).max() < 1e-9
    assert network.first_names


# x0 + x1 + x2 through one neuron each, weighted 0.5, 0.3, 0.2; scores 0 and -0.5 are compared
SUM3 = [(np.eye(3), np.zeros(3)), (np.eye(3), np.zeros(3)), ([[0.5, 0.3, 0.2], [0, 0, 0]], [0, 0.5])]


@pytest.fixture
def sum3(tmp_path: Path) -> tuple[CircuitRuns, ContrastPairs]:
    agent = open_agent(planted_agent(tmp_path / "agent", SUM3))
    observations = [np.full((6, 3), value, np.float32) for value in (1, 0)]
    pairs = contrast_pairs(agent, *(agent.inputs(one) for one in observations), cluster_by="auto")
    return circuit_runs(chain_of(agent), pairs, "corrupted"), pairs


def chains_of(*units: int) -> list[np.ndarray]:
    """The edges x -> h -> h -> score 0 of some of the three units."""
    return masks_of([(link, unit, unit if link < 2 else 0) for unit in units for link in range(3)], [3, 3, 3, 2])


def test_measures_of_a_sum_are_its_terms(sum3: tuple[CircuitRuns, ContrastPairs]) -> None:
    runs, _ = sum3
    for units, effect in (((0,), 0.5), ((0, 2), 0.7), ((0, 1, 2), 1.0), ((), 0.0)):
        measures = measure_circuit(runs, chains_of(*units), subsets=0)
        assert measures.faithfulness == pytest.approx(effect, abs=1e-6)
        # K empty: what is missing; K the circuit: what the rest does alone
        assert measures.completeness == pytest.approx(1 - effect, abs=1e-6)
        assert measures.minimality == pytest.approx(min([(0.5, 0.3, 0.2)[unit] for unit in units], default=0), abs=1e-6)
    loose = [mask.copy() for mask in chains_of(0, 1, 2)]
    loose[0][0, 1] = True  # an edge of weight 0
    assert measure_circuit(runs, loose).minimality == 0
    assert [mask.sum() for mask in connected(masks_of([(0, 0, 0), (1, 1, 1), (2, 1, 0)], [3, 3, 3, 2]))] == [0, 0, 0]


def test_random_subsets_find_what_the_whole_circuit_hides(tmp_path: Path) -> None:
    """OR: of two alternatives each can be left out, but not both; with K, each edge is seen to be needed."""
    layers = [(np.eye(2), np.zeros(2)), ([[-2, -2]], [1]), ([[-1], [0]], [1, 0.5])]
    agent = open_agent(planted_agent(tmp_path / "agent", layers))
    observations = [np.full((2, 2), value, np.float32) for value in (1, 0)]
    pairs = contrast_pairs(agent, *(agent.inputs(one) for one in observations), cluster_by="auto")
    runs = circuit_runs(chain_of(agent), pairs, "corrupted")
    one_side = masks_of([(0, 0, 0), (1, 0, 0), (2, 0, 0)], [2, 2, 1, 2])
    assert measure_circuit(runs, runs.whole, subsets=0).minimality == 0
    both = masks_of([(0, 0, 0), (0, 1, 1), (1, 0, 0), (1, 1, 0), (2, 0, 0)], [2, 2, 1, 2])
    assert measure_circuit(runs, both, subsets=0).minimality == 0
    assert measure_circuit(runs, both, subsets=40).minimality == pytest.approx(1)
    assert measure_circuit(runs, one_side, subsets=0).faithfulness == pytest.approx(1)
    assert measure_circuit(runs, one_side, subsets=40).completeness == pytest.approx(1)  # the other side does it alone


def test_a_circuit_is_not_complete_if_the_rest_of_the_network_does_the_same(tmp_path: Path) -> None:
    """The second input inhibits the first unit and takes its part: circuit, rest and network all have the margin 1."""
    layers = [(np.eye(2), np.zeros(2)), ([[1, -1], [0, 1]], np.zeros(2)), ([[1, 1], [0, 0]], [0, 0.5])]
    agent = open_agent(planted_agent(tmp_path / "agent", layers))
    observations = [np.full((2, 2), value, np.float32) for value in (1, 0)]
    pairs = contrast_pairs(agent, *(agent.inputs(one) for one in observations), cluster_by="auto")
    runs = circuit_runs(chain_of(agent), pairs, "corrupted")
    measures = measure_circuit(runs, masks_of([(0, 0, 0), (1, 0, 0), (2, 0, 0)], [2, 2, 2, 2]), subsets=0)
    assert (measures.faithfulness, measures.completeness) == pytest.approx((1, 1))


def test_faithfulness_rises_from_0_to_1_over_all_edges_and_better_than_at_random(mlp: Made) -> None:
    agent, pairs = mlp
    runs = circuit_runs(chain_of(agent), pairs, "corrupted")
    importance = [np.abs(np.random.default_rng(0).normal(size=mask.shape)) for mask in runs.whole]
    by_importance, at_random = faithfulness_curves(runs, importance, random_orders=4, seed=0)
    for curve in (by_importance, at_random):
        assert curve.sizes[[0, -1]].tolist() == [0, runs.chain.n_edges]
        assert curve.faithfulness[[0, -1]] == pytest.approx([0, 1], abs=1e-12)
        assert (curve.low <= curve.faithfulness + 1e-12).all()
    size = int(by_importance.sizes[5])
    least = np.sort(np.concatenate([one.ravel() for one in importance]))[-size]
    masks = [one >= least for one in importance]
    assert by_importance.faithfulness[5] == pytest.approx(faithfulness_of(runs, masks, scale_of(runs)))


def test_every_chosen_edge_is_on_a_path_and_a_smaller_circuit_is_part_of_a_larger(mlp: Made) -> None:
    agent, pairs = mlp
    runs = circuit_runs(chain_of(agent), pairs, "corrupted")
    importance = [np.abs(np.random.default_rng(1).normal(size=mask.shape)) for mask in runs.whole]
    smaller: set[Any] = set()
    for count in range(runs.chain.n_edges + 1):
        masks = strongest_edges(importance, count=count, threshold=None)
        edges = set(edges_of(masks))
        assert smaller <= edges
        assert len(edges) <= count
        assert [mask.tolist() for mask in connected(masks)] == [mask.tolist() for mask in masks]
        smaller = edges
    assert len(smaller) == runs.chain.n_edges


def test_a_circuit_that_is_everything_passes_the_tests(sum3: tuple[CircuitRuns, ContrastPairs]) -> None:
    runs, pairs = sum3
    circuit = chains_of(0, 1, 2)
    assert equivalence_test(runs, pairs, circuit, draws=99, seed=0).p == 1
    assert independence_test(runs, pairs, circuit, draws=99, seed=0).p == 1
    edges = minimality_test(runs, circuit, draws=99, seed=0)
    assert edges is not None
    assert edges.p.tolist() == [0.01] * 9
    assert edges.effects[:3] == pytest.approx([0.5, 0.3, 0.2], abs=1e-6)
    assert minimality_test(runs, runs.whole, draws=9, seed=0) is None


def test_a_poor_circuit_fails_the_tests(mlp: Made) -> None:
    agent, pairs = mlp
    runs = circuit_runs(chain_of(agent), pairs, "corrupted")
    nothing = without(runs.whole, runs.whole)
    assert equivalence_test(runs, pairs, nothing, draws=999, seed=0).p == pytest.approx(0.001)
    assert equivalence_test(runs, pairs, nothing, draws=999, seed=0).statistic == 0.5
    assert independence_test(runs, pairs, nothing, draws=999, seed=0).p == pytest.approx(0.001)
    compared = random_circuits_test(runs, nothing, draws=19, seed=0)
    assert compared.sufficiency.p == compared.necessity.p == 1  # random circuits of no edges are the same: all ties


def test_random_circuits_are_at_least_as_large_and_the_best_circuit_beats_them(
    sum3: tuple[CircuitRuns, ContrastPairs],
) -> None:
    runs, _ = sum3
    compared = random_circuits_test(runs, chains_of(0, 1, 2), draws=199, seed=0)
    assert compared.sufficiency.statistic == pytest.approx(0, abs=1e-6)
    assert compared.sufficiency.p < 0.05
    assert compared.necessity.statistic == pytest.approx(1.0, abs=1e-6)


def test_random_circuits_have_as_many_edges_as_asked_all_of_them_on_paths(mlp: Made) -> None:
    agent, pairs = mlp
    runs, random = circuit_runs(chain_of(agent), pairs, "corrupted"), np.random.default_rng(0)
    nodes = [np.arange(width) for width in SIDES]
    for size in (1, 9, 30, runs.chain.n_edges):
        masks = _random_circuit(runs, nodes, size, random)
        assert sum(mask.sum() for mask in masks) >= size
        assert [mask.tolist() for mask in connected(masks)] == [mask.tolist() for mask in masks]


def test_independence_is_that_of_all_permutations_of_the_clusters(mlp: Made) -> None:
    """Five clusters have 120 orders, all of which are used; the criterion as in Gretton et al., by its matrices."""
    agent, pairs = mlp
    of_input = np.arange(pairs.count) % 5
    pairs = replace(pairs, clusters=replace(pairs.clusters, of_input=of_input, count=5))
    runs = circuit_runs(chain_of(agent), pairs, "corrupted")
    circuit = random_masks(runs, 0, share=0.7)
    found = independence_test(runs, pairs, circuit, draws=999, seed=0)
    centre = np.eye(5) - 1 / 5

    def kernel(masks: Any) -> np.ndarray:
        margins = runs.margins(masks)
        means = np.array([margins[of_input == cluster].mean() for cluster in range(5)])
        distances = np.abs(means[:, None] - means)
        return np.asarray(np.exp(-((distances / np.median(distances[distances > 0])) ** 2) / 2))

    left, whole = kernel(without(runs.whole, circuit)), kernel(runs.whole)
    criteria = [
        np.trace(left[np.ix_(order, order)] @ centre @ whole @ centre) / 16
        for order in map(list, itertools.permutations(range(5)))
    ]
    assert found.statistic == pytest.approx(criteria[0])
    assert found.p == pytest.approx(np.mean(np.array(criteria) >= criteria[0] - 1e-12))
    assert 0.02 < found.p < 0.98


def test_p_values_count_ties_and_the_observation_itself() -> None:
    assert p_value(1.0, np.array([1.0, 1.0 - 1e-12, 0.5, 2.0]), scale=1.0) == 4 / 5
    assert p_value(3.0, np.array([1.0, 2.0]), scale=1.0) == 1 / 3


def test_an_unknown_ablation_and_too_few_pairs_are_refused(mlp: Made, tmp_path: Path) -> None:
    agent, pairs = mlp
    with raises(UsageError, field="ablation", found="'ablated'", expected=...):
        circuit_runs(chain_of(agent), pairs, "ablated")
    agent = open_agent(planted_agent(tmp_path / "agent", SUM3))
    one = [agent.inputs(np.full((1, 3), value, np.float32)) for value in (1, 0)]
    with raises(UsageError, flags=["--ablate"], names=["--ablate resample", "2 inputs", "1"]):
        circuit_runs(chain_of(agent), contrast_pairs(agent, *one, cluster_by="auto"), "resample")


def test_the_mean_margin_is_that_of_the_definition(mlp: Made) -> None:
    agent, pairs = mlp
    runs = circuit_runs(chain_of(agent), pairs, "corrupted")
    clean, corrupted = pairs.scores["clean"], pairs.scores["corrupted"]
    margins = [row[row.argmax()] - row[other.argmax()] for row, other in zip(clean, corrupted, strict=True)]
    assert mean_margin(runs, runs.whole) == pytest.approx(np.mean(margins))
    assert scale_of(runs)[1] > 0
