"""Denoising and noising: which of the two runs is patched, and which one donates."""

from __future__ import annotations

TARGETS = {"denoising": ("corrupted", "clean"), "noising": ("clean", "corrupted")}
"""Direction to the target and the source run."""

DIRECTIONS = tuple(TARGETS)


def directions_of(asked: str) -> tuple[str, ...]:
    """What ``--direction`` stands for: one direction, or ``both``."""
    return DIRECTIONS if asked == "both" else (asked,)
