"""Ablations: the values of each kind, invariants, and what is recorded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import activation_patching
from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.PatchingTooling import PatchingExperiment
from Neuron_Selection.PatchingTooling.ablations import KINDS, AblationKind, Number, parse_ablation
from tests.made_agents import mlp_agent
from tests.raised import DIFFERENT_RUN, Parts, parts, raises, reports


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> PatchingExperiment:
    return PatchingExperiment(mlp_agent(tmp_path_factory.mktemp("mlp")))


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


def outputs(results: dict) -> list:
    return [record["patched_output"] for record in results.values()]


def test_zero_before_the_relu_is_zero_behind_it_and_mean_is_not(mlp: PatchingExperiment) -> None:
    def ablated(layer: str, kind: str) -> list:
        return outputs(mlp.run_ablation_experiment(rows(9), {layer: [1, 3]}, kind))

    assert ablated("q_net.0", "zero") == ablated("q_net.1", "zero")
    assert ablated("q_net.0", "mean") != ablated("q_net.1", "mean")
    assert ablated("q_net.0", "constant=0") == ablated("q_net.0", "zero")
    assert ablated("q_net.0", "zero") != outputs(mlp.run_ablation_experiment(rows(9), {"q_net.0": [1]}, "zero"))


@pytest.mark.parametrize("kind", ["zero", "mean", "resample", "noise=0.5", "constant=-2"])
def test_each_kind_is_the_same_patch_from_a_source_built_by_hand(kind: str, mlp: PatchingExperiment) -> None:
    target, reference = rows(6), rows(8, seed=1)
    own, others = mlp.activations(target)["q_net.2"], mlp.activations(reference)["q_net.2"]
    random = np.random.default_rng(7)
    if kind == "resample":
        order = random.permutation(6)
        while (order == np.arange(6)).any():
            order = random.permutation(6)
        source = own[order]
    else:
        spread = others.std(axis=0, dtype=np.float64)
        source = {
            "zero": own * 0,
            "mean": np.tile(others.mean(axis=0, dtype=np.float64), (6, 1)),
            "noise=0.5": own + random.standard_normal(own.shape) * 0.5 * spread,
            "constant=-2": np.full_like(own, -2),
        }[kind].astype(np.float32)
    made = kind.partition("=")[0] in ("mean", "noise")
    ablated = mlp.run_ablation_experiment(
        target, "q_net.2:0,4", kind, reference_inputs=reference if made else None, seed=7
    )
    by_hand = mlp.run_patching_experiment(target, {"q_net.2": source}, "q_net.2:0,4")
    assert outputs(ablated) == outputs(by_hand)


def test_the_reference_is_the_target_by_default(mlp: PatchingExperiment) -> None:
    target = rows(6)
    default = mlp.run_ablation_experiment(target, "q_net.0:1", "mean")
    assert outputs(default) == outputs(
        mlp.run_ablation_experiment(target, "q_net.0:1", "mean", reference_inputs=target)
    )
    other = mlp.run_ablation_experiment(target, "q_net.0:1", "mean", reference_inputs=rows(6, seed=1))
    assert outputs(default) != outputs(other)
    assert default.metadata["run"]["source"]["reference"] == {"name": "target"}


@given(count=st.integers(2, 40), seed=st.integers(0, 2**32 - 1))
def test_resample_has_no_fixed_point_and_one_permutation_for_a_set(count: int, seed: int) -> None:
    one = np.arange(count, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    two = np.arange(count, dtype=np.float32)[:, None, None] + np.zeros((2, 2), np.float32)
    own = {"a": one, "b": two}
    source = parse_ablation("resample").values(own, reference={}, seed=seed)
    order = source["a"][:, 0].astype(int)
    assert sorted(order) == list(range(count))
    assert not (order == np.arange(count)).any()
    assert np.array_equal(source["a"], one[order])
    assert np.array_equal(source["b"], two[order])


def test_seeds_decide_and_are_recorded(mlp: PatchingExperiment) -> None:
    for kind in ("resample", "noise"):
        first, again, other = (mlp.run_ablation_experiment(rows(9), "q_net.0:all", kind, seed=s) for s in (1, 1, 2))
        assert outputs(first) == outputs(again)
        assert outputs(first) != outputs(other)
        assert first.metadata["run"]["source"]["seed"] == 1


def test_an_ablation_has_no_source_run(mlp: PatchingExperiment) -> None:
    record = mlp.run_ablation_experiment(rows(2), "q_net.0:all", "noise")["0"]
    assert record["source_action"] is None
    assert record["matches_source"] is None
    assert record["ablation"] == "noise=1"
    assert record["source"] == "ablation noise=1"
    assert record["direction"] is None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("delete", parts(field="ablation", found="'delete'", expected="zero, mean, resample, noise[=K] or constant=V")),
        ("zero=1", parts(field="ablation", found="'zero=1'", expected="zero, mean, resample, noise[=K] or constant=V")),
        (
            "constant",
            parts(field="ablation", found="'constant'", expected="zero, mean, resample, noise[=K] or constant=V"),
        ),
        ("constant=", parts(field="ablation: constant", found="''", expected="a finite number")),
        ("constant=nan", parts(field="ablation: constant", found="'nan'", expected="a finite number")),
        ("constant=1_0", parts(field="ablation: constant", found="'1_0'", expected="a finite number")),
        ("noise=-1", parts(field="ablation: noise", found="'-1'", expected="a finite number from 0")),
        ("", parts(field="ablation", found="''", expected="zero, mean, resample, noise[=K] or constant=V")),
    ],
)
def test_other_kinds_are_refused(text: str, error: Parts) -> None:
    with raises(UsageError, **error):
        parse_ablation(text)


def test_one_input_cannot_be_resampled(mlp: PatchingExperiment) -> None:
    with raises(UsageError, flags=["--ablate"], names=["--ablate resample", "2 inputs", "1"]):
        mlp.run_ablation_experiment(rows(1), "q_net.0:1", "resample")


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (
            ["--ablate", "zero", "--source_activations", "x.npz"],
            parts(flags=["--source_activations", "--ablate"]),
        ),
        ([], parts(flags=["--source_activations", "--ablate"])),
        (
            ["--ablate", "zero", "--reference_inputs", "clean_inputs.json"],
            parts(flags=["--reference_inputs", "--ablate"]),
        ),
        (
            ["--source_activations", "x.npz", "--reference_inputs", "x.json"],
            parts(flags=["--reference_inputs", "--source_activations"]),
        ),
        (["--ablate", "zero", "--seed", "0"], parts(flags=["--seed", "--ablate"])),
        (["--ablate", "constant=1", "--seed", "1"], parts(flags=["--seed", "--ablate"])),
        (["--ablate", "noise=-1"], parts(field="ablation: noise", found="'-1'", expected="a finite number from 0")),
        (["--source_activations", "x.npz", "--seed", "0"], parts(flags=["--seed", "--source_activations"])),
        (["--source_activations", "x.npz", "--clean", "x.json"], parts(flags=["--clean", "--source_activations"])),
        (["--ablate", "zero", "--corrupted", "x.json"], parts(flags=["--corrupted", "--ablate"])),
        (["--ablate", "zero", "--allow_mismatch"], parts(flags=["--allow_mismatch", "--ablate"])),
        (["--ablate", "zero", "--direction", "both"], parts(flags=["--target_input", "--direction"])),
        (["--ablate", "zero", "--seed", "-1"], parts(names=["--seed", "'-1'"])),
    ],
)
def test_flags_that_do_not_go_together(flags: list[str], error: Parts, tmp_path: Path) -> None:
    folder = mlp_agent(tmp_path)
    (folder / "activation_inputs").mkdir()
    (folder / "activation_inputs" / "clean_inputs.json").write_text(json.dumps({"a": [1, 2, 3, 4], "b": [0, 0, 0, 1]}))
    common = ["--agent_path", str(folder), "--target_input", "clean_inputs.json", "--patch_spec", "q_net.0:1"]
    with reports(UsageError, **error):
        assert activation_patching.main([*common, *flags]) == 2
    assert not (folder / "patching_results").exists()


def test_the_script_ablates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = mlp_agent(tmp_path)
    (folder / "activation_inputs").mkdir()
    (folder / "activation_inputs" / "clean_inputs.json").write_text(json.dumps({"a": [1, 2, 3, 4], "b": [0, 0, 0, 1]}))
    flags = ["--agent_path", str(folder), "--target_input", "clean_inputs.json", "--patch_spec", "q_net.0:all"]
    assert activation_patching.main([*flags, "--ablate", "resample", "--seed", "3", "--output_prefix", "out"]) == 0
    reported = capsys.readouterr()
    assert reported.out.startswith("no direction: source ablation resample, target ")
    results = json.loads((folder / "patching_results" / "out.json").read_text())
    assert results["a"]["patched_output"] == results["b"]["baseline_output"]  # two inputs swap everything
    meta = json.loads((folder / "patching_results" / "out.meta.json").read_text())
    assert meta["run"]["source"] == {"ablation": "resample", "reference": None, "seed": 3}


@pytest.mark.parametrize("flag", ["reference_inputs", "seed", "allow_mismatch"])
def test_a_flag_without_effect_next_to_a_direction_is_an_error(flag: str, tmp_path: Path) -> None:
    words = {"reference_inputs": ["x.json"], "seed": ["1"], "allow_mismatch": []}[flag]
    common = ["--agent_path", str(mlp_agent(tmp_path)), "--direction", "both", "--patch_spec", "q_net.0:1"]
    with reports(UsageError, flags=[f"--{flag}", "--direction"]):
        assert activation_patching.main([*common, f"--{flag}", *words]) == 2


@pytest.mark.parametrize(
    ("text", "reported"),
    [("constant=1000001", "constant=1000001"), ("constant=0.1234567", "constant=0.1234567"), ("noise", "noise=1")],
)
def test_an_ablation_is_written_with_every_digit(text: str, reported: str) -> None:
    assert str(parse_ablation(text)) == reported
    assert parse_ablation(reported) == parse_ablation(text)


def test_an_ablation_by_another_constant_is_another_run(tmp_path: Path) -> None:
    folder = mlp_agent(tmp_path)
    (folder / "activation_inputs").mkdir()
    (folder / "activation_inputs" / "clean_inputs.json").write_text(json.dumps({"a": [1, 2, 3, 4]}))
    common = ["--agent_path", str(folder), "--target_input", "clean_inputs.json", "--patch_spec", "q_net.0:1"]
    assert activation_patching.main([*common, "--ablate", "constant=1000000"]) == 0
    with reports(InputError, file="patching.json", problem=DIFFERENT_RUN):
        assert activation_patching.main([*common, "--ablate", "constant=1000001"]) == 2


def test_a_new_kind_is_one_record_in_the_table(
    mlp: PatchingExperiment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Help, errors and results follow from the record."""
    kind = AblationKind(build=lambda own, _r, number, _d: own * number, help="F times it", number=Number(letter="F"))
    monkeypatch.setitem(KINDS, "scaled", kind)
    with pytest.raises(SystemExit):
        activation_patching.main(["--help"])
    assert "scaled=F: F times it" in " ".join(capsys.readouterr().out.split())
    with raises(
        UsageError,
        field="ablation",
        found="'scaled'",
        expected="zero, mean, resample, noise[=K], constant=V or scaled=F",
    ):
        parse_ablation("scaled")
    scaled, zero = (outputs(mlp.run_ablation_experiment(rows(9), "q_net.2:all", of)) for of in ("scaled=0", "zero"))
    assert scaled == zero
    assert outputs(mlp.run_ablation_experiment(rows(9), "q_net.2:all", "scaled=2")) != zero
