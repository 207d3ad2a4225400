"""The structure of the project: direction of imports, one door for each power, scripts that start without torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

ROOMS = [
    "FileFormats",
    "DrawingTooling",
    "AnalysisTooling",
    "PatchingTooling",
    "ObservationTooling",
    "ExperimentTooling",
    "SaliencyTooling",
    "Parameter_Selection",
    "ReportTooling",
]
TOPS = [
    top
    for top in ("Neuron_Selection", "SaliencyTooling", "Parameter_Selection", "ReportTooling")
    if (ROOT / top).exists()
]
LEFT_OF_ALL_ROOMS = {
    *(
        "address_space",
        "command_line",
        "environment_flags",
        "errors",
        "file_sizes",
        "flag_types",
        "loading_flags",
        "next_command",
    ),
    *("streams", "suite_parser"),
}
ROOM_FILES = sorted(path for top in TOPS for path in (ROOT / top).rglob("*.py"))
ROOT_SCRIPTS = [ROOT / "activation_extraction.py", ROOT / "activation_patching.py"]
SCRIPTS = [
    path
    for path in [*ROOT_SCRIPTS, *ROOM_FILES]
    if "@script(build_parser)" in path.read_text() and path.name != "command_line.py"
]


def imports_of(path: Path) -> Iterator[tuple[str, ast.AST]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node


def room_of(parts: tuple[str, ...]) -> str | None:
    """The room of a module or a file; None for shared modules, root scripts and libraries."""
    if parts[0] in ROOMS:
        return parts[0]
    return parts[1] if parts[0] == "Neuron_Selection" and len(parts) > 1 and parts[1] in ROOMS else None


@pytest.mark.parametrize("path", ROOM_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way_only(path: Path) -> None:
    inside = path.relative_to(ROOT).with_suffix("").parts
    here = room_of(inside)
    for module, _ in imports_of(path):
        room = room_of(tuple(module.split(".")))
        if here is not None and room is not None:
            assert ROOMS.index(room) <= ROOMS.index(here), f"{path.name} imports {module}"
        if inside[-1] in LEFT_OF_ALL_ROOMS and len(inside) == 2:
            top = module.split(".")[0]
            allowed = top in sys.stdlib_module_names or top == "tqdm" or module.rpartition(".")[2] in LEFT_OF_ALL_ROOMS
            assert allowed, f"{path.name} imports {module}"


def modules_imported(path: Path) -> Iterator[Path]:
    """The files of ours that a file imports, also inside functions and for types alone."""
    for module, node in imports_of(path):
        names = [f"{module}.{alias.name}" for alias in node.names] if isinstance(node, ast.ImportFrom) else []
        for name in [*names, module]:
            place = ROOT.joinpath(*name.split("."))
            yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file in ROOM_FILES)


def sub_room_of(path: Path) -> str:
    """The folder of a file; a script is a room by itself, which only scripts import."""
    return str((path if path in SCRIPTS else path.parent).relative_to(ROOT))


def test_between_sub_rooms_there_is_no_import_circle() -> None:
    inside = [path for path in ROOM_FILES if room_of(path.relative_to(ROOT).with_suffix("").parts)]
    imported: dict[str, set[str]] = {sub_room_of(path): set() for path in inside}
    for path in inside:
        of_rooms = {sub_room_of(module) for module in modules_imported(path) if module in inside}
        imported[sub_room_of(path)] |= of_rooms - {sub_room_of(path)}
    assert len(list(TopologicalSorter(imported).static_order())) == len(imported)  # raises CycleError, with the circle


def test_only_scripts_import_scripts() -> None:
    for path in ROOM_FILES:
        scripts = [module for module in modules_imported(path) if module in SCRIPTS]
        assert path in SCRIPTS or not scripts, f"{path.relative_to(ROOT)} imports {scripts}"


@pytest.mark.parametrize(
    ("pattern", "doors"),
    [
        (r"\b(import|from) stable_baselines3", {"sb3_policy.py", "quantile_policy.py"}),
        (r"register_forward_hook\(", {"hooks.py"}),
        (r"\bopen\(|\.read_bytes\(\)|\.read_text\(|\.write_text\(|\.write_bytes\(|np\.load\(", "FileFormats"),
        (r"weights_only=False|allow_pickle=True|pickle\.load|torch\.load|DQN\.load|\beval\(", set()),
        (r"\bexec\(", {"user_files.py"}),
        (r"\b(import|from) matplotlib", "DrawingTooling"),
        (r"\b(import|from) jinja2", {"rendering.py"}),
        (r"register_full_backward_hook|\.data\s*=|\.copy_\(|parameters?\[[^\]]*\] = ", {"weight_edits.py"}),
    ],
)
def test_there_is_one_door_for_each_power(pattern: str, doors: set[str] | str) -> None:
    for path in [*ROOM_FILES, *ROOT_SCRIPTS]:
        if doors in path.relative_to(ROOT).parts or path.name in doors:
            continue
        code = ast.unparse(without_docstrings(ast.parse(path.read_text())))
        for harmless in ("policy.eval()", "os.open(os.devnull, os.O_WRONLY)"):
            code = code.replace(harmless, "")
        found = re.search(pattern, code)
        assert not found, f"{path.relative_to(ROOT)}: {found.group() if found else ''}"


def without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value = ast.Constant(value="")
    return tree


def test_sys_path_is_touched_in_nested_scripts_only() -> None:
    for path in [*ROOM_FILES, *ROOT_SCRIPTS]:
        touches = "sys.path" in path.read_text()
        assert touches == (path in SCRIPTS and path.parent != ROOT), path


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help_imports_neither_numpy_nor_torch_and_shows_an_example(script: Path, tmp_path: Path) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{str(script)!r}, '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "heavy = {'numpy', 'torch', 'stable_baselines3', 'gymnasium', 'scipy', 'msgspec', 'matplotlib', 'jinja2'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "example:\n  python " in run.stdout


@pytest.mark.parametrize("module", ["Neuron_Selection.PatchingTooling", "Neuron_Selection.PatchingTooling.experiment"])
def test_the_api_is_imported_without_torch(module: str) -> None:
    code = f"import sys, {module}; assert not {{'torch', 'stable_baselines3', 'gymnasium'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_every_file_holds_one_idea_of_at_most_500_lines() -> None:
    long = {path.name: n for path in [*ROOM_FILES, *ROOT_SCRIPTS] if (n := len(path.read_text().splitlines())) > 500}
    assert not long


def test_every_room_is_typed_and_counted() -> None:
    settings = (ROOT / "pyproject.toml").read_text()
    for listed in re.findall(r"^(?:files|source) = \[(.*)\]$", settings, re.MULTILINE):
        assert set(TOPS) <= set(re.findall(r'"(\w+)"', listed))
    assert len(re.findall(r"^(?:files|source) = ", settings, re.MULTILINE)) == 2
