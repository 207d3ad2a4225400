"""Draw a pair of ``make_pairs.py`` as a PNG: what can be seen of both sides, what differs, and the scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_folder import AgentFolder
from Neuron_Selection.FileFormats.agent_zip.agent_zip import read_agent_zip
from Neuron_Selection.FileFormats.agent_zip.spaces import Space
from Neuron_Selection.FileFormats.encoding import ENCODING, Encoding, load_encoding
from Neuron_Selection.FileFormats.pairs_file import (
    PAIRS,
    EditRecord,
    FeaturesRecord,
    PairFiles,
    Record,
    load_pair_files,
)
from Neuron_Selection.FileFormats.scores import scores_in
from Neuron_Selection.FileFormats.state_frames import frames_path, load_frames
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of_file
from Neuron_Selection.ObservationTooling.drawing.changes import changes_height, draw_changes
from Neuron_Selection.ObservationTooling.drawing.panels import draw_scores, frame_changed, new_figure, png_bytes
from Neuron_Selection.ObservationTooling.drawing.views import (
    draw_encoded_view,
    draw_image,
    draw_minigrid_view,
    is_minigrid_view,
)
from Neuron_Selection.ObservationTooling.grid_worlds.world import base_of
from Neuron_Selection.ObservationTooling.grid_worlds.world_edits import edited
from Neuron_Selection.ObservationTooling.pair_making.entries import Part, tabulate
from Neuron_Selection.ObservationTooling.pair_making.environments import environment_of_pairs
from Neuron_Selection.ObservationTooling.pair_making.replay import replayed_edit
from Neuron_Selection.ObservationTooling.pair_making.verification import visited_path
from Neuron_Selection.PatchingTooling.agent.algorithms import has_action_masks

_TILE = 32  # pixels of a cell
SIDES = ("clean", "corrupted")


class PairPictures:
    """Draws the pairs of one folder.

    :param space: the agent's observation space
    :param frames: recorded pictures of visited inputs, by id; those that are there are drawn
    :param make_env: makes the environment of edited worlds; it is called once, if there are any
    """

    def __init__(
        self,
        files: PairFiles,
        space: Space,
        *,
        encoding: Encoding | None,
        frames: Mapping[str, np.ndarray],
        make_env: Callable[[], gymnasium.Env[Any, Any]],
    ) -> None:
        self._files, self._encoding, self._frames, self._make_env = files, encoding, frames, make_env
        sides = [tabulate(inputs.observations, space, encoding=encoding) for inputs in (files.clean, files.corrupted)]
        self._table, self._values = sides[0], [side.values for side in sides]
        self._units = np.concatenate(self._values).std(axis=0, dtype=np.float64)
        run = files.metadata.get("run")
        self._scores_name = scores_in(run if isinstance(run, dict) else {})

    @property
    def ids(self) -> tuple[str, ...]:
        """The pairs."""
        return self._files.clean.ids

    def draw(self, input_id: str) -> bytes:
        """Draw one pair, the clean side on the left.

        :return: the bytes of a PNG
        :raises MachineError: matplotlib is not installed
        """
        record = self._files.records[input_id]
        row = self._files.clean.ids.index(input_id)
        first, second = (values[row].astype(np.float64) for values in self._values)
        scores = [np.array(record.clean_q_values), np.array(record.corrupted_q_values)]
        actions, chosen = self._actions(record), (record.clean_action, record.corrupted_action)
        pictures = self._pictures(input_id, row, record)
        words = self._columns_in_words(record)
        has_changes = bool((first[words] != second[words]).any())
        heights = [
            0.6,
            3.7 if pictures else 0.0,
            0.75 + 0.27 * len(actions),
            changes_height(first[words], second[words]) if has_changes else 0.0,
        ]
        figure = new_figure(9, sum(heights))
        figure.suptitle(f"{shown(input_id, quoted=False)}\n{_in_words(record)}", fontsize=11)
        ratios = [sum(heights[1:3]), heights[3]] if has_changes else [1.0]
        parts = figure.subfigures(len(ratios), 1, height_ratios=ratios, squeeze=False)
        sides = parts[0, 0].subfigures(1, 2, wspace=0.06)
        limits = (float(min(map(np.min, scores))), float(max(map(np.max, scores))))
        for place, name in enumerate(SIDES):
            side = sides[place]
            side.suptitle(f"{name}: {actions[chosen[place]]}", fontsize=13, fontweight="bold")
            layout, shares = ([["picture"], ["scores"]], heights[1:3]) if pictures else ([["scores"]], [1])
            axes = side.subplot_mosaic(layout, height_ratios=shares)
            if pictures:
                pictures[place](axes["picture"])
            draw_scores(
                axes["scores"], scores[place], actions, chosen=chosen[place], title=self._scores_name, limits=limits
            )
        if has_changes:
            names = [self._table.names[column] for column in words]
            draw_changes(parts[1, 0].subplots(), first[words], second[words], names, self._units[words])
        return png_bytes(figure)

    @cached_property
    def _env(self) -> gymnasium.Env[Any, Any]:
        return self._make_env()

    @property
    def _image(self) -> Part | None:
        """The part of observations that is an image, the first if there are several."""
        return next((part for part in self._table.parts if part.channel_axis is not None), None)

    def _actions(self, record: Record) -> list[str]:
        count = len(record.clean_q_values)
        if self._encoding is not None and self._encoding.actions is not None:
            return list(self._encoding.actions)
        if isinstance(record, EditRecord):
            names = [action.name.replace("_", " ") for action in base_of(self._env).actions]
            if len(names) == count:
                return names
        return [f"action {action}" for action in range(count)]

    def _pictures(self, input_id: str, row: int, record: Record) -> list[Callable[[Any], None]]:
        """How the picture of each side is drawn into axes; empty if there is nothing to be seen."""
        if isinstance(record, EditRecord):
            return self._worlds(input_id, record)
        if input_id in self._frames and record.donor in self._frames:
            donor = "state that the features are from" if isinstance(record, FeaturesRecord) else ""
            shown_frames = ((input_id, ""), (record.donor, donor))
            return [partial(_draw_frame, frame=self._frames[name], caption=caption) for name, caption in shown_frames]
        image = self._image
        if image is not None:
            sides = [values[row, image.columns].reshape(image.shape).astype(image.dtype) for values in self._values]
            if all(map(is_minigrid_view, sides)):
                return [partial(draw_minigrid_view, image=one, other=other) for one, other in (sides, sides[::-1])]
            axis = image.channel_axis or 0
            return [
                partial(draw_image, image=one, other=other, channel_axis=axis) for one, other in (sides, sides[::-1])
            ]
        view = self._encoding and self._encoding.view
        if view:
            shape = (view.rows, view.columns, len(view.channels))
            sides = [values[row, : view.n_entries].reshape(shape) for values in self._values]
            return [
                partial(draw_encoded_view, cells=one, other=other, view=view) for one, other in (sides, sides[::-1])
            ]
        return []

    def _worlds(self, input_id: str, record: EditRecord) -> list[Callable[[Any], None]]:
        edit = replayed_edit(self._env, record, where=f"{self._files.folder / PAIRS}: {shown(input_id)}")
        base = base_of(self._env)
        cells = [list(record.cells), list(record.cells)]
        if record.agent is not None:
            x, y = map(int, base.agent_pos)
            cells = [[(x, y)], [record.agent[:2]]]
        size = (base.width, base.height)
        clean = base.get_frame(highlight=True, tile_size=_TILE)
        with edited(base, edit):
            corrupted = base.get_frame(highlight=True, tile_size=_TILE)
        return [
            partial(_draw_world, pixels=pixels, size=size, cells=marked)
            for pixels, marked in zip((clean, corrupted), cells, strict=True)
        ]

    def _columns_in_words(self, record: Record) -> np.ndarray:
        """The entries that no picture of the input shows."""
        in_picture = np.zeros(len(self._table.names), bool)
        for part in self._table.parts:
            in_picture[part.columns] = part.channel_axis is not None or isinstance(record, EditRecord)
        if self._encoding is not None and self._encoding.view is not None:
            in_picture[: self._encoding.view.n_entries] = True
        return np.flatnonzero(~in_picture)


def pair_pictures(agent: AgentFolder, folder: Path, **environment: Any) -> PairPictures:
    """The pictures of the pairs in a folder, with the recorded frames of their states where there are any.

    :param environment: as for ``environment_of_pairs``
    """
    zipped = read_agent_zip(agent.zip_path)
    files = load_pair_files(folder, zipped.observation_space, has_masks=has_action_masks(zipped))
    n_actions = len(next(iter(files.records.values())).clean_q_values)
    return PairPictures(
        files,
        zipped.observation_space,
        encoding=load_encoding(agent.folder / ENCODING, zipped.observation_space, n_actions),
        frames=_frames(agent, files),
        make_env=lambda: environment_of_pairs(files, **environment).make(),
    )


def _frames(agent: AgentFolder, files: PairFiles) -> dict[str, np.ndarray]:
    """The frames of the states that were paired; none where their file is gone or was changed since."""
    donors = {name: record.donor for name, record in files.records.items() if not isinstance(record, EditRecord)}
    if not donors:
        return {}
    try:
        visited = visited_path(agent, files, None)
    except InputError:
        return {}
    path = frames_path(visited)
    if not path.exists() or sha256_of_file(visited) != files.of_run("inputs_sha256"):
        return {}
    return load_frames(path, list({**donors, **dict.fromkeys(donors.values())}))


def _in_words(record: Record) -> str:
    if isinstance(record, EditRecord):
        things = [f"{colour} {kind}" for kind, colour, _ in filter(None, record.contents)]
        return ", ".join([f"edit of the world: {record.edit.replace('_', ' ')}", *things])
    donor = shown(record.donor, quoted=False)
    if isinstance(record, FeaturesRecord):
        names = ", ".join(record.taken[:3]) + (f" and {len(record.taken) - 3} more" if len(record.taken) > 3 else "")
        return f"{len(record.taken)} of {record.differing_groups} differing {record.group} from {donor}: {names}"
    return f"nearest: {donor}, differs in {record.differing_entries} of {record.n_entries} entries"


def _draw_frame(axes: Any, *, frame: np.ndarray, caption: str) -> None:
    axes.imshow(frame)
    axes.set_xlabel(caption, fontsize=9)
    axes.set(xticks=[], yticks=[])


def _draw_world(axes: Any, *, pixels: np.ndarray, size: tuple[int, int], cells: Sequence[tuple[int, int]]) -> None:
    width, height = size
    axes.imshow(pixels, extent=(0, width, height, 0))
    for cell in cells:
        frame_changed(axes, cell)
    axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    axes.spines[:].set_visible(False)
