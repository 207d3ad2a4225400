"""Environments as users write them, for ``--env FILE.py:make_...``."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Walk(gymnasium.Env[Any, Any]):
    """A walk on a line, in one of several forms; action 1 goes right, action 0 left; it ends at 5."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - as gymnasium declares it

    def __init__(self, observation_space: spaces.Space[Any], render_mode: str | None = None) -> None:
        self.observation_space = observation_space
        self.action_space = spaces.Discrete(2)
        self.render_mode = render_mode
        self.position = 0

    def observation(self) -> Any:
        return np.array([self.position, self.noise], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.position, self.noise = 0, float(self.np_random.normal())
        return self.observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.position += 1 if action == 1 else -1
        return self.observation(), 1.0, self.position == 5, False, {"position": self.position}

    def render(self) -> np.ndarray:
        return np.full((8, 6, 3), self.position % 256, np.uint8)


LINE = spaces.Box(-1000, 1000, (2,), np.float32)
IMAGE = spaces.Box(0, 255, (36, 40, 1), np.uint8)
PARTS = spaces.Dict({"grid": spaces.Box(-1, 1, (2, 4), np.float32), "state": spaces.Discrete(5)})


class Images(Walk):
    def observation(self) -> Any:
        image = np.zeros((36, 40, 1), np.uint8)
        image[:, self.position % 40] = 255
        image[0, 0] = self.position % 256
        return image


class Parts(Walk):
    def observation(self) -> Any:
        return {"state": self.position % 5, "grid": np.full((2, 4), self.noise / 10, np.float32)}


class Broken(Walk):
    """What is wrong shows at the third step."""

    def __init__(self, wrong: Any, reward: float = 1.0, space: spaces.Space[Any] = LINE) -> None:
        super().__init__(space)
        self.wrong, self.reward = wrong, reward

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        _, _, terminated, truncated, info = super().step(action)
        if abs(self.position) == 3:
            if isinstance(self.wrong, Exception):
                raise self.wrong
            return self.wrong, self.reward, terminated, truncated, info
        return self.observation(), 1.0, terminated, truncated, info

    def observation(self) -> Any:
        return super().observation() if self.observation_space == LINE else self.observation_space.sample()


class Unseeded(Walk):
    """The noise is of no seed."""

    count = 0

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        super().reset(**options)
        Unseeded.count += 1
        self.noise = float(Unseeded.count)
        return self.observation(), {}


class Masked(Walk):
    """Left is forbidden at 0, right at 3."""

    def action_masks(self) -> np.ndarray:
        return np.array([self.position != 0, self.position != 3])


class Alike(Walk):
    """All observations are the same."""

    def observation(self) -> Any:
        return np.zeros(2, np.float32)


ONE = Walk(LINE)
make_line = lambda render_mode=None, **_: Walk(LINE, render_mode)  # noqa: E731 - a factory may be anything callable
make_images = lambda render_mode=None: Images(IMAGE, render_mode)  # noqa: E731
make_parts = lambda: Parts(PARTS)  # noqa: E731
make_unseeded = lambda: Unseeded(LINE)  # noqa: E731
make_masked = lambda: Masked(LINE)  # noqa: E731
make_alike = lambda: Alike(LINE)  # noqa: E731
make_nan = lambda: Broken(np.array([np.nan, 0], np.float32))  # noqa: E731
make_half = lambda: Broken(5.0, space=spaces.Discrete(5))  # noqa: E731
make_pixel = lambda: Broken(np.full((5, 4, 3), 300), space=spaces.Box(0, 255, (5, 4, 3), np.uint8))  # noqa: E731
make_wrong_shape = lambda: Broken(np.zeros(3, np.float32))  # noqa: E731
make_nan_reward = lambda: Broken(np.zeros(2, np.float32), reward=float("nan"))  # noqa: E731
make_raising_step = lambda: Broken(ValueError("the door is stuck"))  # noqa: E731
make_tuple = lambda: Walk(spaces.Tuple((LINE, spaces.Text(5))))  # noqa: E731
make_none = lambda: None  # noqa: E731
make_same = lambda: ONE  # noqa: E731
not_a_function = 7


def make_leaving() -> None:
    raise SystemExit(0)


def make_raising() -> None:
    raise RuntimeError("no world today")


def make_missing() -> None:
    import a_package_that_nobody_has  # noqa: F401 - that is the fault


def make_other_actions() -> Walk:
    env = Walk(LINE)
    env.action_space = spaces.Discrete(3)
    return env
