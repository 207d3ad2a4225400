from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from Neuron_Selection.errors import MachineError
from Neuron_Selection.ObservationTooling.drawing.lava_crossing import draw_pair, seen_layout
from Neuron_Selection.ObservationTooling.egocentric_view import observe
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import Layout
from Neuron_Selection.ObservationTooling.lava_crossing.pair_files import load_pairs
from tests.raised import raises

AGENT = Path(__file__).resolve().parents[3] / "examples" / "lava_crossing" / "agent"


def test_the_drawn_view_is_what_the_agent_sees_turned_upwards(env):
    layout = Layout(("#########", "#.~.....#", *["#.......#"] * 5, "#......G#", "#########"))
    env.reset(seed=0)
    assert seen_layout(observe(env, layout, cell=(1, 2), heading=3)).rows == (
        *["#######"] * 5,
        "###.~..",
        "###....",
    )
    assert seen_layout(observe(env, layout, cell=(6, 5), heading=0)).rows == (
        *["#######"] * 5,
        ".....G#",
        "......#",
    )


def test_a_picture_is_a_png_and_comes_out_the_same_each_time():
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    first, second = load_pairs(AGENT)[:2]
    picture = draw_pair(first)
    assert picture == draw_pair(first) != draw_pair(second)
    pixels = imread(io.BytesIO(picture))
    lava = np.array([0xF2, 0x76, 0x2E]) / 255
    assert (np.abs(pixels[:, :, :3] - lava).max(axis=2) < 0.01).mean() > 0.02


def test_without_matplotlib_the_error_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with raises(MachineError, problem="matplotlib is not installed", hint="pip install matplotlib"):
        draw_pair(load_pairs(AGENT)[0])
