"""Ids of generated inputs, which contain all that is needed to rebuild them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from Neuron_Selection.errors import InputError
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import Cell

FORM = "<env id>-<seed>-<x>,<y>,<heading>-<number>"
_PLACE = re.compile(r"(0|[1-9][0-9]*),(0|[1-9][0-9]*),([0-3])")
_SEED = re.compile(r"0|[1-9][0-9]*")
_NUMBER = re.compile(r"[0-9]{4}|[1-9][0-9]{4,}")


@dataclass(frozen=True, kw_only=True, slots=True)
class InputId:
    """The state of a clean input: environment, seed, the agent's cell and heading; and a running number."""

    env_id: str
    seed: int
    cell: Cell
    heading: int
    number: int


def format_input_id(parts: InputId) -> str:
    """The id of a state, such as ``MiniGrid-LavaCrossingS11N5-v0-81110-6,4,0-0763``."""
    x, y = parts.cell
    return f"{parts.env_id}-{parts.seed}-{x},{y},{parts.heading}-{parts.number:04d}"


def parse_input_id(text: str) -> InputId:
    """Parse a generated id, from the right, since environment ids contain ``-``.

    :raises InputError: the id has another form; elsewhere ids are opaque, and any form is valid
    """
    words = text.rsplit("-", 3)
    place = _PLACE.fullmatch(words[-2]) if len(words) == 4 and words[0] else None
    if place is None or not _SEED.fullmatch(words[1]) or not _NUMBER.fullmatch(words[3]):
        raise InputError(f"input id {text!r}", problem=f"does not have the form {FORM}")
    x, y, heading = map(int, place.groups())
    return InputId(env_id=words[0], seed=int(words[1]), cell=(x, y), heading=heading, number=int(words[3]))
