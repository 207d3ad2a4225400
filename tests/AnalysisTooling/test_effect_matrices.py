"""The effect of each neuron on each pair, against the definition pair by pair; sums give the table's effects."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from Neuron_Selection.AnalysisTooling import analyze
from Neuron_Selection.AnalysisTooling.effect_matrices import effect_matrices
from Neuron_Selection.ExperimentTooling.sweeps import run_sweep
from Neuron_Selection.PatchingTooling import open_agent
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("matrices") / "agent"
    shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", folder)
    agent = open_agent(folder)
    path = run_sweep(agent, input_ids=agent.inputs("clean_inputs.json").ids[:7]).path
    analyze(folder, resamples=9)
    return path


def test_effects_are_those_of_the_definition(sweep: Path) -> None:
    matrices = effect_matrices(sweep)
    assert [(one.direction, one.layer) for one in matrices] == [
        (direction, layer) for direction in ("denoising", "noising") for layer in ("q_net.0", "q_net.2")
    ]
    with np.load(sweep) as stored:
        clean, corrupted = stored["clean_q_values"], stored["corrupted_q_values"]
        for matrix in matrices:
            patched = stored[f"{matrix.direction}_{matrix.layer}"]
            target, source = (corrupted, clean) if matrix.direction == "denoising" else (clean, corrupted)
            for pair in range(7):
                a, b = int(source[pair].argmax()), int(target[pair].argmax())
                for column in (0, 5, 78, 127):
                    q = patched[pair, column]
                    start = target[pair, a] - target[pair, b]
                    way = source[pair, a] - source[pair, b] - start
                    assert matrix.effects[pair, column] == pytest.approx((q[a] - q[b] - start) / way, abs=1e-12)
                    assert matrix.flips[pair, column] == (q.argmax() != b)
                    assert matrix.matches[pair, column] == (q.argmax() == a)
            changes = patched - target[:, None]
            assert matrix.shifts == pytest.approx(changes.mean(axis=0).T, abs=1e-12)
            assert matrix.spreads == pytest.approx(changes.std(axis=0).T, abs=1e-7)


def test_their_means_are_the_table_s_means_of_ratios(sweep: Path) -> None:
    with (sweep.parent / "results.csv").open() as file:
        rows = {(row["direction"], row["patch"]): row for row in csv.DictReader(file)}
    for matrix in effect_matrices(sweep):
        for column, neuron in enumerate(matrix.neurons):
            row = rows[matrix.direction, f"{matrix.layer}:{neuron}"]
            assert matrix.effects[:, column].mean() == pytest.approx(float(row["effect_mean_of_ratios"]), abs=1e-12)
            assert matrix.flips[:, column].sum() == int(row["flips"])
