"""Many experiments in one process: patches files, directions, results organised by input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import activation_extraction
import activation_patching
from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.FileFormats.results.patching_results import patching_results_path
from Neuron_Selection.FileFormats.results.results_by_input import file_names, load_by_input
from tests.made_agents import mlp_agent
from tests.raised import DIFFERENT_RUN, Parts, parts, raises, reports

IDS = ["env-v0-1-2,3,0-0001", "env-v0-1-2,3,0_0001", "ENV-v0-1-2,3,0-0001", "a/b", "a_b", "plain", "x" * 400]


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    folder = mlp_agent(tmp_path / "agent")
    (folder / "activation_inputs").mkdir()
    random = np.random.default_rng(0)
    for name in ("clean", "corrupted"):
        inputs = {input_id: {"input": random.normal(size=4).tolist()} for input_id in IDS}
        (folder / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(inputs))
    return folder


def patch(agent: Path, *words: str) -> int:
    return activation_patching.main(["--agent_path", str(agent), "--quiet", *words])


def results(agent: Path, name: str) -> Any:
    return json.loads((agent / "patching_results" / f"{name}.json").read_text())


def test_a_direction_is_the_run_with_stored_activations(agent: Path) -> None:
    assert activation_extraction.main(["--agent_path", str(agent), "--quiet"]) == 0
    spec = ["--patch_spec", "q_net.0:1,2"]
    assert patch(agent, "--direction", "both", *spec, "--output_prefix", "d") == 0
    stored = ["--target_input", "corrupted_inputs.json", "--source_activations", "clean_activations.npz"]
    assert patch(agent, *stored, *spec, "--output_prefix", "s") == 0
    recorded, by_file = results(agent, "d_denoising"), results(agent, "s")
    for input_id in IDS:
        assert {**recorded[input_id], "source": ""} == {**by_file[input_id], "source": ""}
    noising = results(agent, "d_noising")
    assert {record["direction"] for record in noising.values()} == {"noising"}
    assert {record["target"] for record in noising.values()} == {"clean_inputs.json"}


@pytest.mark.parametrize("more", [[], ["--dry_run"]])
def test_source_and_target_are_printed_also_when_quiet(
    more: list[str], agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert patch(agent, "--direction", "both", "--patch_spec", "q_net.0:1", *more) == 0
    out, err = capsys.readouterr()
    clean, corrupted = (agent / "activation_inputs" / f"{name}_inputs.json" for name in ("clean", "corrupted"))
    reported = [line for line in out.splitlines() if ": source " in line]
    assert reported == [
        f"denoising: source {clean}, target {corrupted}", f"noising: source {corrupted}, target {clean}"
    ]  # fmt: skip
    assert err == ""


def test_each_patch_of_a_file_is_an_experiment_with_its_number(agent: Path) -> None:
    patches = [{"q_net.0": [0]}, {"q_net.0": [5, 6], "q_net.2": [1]}, {"q_net.2": "all"}]
    (agent / "patches.json").write_text(json.dumps(patches))
    assert patch(agent, "--direction", "denoising", "--patches_file", "patches.json") == 0
    reported = results(agent, "patching")
    assert list(reported) == ["exp_1_q_net.0", "exp_2_q_net.0_q_net.2", "exp_3_q_net.2"]
    assert [experiment["patch_configuration"] for experiment in reported.values()] == patches
    assert (
        patch(agent, "--direction", "denoising", "--patch_spec", "q_net.0:5,6;q_net.2:1", "--output_prefix", "one") == 0
    )
    assert reported["exp_2_q_net.0_q_net.2"]["results"] == results(agent, "one")


def test_published_definitions_are_read(agent: Path, published_files: Path) -> None:
    words = ["--direction", "denoising", "--patches_file"]
    with reports(UsageError, file="patch 2", found="neuron 10 in q_net.2", expected="0..5"):
        assert patch(agent, *words, str(published_files / "patches_sample.json")) == 2
    with reports(UsageError, file="patch 9", found="neuron 8 in q_net.0", expected="0..7"):
        assert patch(agent, *words, str(published_files / "useful_neurons.json")) == 2


def test_results_by_input_have_the_published_form(agent: Path, published_files: Path) -> None:
    words = ["--direction", "both", "--patch_spec", "q_net.0:1", "q_net.2:all", "--by_input"]
    assert patch(agent, *words) == 0
    published = json.loads((published_files / "agent159_denoising_81102_1_1_1_0006.json").read_text())
    theirs = next(iter(published.values()))
    for direction in ("denoising", "noising"):
        folder = agent / "patching_results" / direction
        found = {}
        for path in folder.glob("*.json"):
            input_id, experiments = load_by_input(path)[0], json.loads(path.read_text())
            found[input_id] = experiments
            assert list(experiments) == ["exp_1_q_net.0", "exp_2_q_net.2"]
            for ours in experiments.values():
                assert set(theirs) <= set(ours)
                assert set(theirs["results"]) <= set(ours["results"])
                assert isinstance(ours["results"]["action_changed"], bool)
                assert ours["input_id"] == input_id
            whole = experiments["exp_2_q_net.2"]["patch_analysis"]
            name = "margin_recovery" if direction == "denoising" else "margin_damage"
            assert whole[name] is None or whole[name] == pytest.approx(1.0)
            assert whole["matches_source"] == 1.0
        assert set(found) == set(IDS)


def test_published_metrics_are_those_of_the_published_record(published_files: Path) -> None:
    from Neuron_Selection.AnalysisTooling.record_analysis import analyse_records

    published = json.loads((published_files / "agent159_denoising_81102_1_1_1_0006.json").read_text())
    keys = {
        "kl_divergence": None, "reverse_kl_divergence": None, "top_logit_delta_magnitude": None,
        "confidence_margin_magnitude": "magnitude", "undirected_saturating_chebyshev": "ratio",
        "reversed_undirected_saturating_chebyshev": "ratio", "reversed_pearson_correlation": "reversed_correlation",
    }  # fmt: skip
    for experiment in published.values():
        (ours,) = analyse_records([experiment["results"]])
        for name, inner in keys.items():
            theirs = experiment["patch_analysis"][name]
            assert ours[name] == pytest.approx(theirs[inner] if inner else theirs, rel=2e-3, abs=2e-9), name


def test_a_whole_layer_is_reported_as_no_finding(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    specs = ["q_net.2:all", "q_net.0:0-7", "q_net.0:0-6", "q_net.0:1;q_net.4:all"]
    by_construction = [True, True, False, True]
    assert patch(agent, "--direction", "denoising", "--patch_spec", *specs) == 0
    meta = json.loads((agent / "patching_results" / "patching.meta.json").read_text())
    assert [reported["must_match"] for reported in meta["summary"]] == by_construction
    lines = capsys.readouterr().out.splitlines()[1 : 1 + len(specs)]
    assert [
        line.endswith("; a whole layer gives the source's decision by construction") for line in lines
    ] == by_construction
    ablated = ["--target_input", "clean_inputs.json", "--ablate", "zero", "--patch_spec", "q_net.2:all"]
    assert patch(agent, *ablated, "--output_prefix", "zero") == 0
    assert "by construction" not in capsys.readouterr().out


def test_file_names_never_collide_whatever_the_ids() -> None:
    names = file_names(IDS)
    assert len({name.casefold() for name in names.values()}) == len(IDS)
    assert names["plain"] == "plain.json"
    assert all(len(name) < 200 and set(name) & set('/\\:*?"<>|,') == set() for name in names.values())
    typical = "MiniGrid-LavaCrossingS11N5-v0-81110-6,4,0-0763"
    assert file_names([typical])[typical] == "MiniGrid_LavaCrossingS11N5_v0_81110_6_4_0_0763.json"


def test_results_by_input_are_left_alone_replaced_or_refused_as_a_whole(agent: Path) -> None:
    words = ["--direction", "denoising", "--by_input", "--patch_spec"]
    folder = agent / "patching_results" / "denoising"
    assert patch(agent, *words, "q_net.0:1") == 0
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert patch(agent, *words, "q_net.0:1") == 0
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    with reports(InputError, file=folder, problem=DIFFERENT_RUN):
        assert patch(agent, *words, "q_net.0:2") == 2
    assert patch(agent, *words, "q_net.0:1", "--overwrite", "--input_ids", "plain") == 0
    assert [path.name for path in folder.iterdir()] == ["plain.json"]
    (folder / "plain.json").write_text("{}")
    with reports(InputError, file=folder, problem=DIFFERENT_RUN):
        assert patch(agent, *words, "q_net.0:1", "--input_ids", "plain") == 2


def test_clean_and_corrupted_of_other_ids_are_refused(agent: Path) -> None:
    other = agent / "activation_inputs" / "other_inputs.json"
    other.write_text(json.dumps({"else": [1, 2, 3, 4]}))
    words = ["--direction", "denoising", "--clean", "other_inputs.json", "--patch_spec", "q_net.0:1"]
    with reports(InputError, file=other, names=[f"'{IDS[0]}'"]):
        assert patch(agent, *words) == 2


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{}", parts(file="patches.json", found="an object", expected="a list of patches, or a circuit")),
        ("[]", parts(file="patches.json", found="an empty list", expected="a list of patches")),
        (
            "[5]",
            parts(file="patches.json", field="entry 1", found="5", expected="an object {layer: [indices] | 'all'}"),
        ),
        (
            '[{"q_net.0": [1]}, {"q_net.0": [-1]}]',
            parts(file="patches.json", field="entry 2: 'q_net.0'", found="-1", expected="a neuron index from 0"),
        ),
        (
            '[{"q_net.0": [true]}]',
            parts(file="patches.json", field="entry 1: 'q_net.0'", found="true", expected="a neuron index from 0"),
        ),
        (
            '[{"q_net.0": []}]',
            parts(
                file="patches.json",
                field="entry 1: 'q_net.0'",
                problem="contains no neurons",
                expected="at least one, or 'all'",
            ),
        ),
        ('[{"q_net.0": [99]}]', parts(file="patch 1", found="neuron 99 in q_net.0", expected="0..7")),
        ('[{"q_net.0": [1]}, {"q_net.0": [1]}]', parts(names=["'q_net.0:1'"])),
    ],
)
def test_bad_patches_files(content: str, error: Parts, agent: Path) -> None:
    (agent / "patches.json").write_text(content)
    with reports(InputError if error.get("file") == "patches.json" else UsageError, **error):
        assert patch(agent, "--direction", "denoising", "--patches_file", "patches.json") == 2
    assert not (agent / "patching_results").exists()


@pytest.mark.parametrize("prefix", ["denoising", "noising", "by_input", "results"])
def test_a_prefix_that_other_results_are_called_is_refused(prefix: str, tmp_path: Path) -> None:
    with raises(UsageError, field="output prefix", problem=f"'{prefix}' is reserved for other results"):
        patching_results_path(tmp_path, prefix)
