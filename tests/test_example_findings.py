"""examples/lava_crossing/README.md: the commands of its findings run as written, and every number is what comes out."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.test_docs import walk

README = (ROOT / "examples" / "lava_crossing" / "README.md").read_text()
AHEAD = "row 5, column 3: lava"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The results of both agents."""
    checkout = walk(README, tmp_path_factory.mktemp("findings"))
    return {agent: checkout / "findings" / agent / "patching_results" for agent in ("dqn", "ppo")}


def document(folders: dict[str, Path], agent: str, name: str) -> Any:
    return json.loads((folders[agent] / f"{name}.json").read_text())


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("agent", "share", "effect"), [("dqn", 0.55, 0.039), ("ppo", 0.29, 0.0012)])
def test_what_is_said_of_edges_is_what_comes_out(
    agent: str, share: float, effect: float, folders: dict[str, Path]
) -> None:
    sizes: Counter[str] = Counter()
    for row in table(folders[agent] / "edges.csv"):
        if row["direction"] == "denoising" and row["from_name"]:
            sizes[row["from_name"]] += abs(float(row["effect"]))  # type: ignore[assignment]
    assert round(sizes[AHEAD] / sizes.total(), 2) == share
    path = document(folders, agent, "edges")["directions"]["denoising"]["paths"][0]
    assert path["effect"] == pytest.approx(effect, rel=0.02)
    if agent == "dqn":
        assert (path["name"], path["path"][1:]) == (AHEAD, ["q_net.1:80", "q_net.3:91", "scores:2"])


@pytest.mark.parametrize(
    ("agent", "of_circuit", "edges", "size", "faithfulness"),
    [("dqn", 0.37, 36096, 1691, 0.92), ("ppo", 0.04, 13952, 2844, 0.96)],
)
def test_what_is_said_of_circuits_is_what_comes_out(
    agent: str, of_circuit: float, edges: int, size: int, faithfulness: float, folders: dict[str, Path]
) -> None:
    found = document(folders, agent, "edges")
    assert (round(found["circuit"]["faithfulness"], 2), found["edges"]) == (of_circuit, edges)
    curve = {
        (row["ranking"], int(row["edges"])): float(row["faithfulness"])
        for row in table(folders[agent] / "edges_curve.csv")
    }
    assert round(curve["importance", size], 2) == faithfulness
    assert abs(curve["random", size]) < 0.01
    assert document(folders, agent, "circuit_check")["tests"]["equivalence"]["p"] == 0.001
    if agent == "dqn":
        assert round(document(folders, agent, "mean_check")["measures"]["faithfulness"], 2) == 0.15


def test_what_is_said_of_interactions_is_what_comes_out(folders: dict[str, Path]) -> None:
    sums: Counter[tuple[str, str]] = Counter()
    for agent, layer in (("dqn", "q_net.1"), ("ppo", "mlp_extractor.policy_net.1")):
        for row in table(folders[agent] / "attribution.csv"):
            if row["layer"] == layer:
                sums[agent, row["direction"]] += float(row["effect"])  # type: ignore[assignment]
    shown = {
        ("dqn", "denoising"): 1.64, ("dqn", "noising"): 0.65, ("ppo", "denoising"): 0.83, ("ppo", "noising"): 0.84,
    }  # fmt: skip
    assert {key: round(size, 2) for key, size in sums.items()} == shown
    for agent, most, neurons in (("dqn", 0.02, 32), ("ppo", 0.004, 16)):
        for one in document(folders, agent, "interactions").values():
            assert abs(one["strongest"][0]["interaction"]) < most
            assert (one["groups"], len(one["neurons"])) == ([], neurons)
    pair = document(folders, "dqn", "two_layers")["denoising"]["strongest"][0]
    assert [pair[key] for key in ("layer", "neuron", "other_layer", "other_neuron")] == ["q_net.1", 80, "q_net.3", 91]
    assert (round(pair["interaction"], 2), pair["kind"]) == (-0.04, "backup")


def test_what_is_said_of_attribution_is_what_comes_out(folders: dict[str, Path]) -> None:
    first = document(folders, "dqn", "attribution")["denoising"]["q_net.1"]["estimates"]
    of_ppo = document(folders, "ppo", "attribution")["denoising"]["mlp_extractor.policy_net.1"]["estimates"]
    assert round(first["gradient_at_target"]["spearman"], 2) == 0.99
    assert round(of_ppo["gradient_at_target"]["spearman"], 3) == 0.999
    assert first["gradient_at_target"]["recall"]["top_10"] == 1.0
    assert first["gradient_at_target"]["recall_of_pairs"]["top_1"] == pytest.approx(0.71)
    assert first["gradient_at_source"]["recall_of_pairs"]["top_1"] == pytest.approx(0.42)
    assert round(first["integrated_gradients"]["spearman"], 2) == 0.96
    miss = first["integrated_gradients"]["worst_miss"]
    assert (miss["neuron"], miss["rank"]) == (71, 1)
    assert miss["estimate"] / miss["effect"] == pytest.approx(0.5, abs=0.05)


def test_what_attribution_must_satisfy_holds_on_these_agents(folders: dict[str, Path]) -> None:
    for layers in document(folders, "dqn", "attribution").values():
        for estimate in layers["q_net.3"]["estimates"].values():
            assert set(estimate["recall"].values()) == {1.0}
        for site in layers.values():
            assert site["path"]["method"] == "exact"
            assert site["path"]["greatest_residual"] < 1e-10
            assert site["path"]["flips_verified"] == 100
    for layers in document(folders, "ppo", "attribution").values():
        assert layers["mlp_extractor.policy_net.1"]["path"]["flips_verified"] == 50
