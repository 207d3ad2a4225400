"""docs/attribution_guide.md: its commands run as written, and what it says was found is what comes out."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.test_docs import walk

GUIDE = (ROOT / "docs" / "attribution_guide.md").read_text()


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return walk(GUIDE, tmp_path_factory.mktemp("attribution"))


def document(walked: Path, agent: str, name: str) -> Any:
    return json.loads((walked / agent / "patching_results" / f"{name}.json").read_text())


def single_effects(walked: Path, agent: str) -> Counter[tuple[str, str]]:
    """The sums of all neurons' effects by direction and layer."""
    with (walked / agent / "patching_results" / "attribution.csv").open() as file:
        sums: Counter[tuple[str, str]] = Counter()
        for row in csv.DictReader(file):
            sums[row["direction"], row["layer"]] += float(row["effect"])  # type: ignore[assignment]
        return sums


def test_what_is_said_of_attribution_is_what_comes_out(walked: Path) -> None:
    dqn = document(walked, "my_agent", "attribution")["denoising"]
    first = dqn["q_net.1"]["estimates"]
    assert round(first["gradient_at_target"]["spearman"], 2) == 0.99
    assert first["gradient_at_target"]["recall"]["top_10"] == 1.0
    assert first["gradient_at_target"]["recall_of_pairs"]["top_1"] == pytest.approx(0.71)
    assert first["gradient_at_source"]["recall_of_pairs"]["top_1"] == pytest.approx(0.42)
    assert round(first["integrated_gradients"]["spearman"], 2) == 0.96
    miss = first["integrated_gradients"]["worst_miss"]
    assert (miss["neuron"], miss["rank"]) == (71, 1)
    assert miss["estimate"] / miss["effect"] == pytest.approx(0.5, abs=0.05)
    for layers in document(walked, "my_agent", "attribution").values():
        for estimate in layers["q_net.3"]["estimates"].values():
            assert set(estimate["recall"].values()) == {1.0}
        for site in layers.values():
            assert site["path"]["method"] == "exact"
            assert site["path"]["greatest_residual"] < 1e-10
            assert site["path"]["flips_verified"] == 100
    for layers in document(walked, "my_ppo", "attribution").values():
        estimates = layers["mlp_extractor.policy_net.1"]["estimates"]
        assert round(estimates["gradient_at_target"]["spearman"], 3) == 0.999
        assert max(one["sign_errors"] for one in estimates.values()) == 1
        assert layers["mlp_extractor.policy_net.1"]["path"]["flips_verified"] == 50
    sums = {**single_effects(walked, "my_agent"), **single_effects(walked, "my_ppo")}
    shown = {
        ("denoising", "q_net.1"): 1.64, ("noising", "q_net.1"): 0.65,
        ("denoising", "mlp_extractor.policy_net.1"): 0.83, ("noising", "mlp_extractor.policy_net.1"): 0.84,
    }  # fmt: skip
    assert {key: round(sums[key], 2) for key in shown} == shown


def test_what_is_said_of_interactions_is_what_comes_out(walked: Path) -> None:
    dqn = document(walked, "my_agent", "interactions")
    assert max(abs(one["strongest"][0]["interaction"]) for one in dqn.values()) < 0.02
    assert not any(one["groups"] for one in dqn.values())
    pair = document(walked, "my_agent", "two_layers")["denoising"]["strongest"][0]
    assert [pair[key] for key in ("layer", "neuron", "other_layer", "other_neuron")] == ["q_net.1", 80, "q_net.3", 91]
    assert (round(pair["interaction"], 2), pair["kind"]) == (-0.04, "backup")
    ppo = document(walked, "my_ppo", "interactions")
    assert max(abs(one["strongest"][0]["interaction"]) for one in ppo.values()) < 0.004
    assert all(one["shapley"]["method"] == "all subsets" for one in ppo.values())
