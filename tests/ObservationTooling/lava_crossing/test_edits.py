from __future__ import annotations

import pytest

from Neuron_Selection.ObservationTooling.grid_worlds.layouts import Layout, distances_to_goal
from Neuron_Selection.ObservationTooling.lava_crossing.edits import CONTENTS, Edit, apply_edit, possible_edits

RIVER = Layout(("#######", "#.....#", "#~~.~~#", "#.....#", "#....G#", "#######"))


@pytest.mark.parametrize(
    ("edit", "rows"),
    [
        (Edit(kind="lava_removed", cells=((1, 2),)), {2: "#.~.~~#"}),
        (Edit(kind="lava_added", cells=((2, 1),)), {1: "#.~...#"}),
        (Edit(kind="goal_moved", cells=((5, 4), (1, 1))), {1: "#G....#", 4: "#.....#"}),
        (Edit(kind="gap_moved", cells=((3, 2), (5, 2))), {2: "#~~~~.#"}),
    ],
)
def test_an_edit_changes_its_cells_and_no_others(edit, rows):
    assert apply_edit(RIVER, edit).rows == tuple(rows.get(y, row) for y, row in enumerate(RIVER.rows))


@pytest.mark.parametrize(
    ("kind", "count"), [("lava_removed", 4), ("lava_added", 14), ("goal_moved", 14), ("gap_moved", 4)]
)
def test_every_edit_of_a_kind_is_there_once_and_spares_the_agents_cell(kind, count):
    edits = list(possible_edits(RIVER, kind, agent=(1, 1)))
    assert len({edit.cells for edit in edits}) == len(edits) == count
    assert all((1, 1) not in edit.cells for edit in edits)
    for edit in edits:
        changed = [
            (x, y)
            for y, row in enumerate(apply_edit(RIVER, edit).rows)
            for x, here in enumerate(row)
            if here != RIVER.rows[y][x]
        ]
        assert sorted(changed) == sorted(edit.cells)
        assert len(edit.cells) == len(CONTENTS[kind])


def test_the_gap_cannot_move_from_under_the_agent():
    assert list(possible_edits(RIVER, "gap_moved", agent=(3, 2))) == []


def test_a_moved_gap_leaves_the_goal_within_reach():
    for edit in possible_edits(RIVER, "gap_moved", agent=(1, 1)):
        assert (1, 1) in distances_to_goal(apply_edit(RIVER, edit))
