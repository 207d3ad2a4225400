"""Denoising and noising: the target and the source run of each direction."""

from __future__ import annotations

TARGETS = {"denoising": ("corrupted", "clean"), "noising": ("clean", "corrupted")}
"""Direction to the target and the source run."""

DIRECTIONS = tuple(TARGETS)


def directions_of(direction: str) -> tuple[str, ...]:
    """The directions that ``--direction`` selects: one of them, or all for ``both``."""
    return DIRECTIONS if direction == "both" else (direction,)
