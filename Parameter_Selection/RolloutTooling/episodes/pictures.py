"""Pictures of one episode: the unchanged agent on the left, the changed one on the right, from where they part in red.

Pillow draws them; it is installed with matplotlib, the extra ``plots``.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from Neuron_Selection.errors import MachineError
from Neuron_Selection.FileFormats.storage.npz_files import EPOCH
from Neuron_Selection.ObservationTooling.environments.episodes import Episodes
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from Parameter_Selection.RolloutTooling.episodes.block import Outcomes, Path
from Parameter_Selection.RolloutTooling.episodes.settings import EpisodeSettings
from Parameter_Selection.RolloutTooling.experiments.experiment import Experiment

_WIDEST = 320  # pixels of one side
_HEADER = 30
_MARK, _TEXT, _PAPER = (214, 39, 40), (20, 20, 20), (255, 255, 255)
_MILLISECONDS, _AT_PARTING = 150, 1500


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ShownEpisode:
    """Which episode is shown. ``parting``: the first step at which the actions differ, -1 for never."""

    experiment: Experiment
    seed: int
    baseline: Path
    changed: Path
    parting: int


def choose_episode(
    experiments: Sequence[Experiment], outcomes: Outcomes, *, name: str | None, seed: int | None
) -> ShownEpisode:
    """The episode to show: by default, of the experiment whose mean return differs most, the one that differs most."""
    differences = np.abs((outcomes.returns[1:] - outcomes.returns[0]).mean(axis=1))
    number = 1 + (int(differences.argmax()) if name is None else [one.name for one in experiments].index(name))
    seeds = outcomes.seeds.tolist()
    if seed is None:
        size = np.abs(outcomes.returns[number] - outcomes.returns[0]) + 1e-9 * (outcomes.partings[number] >= 0)
        seed = seeds[int(size.argmax())]
    episode = seeds.index(seed)
    paths = [path for path in outcomes.paths if path.episode == episode]
    return ShownEpisode(
        experiment=experiments[number - 1],
        seed=seed,
        baseline=next(path for path in paths if 0 in path.members),
        changed=next(path for path in paths if number in path.members),
        parting=int(outcomes.partings[number, episode]),
    )


def draw_episode(agent: OpenedAgent, settings: EpisodeSettings, chosen: ShownEpisode) -> list[Any]:
    """One picture for each step of the longer episode, and one of its end.

    :raises MachineError: Pillow is not installed
    :raises InputError: the environment renders no pictures
    """
    try:
        from PIL import Image, ImageDraw
    except ModuleNotFoundError as error:
        raise MachineError("Pillow is not installed (pip install matplotlib, which needs it)") from error
    episodes = Episodes(settings.environment, agent, n=2, max_steps=settings.max_steps, with_frames=True)
    try:
        sides = [
            _frames_of(episodes, row, chosen.seed, path) for row, path in enumerate((chosen.baseline, chosen.changed))
        ]
    finally:
        episodes.close()
    height, width = sides[0][0].shape[:2]
    scale = min(1.0, _WIDEST / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    titles = ("baseline", chosen.experiment.description)
    drawn = []
    for step in range(max(map(len, sides))):
        picture = Image.new("RGB", (2 * size[0] + 12, size[1] + _HEADER + 8), _PAPER)
        draw = ImageDraw.Draw(picture)
        for side, (frames, path, title) in enumerate(
            zip(sides, (chosen.baseline, chosen.changed), titles, strict=True)
        ):
            left = 4 + side * (size[0] + 4)
            frame = Image.fromarray(frames[min(step, len(frames) - 1)]).resize(size)
            if side == 1 and 0 <= chosen.parting <= step:
                box = (left - 3, _HEADER + 1, left + size[0] + 2, _HEADER + size[1] + 6)
                draw.rectangle(box, fill=_MARK)
            picture.paste(frame, (left, _HEADER + 4))
            colour = _MARK if side == 1 and step == chosen.parting else _TEXT
            draw.text((left, 2), title[: size[0] // 6], fill=_TEXT)
            draw.text((left, 15), _caption(path, step), fill=colour)
        drawn.append(picture)
    return drawn


def gif_bytes(pictures: Sequence[Any], *, parting: int) -> bytes:
    """An endless animation, which rests where the episodes part."""
    durations = [_AT_PARTING if step == parting else _MILLISECONDS for step in range(len(pictures))]
    durations[-1] = _AT_PARTING
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=list(pictures[1:]), duration=durations, loop=0)
    return buffer.getvalue()


def png_archive_bytes(pictures: Sequence[Any]) -> bytes:
    """A zip file of one PNG for each picture."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for step, picture in enumerate(pictures):
            member = io.BytesIO()
            picture.save(member, "PNG")
            archive.writestr(zipfile.ZipInfo(f"step_{step:04d}.png", EPOCH), member.getvalue())
    return buffer.getvalue()


def _frames_of(episodes: Episodes, row: int, seed: int, path: Path) -> list[np.ndarray]:
    episodes.restart(row, seed)
    frames = [episodes.frame(row)]
    for action in path.actions.tolist():
        if episodes.running[row]:
            episodes.advance(row, action)
            frames.append(episodes.frame(row))
    return frames


def _caption(path: Path, step: int) -> str:
    length = len(path.actions)
    if step < length:
        return f"step {step}: action {path.actions[step]}"
    return f"ended after {length} steps, return {path.rewards.sum():.4g}"
