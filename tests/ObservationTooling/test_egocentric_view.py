from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from Neuron_Selection.ObservationTooling.egocentric_view import (
    ENCODING,
    LENGTH,
    EgocentricView,
    encode_view,
    observe,
    observe_now,
)
from Neuron_Selection.ObservationTooling.grid_worlds.environments import agent_cell, current_layout

FORWARD = [(1, 0), (0, 1), (-1, 0), (0, -1)]


def slow_encoding(layout, cell, heading):
    """From the grid alone: nothing inside the walls blocks the view, so the agent sees all in front of it."""
    numbers = [0.0] * 151
    numbers[147 + heading] = 1.0
    (fx, fy), (rx, ry) = FORWARD[heading], FORWARD[(heading + 1) % 4]
    for row in range(7):
        for column in range(7):
            ahead, aside = 6 - row, column - 3
            content = layout.content((cell[0] + ahead * fx + aside * rx, cell[1] + ahead * fy + aside * ry))
            if content != ".":
                numbers[(row * 7 + column) * 3 + "#~G".index(content)] = 1.0
    return np.array(numbers, np.float32)


def test_the_encoding_agrees_with_a_slow_one_in_every_state_of_some_layouts(env, layouts):
    for layout in list(layouts)[::8]:
        for cell in layout.cells("."):
            for heading in range(4):
                seen = observe(env, layout, cell=cell, heading=heading)
                assert seen.dtype == np.float32
                assert seen.tobytes() == slow_encoding(layout, cell, heading).tobytes()


def test_the_encoding_follows_minigrids_own_image_number_by_number(env):
    image = env.reset(seed=3)[0]["image"]
    seen = encode_view(image, 2)
    codes = {0: 0, 2: 0, 9: 1, 8: 2}  # unseen, wall, lava, goal
    for row in range(7):
        for column in range(7):
            expected = [0.0, 0.0, 0.0]
            if int(image[column, row, 0]) in codes:
                expected[codes[int(image[column, row, 0])]] = 1.0
            assert seen[(row * 7 + column) * 3 :][:3].tolist() == expected
    assert seen[147:].tolist() == [0, 0, 1, 0]


def test_the_agents_own_cell_is_empty_and_the_one_before_it_is_in_row_five(env, layouts):
    layout = next(iter(layouts))
    seen = observe(env, layout, cell=(1, 1), heading=3)
    assert seen[(6 * 7 + 3) * 3 :][:3].tolist() == [0, 0, 0]
    assert seen[(5 * 7 + 3) * 3 :][:3].tolist() == [1, 0, 0]


def test_a_rollout_through_the_wrapper_gives_the_same_vectors():
    env = EgocentricView(gymnasium.make("MiniGrid-LavaCrossingS9N1-v0", disable_env_checker=True))
    assert env.observation_space == gymnasium.spaces.Box(0.0, 1.0, (151,), np.float32)
    assert env.action_space == gymnasium.spaces.Discrete(3)
    for seed in range(5):
        observation, _ = env.reset(seed=seed)
        for action in (2, 1, 2, 2, 0, 2):
            inner = env.unwrapped
            assert observation in env.observation_space
            assert observation.tobytes() == observe_now(inner).tobytes()
            layout, cell = current_layout(inner), agent_cell(inner)
            assert observation.tobytes() == slow_encoding(layout, cell, int(inner.agent_dir)).tobytes()
            observation, _, terminated, _, _ = env.step(action)
            if terminated:
                break


@pytest.mark.parametrize(("row", "column", "channel"), [(0, 0, "lava"), (6, 3, "goal"), (3, 5, "wall_or_unseen")])
def test_the_encoding_file_describes_the_position_of_each_number(row, column, channel):
    image = np.ones((7, 7, 3), np.uint8)
    image[column, row, 0] = {"wall_or_unseen": 2, "lava": 9, "goal": 8}[channel]
    names = {"row": row, "column": column, "channel": ENCODING["channels"].index(channel), "heading": 1}
    expected = {eval(formula, {}, names) for formula in ENCODING["index"].values()}
    assert set(np.flatnonzero(encode_view(image, 1))) == expected
    assert ENCODING["length"] == LENGTH == 151
