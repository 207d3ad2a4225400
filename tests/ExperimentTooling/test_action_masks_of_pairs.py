"""Action masks of a MaskablePPO in attribution, interactions, edges and circuits: the decisions of sb3_contrib."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Neuron_Selection.errors import UsageError
from Neuron_Selection.ExperimentTooling.attribution import attribute_neurons
from Neuron_Selection.ExperimentTooling.circuits import check_circuit
from Neuron_Selection.ExperimentTooling.circuits.masked_runs import circuit_runs
from Neuron_Selection.ExperimentTooling.circuits.measures import without
from Neuron_Selection.ExperimentTooling.contrast_pairs import contrast_pairs
from Neuron_Selection.ExperimentTooling.edges import patch_edges
from Neuron_Selection.ExperimentTooling.edges.paths import strongest_paths
from Neuron_Selection.ExperimentTooling.interactions import find_interactions
from Neuron_Selection.ExperimentTooling.node_chain import chain_of
from Neuron_Selection.FileFormats.directions import TARGETS
from Neuron_Selection.PatchingTooling import OpenedAgent, open_agent
from tests.made_actors import new_agent, samples, save_agent
from tests.raised import raises

COUNT, ACTIONS = 16, 4
LAYER = "mlp_extractor.policy_net.1"
LAYERS = ("mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """An agent folder with pairs whose masks differ between the runs, and the model."""
    model = new_agent("MaskablePPO", n_actions=ACTIONS)
    folder = save_agent(tmp_path_factory.mktemp("masked") / "agent", model)
    (folder / "activation_inputs").mkdir()
    for seed, name in enumerate(("clean", "corrupted")):
        masks = np.random.default_rng(seed).random((COUNT, ACTIONS)) < 0.6
        masks[np.arange(COUNT), (np.arange(COUNT) + seed) % ACTIONS] = True
        observations = samples(model.observation_space, count=COUNT, seed=seed)
        document = {
            input_id: {"input": observation.tolist(), "action_mask": masks[row].tolist()}
            for row, (input_id, observation) in enumerate(observations.items())
        }
        (folder / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(document))
    return folder, model


class Decided:
    """What sb3_contrib chooses in the two runs of one direction, with the target's masks."""

    def __init__(self, agent: OpenedAgent, model: Any, direction: str) -> None:
        target, source = (agent.inputs(f"{run}_inputs.json") for run in TARGETS[direction])
        self.masks, self.target, self.source = target.action_masks, target.observations, source.observations
        assert self.masks is not None
        self.behind, self.ahead = (
            model.predict(inputs.observations, deterministic=True, action_masks=self.masks)[0]
            for inputs in (target, source)
        )
        self.rows = np.flatnonzero(self.ahead != self.behind)

    def margins(self, scores: np.ndarray) -> np.ndarray:
        """Of the contrast pairs; scores are of all pairs."""
        of_rows: np.ndarray = scores[self.rows, self.ahead[self.rows]] - scores[self.rows, self.behind[self.rows]]
        return of_rows


def decided(agent: OpenedAgent, model: Any) -> dict[str, Decided]:
    found = {direction: Decided(agent, model, direction) for direction in TARGETS}
    assert len({len(one.rows) for one in found.values()}) == 2  # the masks make a difference of directions
    return found


def patched(agent: OpenedAgent, one: Decided, neurons: list[int]) -> np.ndarray:
    """The scores with neurons of ``LAYER`` as in the source run."""
    own, other = (agent.network.activations(run, [LAYER])[LAYER] for run in (one.target, one.source))
    own = own.copy()
    own[:, neurons] = other[:, neurons]
    scores: np.ndarray = agent.network.run_on(LAYER, own, one.target)
    return scores


def effect(agent: OpenedAgent, one: Decided, neurons: list[int]) -> float:
    before, after = (one.margins(agent.network.scores(run)) for run in (one.target, one.source))
    return float((one.margins(patched(agent, one, neurons)) - before).sum() / (after - before).sum())


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_attribution_is_of_the_margin_between_allowed_actions(
    engine: str, made: tuple[Path, Any], tmp_path: Path
) -> None:
    folder, model = made
    agent = open_agent(folder, engine=engine)
    run = attribute_neurons(agent, layers=[LAYER], output_dir=str(tmp_path))
    with (tmp_path / "attribution.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for direction, one in decided(agent, model).items():
        site = run.document[direction][LAYER]
        assert site["contrast_pairs"] == len(one.rows)
        effects = [float(row["effect"]) for row in rows if row["direction"] == direction]
        assert effects == pytest.approx([effect(agent, one, [neuron]) for neuron in range(9)], abs=1e-5)
        actions = np.array([pair["action"] for pair in site["pairs"].values()])
        assert (actions != one.behind[one.rows]).all()
        assert one.masks[one.rows, actions].all()  # type: ignore[index]
        assert site["path"]["flips_verified"] == len(one.rows)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_interactions_are_of_the_margin_between_allowed_actions(
    engine: str, made: tuple[Path, Any], tmp_path: Path
) -> None:
    folder, model = made
    agent = open_agent(folder, engine=engine)
    run = find_interactions(agent, all=True, layers=[LAYER], resamples=9, output_dir=str(tmp_path))
    for direction, one in decided(agent, model).items():
        document = run.document[direction]
        assert document["contrast_pairs"] == len(one.rows)
        assert document["shapley"]["total"] == pytest.approx(1, abs=1e-5)
        pair = document["strongest"][0]
        neurons = [pair["neuron"], pair["other_neuron"]]
        parts = [effect(agent, one, chosen) for chosen in (neurons, neurons[:1], neurons[1:])]
        assert pair["interaction"] == pytest.approx(parts[0] - parts[1] - parts[2], abs=1e-5)
        assert pair["interval_low"] <= pair["interval_high"]


def test_edges_flip_allowed_decisions(made: tuple[Path, Any], tmp_path: Path) -> None:
    folder, model = made
    agent = open_agent(folder)
    run = patch_edges(agent, resamples=9, output_dir=str(tmp_path))
    last = chain_of(agent).layers[-2]
    with (tmp_path / "edges.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["from_layer"] == last]
    for direction, one in decided(agent, model).items():
        assert run.document["directions"][direction]["contrast_pairs"] == len(one.rows)
        edges = [row for row in rows if row["direction"] == direction]
        assert sum(float(row["effect"]) for row in edges) == pytest.approx(1)
        baseline = agent.network.scores(one.target)
        own, other = (agent.network.activations(run, [last])[last] for run in (one.target, one.source))
        weights = agent.online_weights["action_net.weight"]
        for row, (sender, action) in zip(edges, itertools.product(range(7), range(ACTIONS)), strict=True):
            scores = baseline.copy()
            scores[:, action] += (other - own)[:, sender] * weights[action, sender]
            assert one.masks is not None
            actions = np.where(one.masks, scores, -np.inf).argmax(axis=1)[one.rows]
            assert int(row["flips"]) == np.count_nonzero(actions != one.behind[one.rows])
            assert int(row["matches_source"]) == np.count_nonzero(actions == one.ahead[one.rows])
            assert int(row["changed_inputs"]) == np.count_nonzero(one.masks[one.rows, action])


def test_paths_flip_allowed_decisions(made: tuple[Path, Any]) -> None:
    """A path through all three links changes one score by what its edges pass on."""
    folder, model = made
    agent = open_agent(folder)
    runs = [agent.inputs(f"{run}_inputs.json") for run in ("clean", "corrupted")]
    chain, flips = chain_of(agent), 0
    for direction, one in decided(agent, model).items():
        pairs = contrast_pairs(agent, *runs, cluster_by="auto", direction=direction)
        own, other = chain.values(one.target[one.rows]), chain.values(one.source[one.rows])  # type: ignore[index]
        weights = [agent.online_weights[f"{name}.weight"] for name in (LAYERS[0], LAYERS[1], "action_net")]
        baseline = agent.network.scores(one.target)[one.rows]
        for path in strongest_paths(chain, pairs, direction, count=40, beam=1000):
            moved = other[0][:, path.nodes[0]]
            for link, (sends, receives) in enumerate(itertools.pairwise(path.nodes)):
                step = weights[link][receives, sends] * (moved - own[link][:, sends])
                if link < 2:
                    moved = np.tanh(np.arctanh(own[link + 1][:, receives]) + step)
            scores = baseline.copy()
            scores[:, path.nodes[-1]] += step
            assert one.masks is not None
            actions = np.where(one.masks[one.rows], scores, -np.inf).argmax(axis=1)
            assert path.flips == np.count_nonzero(actions != one.behind[one.rows])
            flips += path.flips
    assert flips


def test_a_circuit_is_measured_by_the_margin_that_the_clean_masks_allow(made: tuple[Path, Any], tmp_path: Path) -> None:
    folder, model = made
    agent = open_agent(folder)
    one = decided(agent, model)["noising"]
    clean, corrupted = (agent.inputs(f"{run}_inputs.json") for run in ("clean", "corrupted"))
    pairs = contrast_pairs(agent, clean, corrupted, cluster_by="auto")
    runs = circuit_runs(chain_of(agent), pairs, "corrupted")
    for masks, inputs in ((runs.whole, one.target), (without(runs.whole, runs.whole), one.source)):
        assert runs.margins(masks) == pytest.approx(-one.margins(agent.network.scores(inputs)))
    patch_edges(agent, resamples=9, paths=0, random_orders=0, output_dir=str(tmp_path))
    checked = check_circuit(agent, circuit=str(tmp_path / "circuit.json"), output_dir=str(tmp_path))
    assert checked.document["circuit"]["contrast_pairs"] == len(one.rows)
    metadata = json.loads((tmp_path / "circuit_check.json").read_text())["metadata"]
    assert metadata["run"]["action_masks"] is True


def test_without_contrast_among_allowed_actions_there_are_no_edges(made: tuple[Path, Any], tmp_path: Path) -> None:
    folder, model = made
    agent = open_agent(folder)
    for direction, one in decided(agent, model).items():
        same = [str(row) for row in np.flatnonzero(one.ahead == one.behind)]
        raw = [agent.network.scores(run).argmax(axis=1) for run in (one.target, one.source)]
        assert any(raw[0][int(row)] != raw[1][int(row)] for row in same)  # all actions allowed, there would be contrast
        runs = [agent.inputs(f"{run}_inputs.json").selected(same) for run in ("clean", "corrupted")]
        with raises(UsageError, names=[TARGETS[direction][0]]):
            contrast_pairs(agent, *runs, cluster_by="auto", direction=direction)
