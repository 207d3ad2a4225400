from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minigrid.core.grid import Grid
from minigrid.core.world_object import Lava

from Neuron_Selection.ObservationTooling.grid_worlds.environments import layout_of_seed, make_environment
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import (
    FREE,
    GOAL,
    LAVA,
    WALL,
    Layout,
    distances_to_goal,
    rivers,
)

grids = st.integers(2, 6).flatmap(
    lambda width: st.lists(st.text("..~#G", min_size=width, max_size=width), min_size=2, max_size=6)
)


def slow_distances(layout):
    """Relax every edge until nothing changes."""
    cells = layout.cells(FREE) + layout.cells(GOAL)
    distances = {cell: 0 if layout.content(cell) == GOAL else 10**6 for cell in cells}
    for _ in cells:
        for x, y in layout.cells(FREE):
            nearest = min(distances.get(c, 10**6) for c in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)))
            distances[x, y] = min(distances[x, y], nearest + 1)
    return {cell: distance for cell, distance in distances.items() if distance < 10**6}


@given(grids)
def test_distances_agree_with_a_slow_search(rows):
    layout = Layout(tuple(rows))
    assert distances_to_goal(layout) == slow_distances(layout)


def test_lava_and_walls_are_walked_around():
    layout = Layout(("#####", "#.~G#", "#.~.#", "#...#", "#~~~#", "#...#", "#####"))
    assert distances_to_goal(layout)[1, 1] == 6
    assert (1, 5) not in distances_to_goal(layout)


@pytest.mark.parametrize(
    "env_id", ["MiniGrid-LavaCrossingS9N1-v0", "MiniGrid-LavaCrossingS9N3-v0", "MiniGrid-LavaCrossingS11N5-v0"]
)
def test_gaps_are_the_cells_that_minigrid_opened_in_the_lava(env_id, monkeypatch):
    opened = []
    grid_set = Grid.set

    def spy(grid, x, y, thing):
        if thing is None and isinstance(grid.get(x, y), Lava):
            opened.append((int(x), int(y)))
        grid_set(grid, x, y, thing)

    monkeypatch.setattr(Grid, "set", spy)
    env = make_environment(env_id)
    for seed in range(60):
        opened.clear()
        layout = layout_of_seed(env, seed)
        assert sorted(rivers(layout)) == sorted(opened), layout


def test_closing_a_gap_cuts_the_start_from_the_goal_and_another_opening_connects_them_again(layouts):
    for layout in layouts:
        ((gap, lava),) = rivers(layout).items()
        assert len(lava) == 6
        closed = layout.changed({gap: LAVA})
        assert (1, 1) in distances_to_goal(layout)
        assert (1, 1) not in distances_to_goal(closed)
        assert all((1, 1) in distances_to_goal(closed.changed({cell: FREE})) for cell in lava)


def test_cells_on_the_only_way_are_no_gaps():
    corridor = Layout(("#####", "#.~.#", "#.~.#", "#..G#", "#####"))
    assert all((1, 1) not in distances_to_goal(corridor.changed({cell: LAVA})) for cell in ((1, 2), (1, 3), (2, 3)))
    assert rivers(corridor) == {(2, 3): [(2, 1), (2, 2)]}


def test_a_change_touches_its_cells_alone_and_outside_is_wall():
    layout = Layout(("#..", "~G."))
    assert layout.changed({(1, 0): LAVA, (1, 1): FREE}).rows == ("#~.", "~..")
    assert [layout.content(cell) for cell in ((0, 1), (-1, 0), (3, 0), (0, 2), (0, -1))] == [LAVA, *[WALL] * 4]
