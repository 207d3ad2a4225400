"""Patched edges: hooks on the real network, sums over edges, networks with known edges, paths."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from Neuron_Selection.errors import UsageError
from Neuron_Selection.ExperimentTooling.circuits.hypothesis_tests import minimality_test, random_circuits_test
from Neuron_Selection.ExperimentTooling.circuits.masked_runs import circuit_runs
from Neuron_Selection.ExperimentTooling.circuits.measures import edges_of, masks_of
from Neuron_Selection.ExperimentTooling.circuits.strongest import strongest_edges
from Neuron_Selection.ExperimentTooling.contrast_pairs import ContrastPairs, contrast_pairs
from Neuron_Selection.ExperimentTooling.edges.effects import direction_effects, importance_of, margin_of, target_run
from Neuron_Selection.ExperimentTooling.edges.patching import patch_sender
from Neuron_Selection.ExperimentTooling.edges.paths import strongest_paths
from Neuron_Selection.ExperimentTooling.node_chain import INPUTS, SCORES, NodeChain, chain_of
from Neuron_Selection.FileFormats.directions import TARGETS
from Neuron_Selection.PatchingTooling import OpenedAgent, open_agent
from Neuron_Selection.PatchingTooling.agent.interventions import replacing
from tests.made_actors import new_agent, planted_actor, planted_quantiles, samples, save_agent
from tests.made_agents import new_dqn, planted_agent
from tests.raised import raises
from tests.slow_edges import edge_scores

Made = tuple[OpenedAgent, NodeChain, ContrastPairs]
AGENTS = ("DQN", "PPO", "QR-DQN", "PPO, Dict of one", "PPO, no hidden layers", "DQN, CNN")


def new(name: str) -> Any:
    if name == "DQN":
        return new_dqn(spaces.Box(-1, 1, (5,), np.float32), net_arch=[9, 7])
    if name == "DQN, CNN":
        space = spaces.Box(0, 255, (2, 36, 36), np.uint8)
        kwargs = {"features_extractor_kwargs": {"features_dim": 5}, "net_arch": [4]}
        return new_dqn(space, policy="CnnPolicy", **kwargs)
    return new_agent(name)


def balanced(model: Any) -> Any:
    """The model with scores whose means over some observations are 0, so that it does not always act alike."""
    network = getattr(model.policy, "q_net", None) or getattr(model.policy, "quantile_net", None) or model.policy
    last = getattr(network, "action_net", None) or [one for one in network.modules() if isinstance(one, nn.Linear)][-1]
    outputs: list[torch.Tensor] = []
    hook = last.register_forward_hook(lambda _module, _arguments, output: outputs.append(output))
    for observation in samples(model.observation_space, 30).values():
        model.predict(observation, deterministic=True)
    hook.remove()
    with torch.no_grad():
        last.bias -= torch.cat(outputs).mean(dim=0)
    return model


@pytest.fixture(scope="module", params=AGENTS)
def made(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, OpenedAgent]:
    """An agent with its pairs, and the same agent on the torch engine."""
    folder = save_agent(tmp_path_factory.mktemp("made") / "agent", balanced(new(request.param)))
    hooked = OpenedAgent(folder, engine="torch", dtype="float64")
    return with_pairs(folder, hooked), hooked


def with_pairs(folder: Path, hooked: OpenedAgent) -> Made:
    space = hooked.torch_network.policy.observation_space
    agent = open_agent(folder)
    n_pairs = 30 if agent.engine == "numpy" else 6
    runs = [agent.inputs(samples(space, n_pairs, seed)) for seed in (3, 4)]
    pairs = contrast_pairs(agent, *runs, cluster_by="auto")
    return agent, chain_of(agent), pairs


def test_every_link_agrees_with_hooks_on_the_real_network(made: tuple[Made, OpenedAgent]) -> None:
    (agent, chain, pairs), hooked = made
    random, network = np.random.default_rng(0), hooked.torch_network
    assert (agent.engine == "torch") == (chain.inputs == INPUTS)
    for target, source in TARGETS.values():
        tensors = [network.tensors(pairs.observations[run], np.arange(pairs.count)) for run in (target, source)]
        of_source = chain.values(pairs.observations[source])
        run = target_run(chain, pairs, target)
        if isinstance(tensors[0], dict):  # the slow derivation patches one array
            continue
        for link in chain.links:
            n_senders, n_receivers = chain.widths[link.number : link.number + 2]
            for sender in random.integers(n_senders, size=4):
                values = of_source[link.number][:, sender]
                part = patch_sender(chain, link, run, int(sender), rows=np.arange(pairs.count), values=values)
                for receiver in random.integers(n_receivers, size=3):
                    ends = (link.sends, int(sender)), (link.receives, int(receiver))
                    found = part.scores[part.receivers == receiver]
                    scores = found[0] if len(found) else run.scores
                    assert np.abs(scores - edge_scores(network, *tensors, *ends)).max() < 1e-6


def test_the_edges_into_the_scores_sum_to_the_effect_of_their_neuron(made: tuple[Made, OpenedAgent]) -> None:
    (agent, chain, pairs), _ = made
    for direction, (target, source) in TARGETS.items():
        (into_scores,) = direction_effects(chain, pairs, direction, chain.links[-1:], resamples=9, seed=0)
        assert into_scores.link.receives == SCORES
        assert into_scores.effect.sum() == pytest.approx(1.0, abs=1e-9)
        if into_scores.link.sends == chain.inputs:
            continue
        values = agent.network.activations(pairs.observations[source], [into_scores.link.sends])
        ahead, behind = (pairs.scores[run].argmax(axis=1) for run in (source, target))
        before, after = (margin_of(pairs.scores[run], ahead, behind) for run in (target, source))
        patches = [replacing({into_scores.link.sends: (unit,)}, values) for unit in range(len(into_scores.effect))]
        scores = agent.network.patched_many(pairs.observations[target], patches)
        nodes = (margin_of(scores, ahead, behind) - before).sum(axis=1) / (after - before).sum()
        assert np.abs(into_scores.effect.sum(axis=1) - nodes).max() < 1e-9


# u feeds v1 and v2 alike, which add and subtract it; x1 alone makes the contrast of 2
CANCEL = [
    ([[1, 0], [0, 1]], [0, 0]),
    ([[1, 0], [1, 0], [0, 1]], [0, 0, 0]),
    ([[2, -2, 2], [0, 0, 0]], [-1, 0]),
]
PAIR = ({"a": [1.0, 1.0]}, {"a": [0.0, 0.0]})


@pytest.mark.parametrize("planted", [planted_agent, planted_actor, planted_quantiles])
def test_of_edges_that_cancel_the_node_has_no_effect_and_the_edges_one_each(planted: Any, tmp_path: Path) -> None:
    agent = open_agent(planted(tmp_path / "agent", CANCEL))
    pairs = contrast_pairs(agent, *(agent.inputs(run) for run in PAIR), cluster_by="auto")
    for direction in TARGETS:
        _, middle, last = direction_effects(
            chain_of(agent), pairs, direction, chain_of(agent).links, resamples=9, seed=0
        )
        assert middle.effect[0].tolist() == pytest.approx([1.0, -1.0, 0.0], abs=1e-12)
        assert middle.effect[1].tolist() == pytest.approx([0.0, 0.0, 1.0], abs=1e-12)
        assert last.effect[:, 0].tolist() == pytest.approx([1.0, -1.0, 1.0], abs=1e-12)
        assert middle.changed[0].tolist() == [1, 1, 0]


def planted_circuit(folder: Path, n_distractors: int = 100) -> tuple[Path, set[tuple[int, int, int]]]:
    """Two AND gates over three inputs, which alone decide, among distractors in both hidden layers; and their edges."""
    random = np.random.default_rng(1)
    first = np.concatenate([np.eye(3, 6), random.normal(size=(n_distractors, 6))])
    second = 0.001 * random.normal(size=(2 + n_distractors, 3 + n_distractors))
    second[:2, :3] = [[2, 2, 0], [0, 2, 2]]
    last = 0.001 * random.normal(size=(2, 2 + n_distractors))
    last[:, :2] = [[3, 0], [0, 3]]
    order = [random.permutation(3 + n_distractors), random.permutation(2 + n_distractors)]
    places = [np.argsort(one) for one in order]
    layers = [
        (first[order[0]], np.zeros(3 + n_distractors)),
        (second[order[1]][:, order[0]], np.where(order[1] < 2, -3.0, 0.0)),
        (last[:, order[1]], [0.1, 0.0]),
    ]
    edges = {(0, unit, int(places[0][unit])) for unit in range(3)}
    edges |= {(1, int(places[0][u]), int(places[1][v])) for u, v in ((0, 0), (1, 0), (1, 1), (2, 1))}
    edges |= {(2, int(places[1][unit]), unit) for unit in range(2)}
    return planted_agent(folder, layers), edges


def test_a_circuit_among_two_hundred_distractors_is_recovered_exactly_as_edges(tmp_path: Path) -> None:
    folder, planted = planted_circuit(tmp_path / "agent")
    agent, random = open_agent(folder), np.random.default_rng(2)
    rest = random.normal(size=(2, 20, 3))
    clean = np.concatenate([np.tile([1.0, 1, 0], (20, 1)), rest[0]], axis=1).astype(np.float32)
    corrupted = np.concatenate([np.tile([0.0, 1, 1], (20, 1)), rest[1]], axis=1).astype(np.float32)
    pairs = contrast_pairs(agent, agent.inputs(clean), agent.inputs(corrupted), cluster_by="auto")
    chain = chain_of(agent)
    effects = [direction_effects(chain, pairs, one, chain.links, resamples=9, seed=0) for one in TARGETS]
    importance = importance_of(effects)
    # input 1 does not differ between the runs, so that its edges cannot have an effect
    can_matter = {(link, u, v) for link, u, v in planted if (link, u) != (0, 1)}
    can_matter -= {(1, v, w) for link, u, v in planted if (link, u) == (0, 1) for _, _, w in planted}
    by_count = edges_of(strongest_edges(importance, count=len(can_matter), threshold=None))
    by_threshold = edges_of(strongest_edges(importance, count=None, threshold=0.05))
    assert set(by_count) == set(by_threshold) == can_matter
    runs = circuit_runs(chain, pairs, "corrupted")
    masks = masks_of(by_count, chain.widths)
    assert runs.margins(masks) == pytest.approx(runs.margins(runs.whole), abs=0.1)
    compared = random_circuits_test(runs, masks, draws=99, seed=0)
    assert compared.sufficiency.p == compared.necessity.p == 0.01
    tested = minimality_test(runs, masks, draws=99, seed=0)
    assert tested is not None
    assert tested.p.tolist() == [0.01] * len(by_count)


def test_a_path_is_what_a_circuit_of_its_edges_does_and_the_strongest_are_found(tmp_path: Path) -> None:
    random, sides = np.random.default_rng(5), [3, 4, 5, 2]
    layers = [(random.normal(size=(b, a)), np.zeros(b)) for a, b in itertools.pairwise(sides)]
    agent = open_agent(planted_agent(tmp_path / "agent", layers))
    runs = [agent.inputs(random.normal(size=(40, 3)).astype(np.float32)) for _ in range(2)]
    pairs, chain = contrast_pairs(agent, *runs, cluster_by="auto"), chain_of(agent)
    circuits = circuit_runs(chain, pairs, "corrupted")
    gap = float((circuits.margins(circuits.whole) - circuits.margins(masks_of([], sides))).sum())
    effects = {}
    for nodes in itertools.product(*map(range, sides)):
        edges = [(link, *ends) for link, ends in enumerate(itertools.pairwise(nodes))]
        change = circuits.margins(masks_of(edges, sides)) - circuits.margins(masks_of([], sides))
        effects[nodes] = float(change.sum()) / gap
    found = strongest_paths(chain, pairs, "denoising", count=10, beam=1000)
    assert [abs(path.effect) for path in found] == pytest.approx(
        sorted(map(abs, effects.values()), reverse=True)[:10], abs=1e-12
    )
    assert all(path.effect == pytest.approx(effects[path.nodes], abs=1e-12) for path in found)


def test_the_chain_of_a_network_with_branches_begins_after_them(tmp_path: Path) -> None:
    agent = open_agent(save_agent(tmp_path / "agent", new_agent("A2C, Dict")))
    chain = chain_of(agent)
    assert (chain.inputs, chain.hidden) == ("", ("mlp_extractor.policy_net.1",))
    space = spaces.Dict({"image": spaces.Box(0, 255, (1, 36, 36), np.uint8), "state": spaces.Discrete(3)})
    model = new_dqn(space, policy="MultiInputPolicy", net_arch=[4])
    chain = chain_of(open_agent(save_agent(tmp_path / "image", model)))
    assert (chain.inputs, chain.hidden, chain.widths) == ("", ("q_net.1",), (4, 3))
    assert len(chain.left_out) == 4  # three convolutions and the Linear behind them


def test_clusters_change_intervals_and_q_but_no_effect_and_importance_is_of_sizes(tmp_path: Path) -> None:
    random, sides = np.random.default_rng(5), [3, 4, 2]
    layers = [(random.normal(size=(b, a)), np.zeros(b)) for a, b in itertools.pairwise(sides)]
    agent = open_agent(planted_agent(tmp_path / "agent", layers))
    runs = [agent.inputs(random.normal(size=(40, 3)).astype(np.float32)) for _ in range(2)]
    chain = chain_of(agent)
    named = replace(runs[0], clusters={input_id: str(int(input_id) % 7) for input_id in runs[0].ids})
    alone, in_clusters = (
        direction_effects(
            chain,
            contrast_pairs(agent, clean, runs[1], cluster_by="auto"),
            "noising",
            chain.links,
            resamples=99,
            seed=0,
        )
        for clean in (runs[0], named)
    )
    for one, other in zip(alone, in_clusters, strict=True):
        assert np.allclose(one.effect, other.effect, atol=1e-12)
        assert not np.allclose(one.low, other.low, atol=1e-12)
        assert (np.nan_to_num(other.q, nan=1.0) >= 2 / 2**7).all()
    opposite = [replace(one, effect=-one.effect) for one in alone]
    for importance, one in zip(importance_of([alone, opposite]), alone, strict=True):
        assert np.allclose(importance, np.abs(one.effect), atol=0)


def test_pairs_without_contrast_are_refused(tmp_path: Path) -> None:
    agent = open_agent(planted_agent(tmp_path / "agent", CANCEL))
    with raises(UsageError, names=["none of the 1 pairs"]):
        contrast_pairs(agent, *(agent.inputs(PAIR[0]) for _ in range(2)), cluster_by="auto")


def test_hooks_are_removed_and_outputs_given_a_layers_own_outputs_are_those_of_the_run(
    made: tuple[Made, OpenedAgent],
) -> None:
    (agent, chain, pairs), hooked = made
    observations = pairs.observations["clean"]
    layers = [name for name in chain.layers if name not in (INPUTS, SCORES)]
    for network in (agent.network, hooked.network):
        own = network.activations(observations, layers)
        for before, after in itertools.pairwise(layers):
            assert np.array_equal(network.outputs_given(after, before, own[before], observations), own[after])
    assert not any(module._forward_hooks for module in hooked.torch_network.module.modules())
    assert torch.is_grad_enabled()
