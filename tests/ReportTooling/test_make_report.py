"""The page about an agent: its numbers are those of the files, it is one file, and it lists what was not run."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from Neuron_Selection.errors import InputError
from Neuron_Selection.PatchingTooling import open_agent
from ReportTooling.page.numbers import rounded
from ReportTooling.reports import make_report
from ReportTooling.results.steps import STEPS
from tests.conftest import ROOT
from tests.in_process import in_process
from tests.ReportTooling.conftest import EXAMPLE, table_in, text_of, values_in

SECTIONS = [
    "agent", "findings", "pairs", "effects", "neurons", "sizes", "circuit", "weights", "behaviour", "episode", "steps",
    "origin",
]  # fmt: skip


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_numbers_of_neurons_are_those_of_the_files(with_results: Path, html: str) -> None:
    summary = json.loads((with_results / "patching_results" / "cross_metric_summary.json").read_text())
    table = {
        (row["patch"], row["direction"]): row for row in rows_of(with_results / "patching_results" / "results.csv")
    }
    cells = table_in(html, "important-neurons")
    assert len(cells) == len(summary["common_neurons"]) == 3
    for row, neuron in zip(cells, summary["common_neurons"].values(), strict=True):
        ((layer, (index,)),) = neuron["patch"].items()
        assert text_of(row[0]) == f"{layer}:{index}"
        assert values_in(row[1]) == [neuron["final_average_importance"]]
        numbers = [values_in(cell) for cell in row[2:]]
        for place, direction in ((0, "denoising"), (4, "noising")):
            expected = table[f"{layer}:{index}", direction]
            assert numbers[place] == [float(expected["effect"])]
            assert numbers[place + 1] == [float(expected["interval_low"]), float(expected["interval_high"])]
            assert numbers[place + 2 : place + 4] == [[float(expected["q"])], [float(expected["flips"])]]


def test_the_numbers_of_pairs_sets_and_weights_are_those_of_the_files(with_results: Path, html: str) -> None:
    pairs = json.loads((with_results / "activation_inputs" / "pairs.json").read_text())
    actions = json.loads((with_results / "encoding.json").read_text())["actions"]
    cells = table_in(html, "all-pairs")
    assert [text_of(row[0]) for row in cells] == list(pairs)
    for row, pair in zip(cells, pairs.values(), strict=True):
        assert row[1:4] == [
            pair["edit"].replace("_", " "),
            actions[pair["clean_action"]],
            actions[pair["corrupted_action"]],
        ]
        scores = [sorted(pair[f"{run}_q_values"]) for run in ("clean", "corrupted")]
        leads = [greatest - second for *_, second, greatest in scores]
        assert [values_in(cell)[0] for cell in row[4:]] == pytest.approx(leads, abs=3e-6)
    sets = json.loads((with_results / "patching_results" / "minimal_sets.json").read_text())
    sizes = table_in(html, "set-sizes")
    for row, direction in zip(sizes, ("denoising", "noising"), strict=True):
        site = sets[direction]["q_net.3"]
        wanted = [site["summary"][key] for key in ("median_size", "least_size", "greatest_size", "proven_smallest")]
        assert [values_in(cell)[0] for cell in row[3:7]] == wanted
    perturbed = json.loads((with_results / "perturbation_results" / "results.json").read_text())
    for row, one in zip(table_in(html, "against-random"), perturbed["summary"]["controls"]["comparisons"], strict=True):
        wanted = [one["value"], one["candidates"], one["random"], *(one["difference_interval"] or []), one["q"]]
        assert [value for cell in row[1:6] for value in values_in(cell)] == wanted
    flips = json.loads((with_results / "perturbation_results" / "smallest_flips.json").read_text())["results"]
    listed = {text_of(row[0]): values_in(row[3]) for row in table_in(html, "flips")}
    assert listed == {one["target"]: [] if one["smallest"] is None else [one["smallest"]] for one in flips}


def test_the_numbers_of_edges_and_of_behaviour_are_those_of_the_files(with_results: Path, html: str) -> None:
    edges = json.loads((with_results / "patching_results" / "edges.json").read_text())["directions"]
    for direction in ("denoising", "noising"):
        cells = table_in(html, f"edges-{direction}")
        for row, edge in zip(cells, edges[direction]["strongest"][: len(cells)], strict=True):
            assert text_of(row[0]).startswith(edge["from"])
            assert text_of(row[1]) == edge["to"]
            wanted = [[edge["effect"]], [edge["low"], edge["high"]], [edge["q"]], [edge["flips"]]]
            assert [values_in(cell) for cell in row[2:]] == [
                [one for one in part if one is not None] for part in wanted
            ]
    exact = json.loads((with_results / "rollout_results" / "rollouts_exact.json").read_text())
    of = {one["patch"]: one for one in exact["experiments"]}
    rows = table_in(html, "exact")
    assert [values_in(row[2])[0] for row in rows] == sorted(
        one["difference"] for one in of.values() if one["difference"]
    )
    for row in rows:
        one = of[text_of(row[0])]
        keys = ("value", "difference", "states_goal", "states_death", "states_loop", "states_flipped")
        assert [values_in(cell)[0] for cell in row[1:7]] == [one[key] for key in keys]
    sampled = json.loads((with_results / "rollout_results" / "rollouts.json").read_text())
    of = {one["patch"]: one for one in sampled["experiments"]}
    for row in table_in(html, "sampled"):
        one = of[text_of(row[0])]
        wanted = [
            one["return"],
            one["difference"],
            one["difference_low"],
            one["difference_high"],
            one["q"],
            one["success"],
        ]
        assert [value for cell in row[1:6] for value in values_in(cell)] == wanted[: len(wanted)]
    behaviour = re.findall(r'<p class="sentence">(.*?)</p>', html, re.DOTALL)[3]
    worst = min(exact["experiments"], key=lambda one: one["difference"])
    goal = [exact["baseline"]["states_goal"] / exact["states"], worst["states_goal"] / exact["states"]]
    assert worst["patch"] in behaviour
    assert values_in(behaviour)[2:] == goal


def test_the_findings_count_what_the_sweep_holds(with_results: Path, html: str) -> None:
    with np.load(with_results / "patching_results" / "sweep.npz") as sweep:
        clean = sweep["clean_q_values"].argmax(axis=1)
        contrast = clean != sweep["corrupted_q_values"].argmax(axis=1)
        matches = np.concatenate(
            [sweep[f"denoising_q_net.{layer}"].argmax(axis=2) == clean[:, None] for layer in (0, 2)], axis=1
        )
    first = re.findall(r'<p class="sentence">(.*?)</p>', html, re.DOTALL)[0]
    by_neuron = matches[contrast].sum(axis=0)
    assert values_in(first) == [int(matches[contrast].any(axis=1).sum()), int(contrast.sum()), int(by_neuron.max())]
    layer, neuron = divmod(int(by_neuron.argmax()), 128)
    assert re.search(rf"neuron {neuron} of <bdi><code>q_net\.{2 * layer}</code>", first)


def test_each_finding_has_a_caveat_a_picture_and_details(html: str) -> None:
    findings = re.findall(r"<li><div>(.*?)</li>", html, re.DOTALL)
    assert len(findings) == 5
    for finding in findings:
        assert finding.count('class="sentence"') == finding.count('class="caveat"') == finding.count("<svg") == 1
        (anchor,) = re.findall(r'href="#([\w-]+)" aria-label="Details', finding)
        assert f'<section id="{anchor}"' in html


def test_sections_are_in_their_order_and_pictures_have_alternatives(html: str) -> None:
    assert re.findall(r'<section id="([\w-]+)"', html) == SECTIONS
    assert re.findall(r"<h([1-6])", html)[:2] == ["1", "2"]
    pictures = re.findall(r"<svg ([^>]*)>", html)
    assert len(pictures) > 20
    assert all(re.match(r'role="img" aria-label="[^"]{20,}"', one) for one in pictures)
    assert html.count("<figcaption>") == len(pictures)


def test_the_page_is_one_small_file_with_unique_ids(page: Path, html: str) -> None:
    assert page.stat().st_size < 3_000_000
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#|for=")([^")]+)', html)) <= set(ids)
    assert not re.findall(r'(?:src|href|action)="(?!#|data:)[^"]*"', html)
    assert "http" not in html.replace("http-equiv", "")
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_the_pictures_are_files_too_with_the_same_bytes_each_time(
    with_results: Path, page: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(with_results, tmp_path / with_results.name, ignore=shutil.ignore_patterns("report"))
    again = make_report(open_agent(copy))
    files = sorted(file.relative_to(page.parent) for file in page.parent.rglob("*.svg"))
    assert files == sorted(file.relative_to(again.path.parent) for file in again.pictures)
    for file in files:
        assert (page.parent / file).read_bytes() == (again.path.parent / file).read_bytes()
    texts = [one.read_text().replace(str(with_results), "").replace(str(copy), "") for one in (page, again.path)]
    assert texts[0] == texts[1]
    assert make_report(open_agent(copy)).was_up_to_date
    shutil.rmtree(copy / "patching_results")
    (copy / "perturbation_results" / "smallest_flips.json").unlink()
    with pytest.raises(InputError) as refused:
        make_report(open_agent(copy))
    assert refused.value.file == str(again.path)
    without = make_report(open_agent(copy), overwrite=True)
    assert set(without.missing) == {step.name for step in STEPS if step.file.startswith("patching_results")} | {"flips"}
    assert len(without.findings) == 2
    assert "find_smallest_flips.py --agent_path" in without.path.read_text()


@pytest.mark.parametrize("agent", [EXAMPLE, ROOT / "examples" / "lava_crossing" / "ppo"], ids=["dqn", "ppo"])
def test_an_agent_without_results_gets_a_page_with_every_command(agent: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(agent, tmp_path / "agent")
    run = in_process([str(ROOT / "ReportTooling" / "make_report.py"), "--agent_path", str(folder), "--json"])
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert document["findings"] == []
    assert document["not_run"] == [step.name for step in STEPS if step.name not in ("inputs", "pairs")]
    html = Path(document["report"]).read_text()
    assert all(f"{step.script} --agent_path" in html for step in STEPS if step.name not in ("inputs", "pairs"))


def test_a_bare_zip_gets_a_page(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "agent.zip", tmp_path)
    report = make_report(open_agent(tmp_path / "agent.zip"))
    assert report.missing == tuple(step.name for step in STEPS)
    assert 'id="layers"' in report.path.read_text()


def test_results_of_other_weights_are_not_shown(with_results: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(with_results, tmp_path / "agent", ignore=shutil.ignore_patterns("report"))
    shutil.copy(ROOT / "examples" / "lava_crossing" / "ppo" / "agent.zip", copy)
    report = make_report(open_agent(copy))
    assert {"patching_results/sweep.npz", "perturbation_results/results.json"} <= set(report.outdated)
    html = report.path.read_text()
    assert "Results of other weights than this agent" in html
    assert "run_experiments.py --agent_path" in html
    assert "--overwrite" in html
    assert 'id="effects"' not in html


@pytest.mark.parametrize(
    ("file", "content", "field"),
    [
        ("patching_results/results.csv", "a,b\n1,2\n", "header"),
        ("patching_results/minimal_sets.json", "[]", ""),
        ("perturbation_results/results.json", "{}", "metadata"),
        ("encoding.json", '{"actions": ["left"]}', "actions"),
    ],
)
def test_a_damaged_result_is_an_error_that_names_the_file(
    file: str, content: str, field: str, with_results: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(with_results, tmp_path / "agent", ignore=shutil.ignore_patterns("report"))
    (copy / file).write_text(content)
    with pytest.raises(InputError) as refused:
        make_report(open_agent(copy))
    assert refused.value.file == str(copy / file)
    assert refused.value.field == field
    assert not (copy / "report").exists()


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.14527285, "0.145"), (-0.00121, "−0.00121"), (0.0, "0"), (1234567.0, "1,234,567"), (3e-7, "3e-7"), (52.0, "52")],
)
def test_numbers_have_three_significant_digits(value: float, shown: str) -> None:
    assert rounded(value) == shown
