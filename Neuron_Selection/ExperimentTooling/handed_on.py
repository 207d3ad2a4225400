"""How a script names a file that it wrote to the script that comes next."""

from __future__ import annotations

from pathlib import Path


def handed_on(path: Path) -> str:
    """A path that the next script takes for this file, and not for one of the same name in the agent's folder."""
    return str(path if len(path.parts) > 1 else path.resolve())
