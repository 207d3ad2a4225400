"""Denoising and noising: the target and the source run of each direction."""

from __future__ import annotations

from Neuron_Selection.errors import UsageError, shown

TARGETS = {"denoising": ("corrupted", "clean"), "noising": ("clean", "corrupted")}
"""Direction to the target and the source run."""

DIRECTIONS = tuple(TARGETS)


def directions_of(direction: str) -> tuple[str, ...]:
    """The directions that ``--direction`` selects: one of them, or all for ``both``.

    :raises UsageError: any other word
    """
    if direction not in (*DIRECTIONS, "both"):
        raise UsageError(field="direction", found=shown(direction), expected=f"{', '.join(DIRECTIONS)} or both")
    return DIRECTIONS if direction == "both" else (direction,)
