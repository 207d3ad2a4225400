from __future__ import annotations

import numpy as np

from Neuron_Selection.ObservationTooling.egocentric_view import observe
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import Layout
from Neuron_Selection.ObservationTooling.state_tables import StateTable, follow_policy, tabulate_states

FORWARD = [(1, 0), (0, 1), (-1, 0), (0, -1)]


def test_every_action_in_every_state_leads_where_the_rules_say(env, layouts):
    some = list(layouts)[5:40:17]
    table = tabulate_states(env, some)
    assert len(table.states) == sum(4 * len(layout.cells(".")) for layout in some)
    for row, (layout, (x, y), heading) in enumerate(table.states):
        ahead = (x + FORWARD[heading][0], y + FORWARD[heading][1])
        content = layout.content(ahead)
        forward = {"G": -1, "~": -2}.get(content)
        if forward is None:
            forward = table.states.index((layout, ahead if content == "." else (x, y), heading))
        turns = [table.states.index((layout, (x, y), (heading + turn) % 4)) for turn in (-1, 1)]
        assert table.successors[row].tolist() == [*turns, forward]
    for row in range(0, len(table.states), 29):
        layout, cell, heading = table.states[row]
        assert table.observations[row].tobytes() == observe(env, layout, cell=cell, heading=heading).tobytes()


def test_following_a_policy_agrees_with_walking_it_step_by_step():
    random = np.random.default_rng(0)
    for _ in range(200):
        count = int(random.integers(1, 12))
        successors = random.integers(-2, count, (count, 3))
        actions = random.integers(0, 3, count)
        table = StateTable(
            states=((Layout(("G",)), (0, 0), 0),) * count, observations=np.zeros((count, 151)), successors=successors
        )
        walked = []
        for start in range(count):
            here = start
            for _ in range(count + 1):
                here = successors[here, actions[here]] if here >= 0 else here
            walked.append({-1: "goal", -2: "lava"}.get(int(here), "loop"))
        assert follow_policy(table, actions).tolist() == walked
