"""Every code in the name of a case or a test is in the catalogue, and every code of the catalogue in a test."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent
IN_OTHER_FOLDERS = {"B10", *(f"B{number}" for number in range(31, 37)), "D6", "D7", "D12", *(f"D{n}" for n in (14, 15)),
                    *(f"D{n}" for n in (16, 17, 18, 20, 21, 22, 23, 25, 26, 29, 30))}  # fmt: skip


def codes_of(text: str) -> set[str]:
    ranges = re.findall(r"\b([A-G])(\d+) to \1(\d+)\b", text)
    between = {f"{part}{number}" for part, first, last in ranges for number in range(int(first), int(last) + 1)}
    return between | set(re.findall(r"\b[A-G][1-9]\d?\b", text))


def test_the_codes_of_tests_and_catalogue_are_the_same() -> None:
    rows = re.findall(r"^\| ([A-G]\d.*?) \|", (FOLDER / "CATALOGUE.md").read_text(), re.MULTILINE)
    listed = set[str]().union(*map(codes_of, rows))
    files = [*FOLDER.glob("test_*_faults.py"), *FOLDER.glob("fault_cases_*.py")]
    used = set[str]().union(*(codes_of(path.read_text()) for path in files))
    assert used | IN_OTHER_FOLDERS == listed
