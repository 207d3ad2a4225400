"""Compare two versions of the suite: the same commands on the example agent, every output file byte by byte.

Differences that a new version may have are masked in metadata before the comparison, and the table lists them: the
suite's version, the command as typed, the versions of libraries, the renamed words of the engines, and the hash of an
input whose own metadata were masked.

    python benchmarks/compare_versions.py                 # this checkout against version 0.1.0
    python benchmarks/compare_versions.py --old ../other  # against another checkout, or any git revision
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION_0_1_0 = "c0d069e"
SPEC = "q_net.0:5,6,7;q_net.2:10,11"
PATCH = ("--target_input", "corrupted_inputs.json", "--source_activations", "clean_activations.npz")
TEN_IDS = ("--input_ids", "@ten_ids.txt")
EXPERIMENTS, SALIENCY = "Neuron_Selection/ExperimentTooling", "SaliencyTooling/InitialGradients"
WEIGHTS, PAIRS = "Parameter_Selection/PerturbationTooling", "Neuron_Selection/ObservationTooling"
ANALYSIS = "Neuron_Selection/AnalysisTooling/analyze_metrics.py"
GRADIENTS = ("--average_gradients_path", "gradient_analysis/average_gradients.json")
SUMMARY = ("--cross_metric_path", "patching_results/cross_metric_summary.json")

# Run in this order inside a copy of the example agent: later commands read what earlier ones wrote. Where the name
# ends in "(stdout)", the command writes no file, and what it prints is compared.
COMMANDS: dict[str, Sequence[str]] = {
    "inspect agent (stdout)": ("Neuron_Selection/inspect_agent.py", "AGENT", "--json"),
    "extract": ("activation_extraction.py",),
    "extract, numpy": ("activation_extraction.py", "--engine", "fast", "--output_dir", "numpy_logging"),
    "differences (stdout)": ("Neuron_Selection/find_different_neurons.py", "--json"),
    "patch": ("activation_patching.py", *PATCH, "--patch_spec", SPEC, "q_net.2:all"),
    "patch, numpy": (
        "activation_patching.py", *PATCH, "--patch_spec", SPEC, "--engine", "fast", "--output_prefix", "numpy",
    ),
    "patch by input": ("activation_patching.py", "--direction", "both", "--patch_spec", SPEC, "--by_input", *TEN_IDS),
    "ablate mean": (
        "activation_patching.py", "--target_input", "clean_inputs.json", "--ablate", "mean", "--patch_spec", SPEC,
        "--output_prefix", "ablated_mean",
    ),
    "ablate noise": (
        "activation_patching.py", "--target_input", "clean_inputs.json", "--ablate", "noise=2", "--patch_spec", SPEC,
        "--output_prefix", "ablated_noise", "--seed", "3", "--engine", "fast",
    ),
    "definitions": (
        f"{EXPERIMENTS}/generate_definitions.py", "--type", "groups", "--group_size", "16", "--random_sets", "2",
        "--output", "groups.json",
    ),
    "sweep": (f"{EXPERIMENTS}/run_experiments.py",),
    "sweep, torch": (
        f"{EXPERIMENTS}/run_experiments.py", "--engine", "hooks", "--definitions", "groups.json", "--output_prefix",
        "groups",
    ),
    "sweep of ablations": (
        f"{EXPERIMENTS}/run_experiments.py", "--ablate", "resample", "--definitions", "groups.json", "--output_prefix",
        "ablations", "--by_input", "--output_dir", "ablation_results", *TEN_IDS,
    ),
    "analysis": (ANALYSIS,),
    "analysis of groups": (ANALYSIS, "--sweep", "groups.npz", "--output_dir", "group_analysis"),
    "analysis by input": (ANALYSIS, "--by_input", "--output_dir", "by_input_analysis"),
    "minimal sets": (f"{EXPERIMENTS}/find_minimal_sets.py",),
    "minimal sets, proofs": (
        f"{EXPERIMENTS}/find_minimal_sets.py", "--goal", "flip", "--budget", "200", "--direction", "noising",
        "--share", "0.9", "--output_prefix", "proofs", *TEN_IDS,
    ),
    "gradients": (f"{SALIENCY}/gradients.py",),
    "gradients, npz": (f"{SALIENCY}/gradients.py", "--format", "npz"),
    "average": (f"{SALIENCY}/average.py", "--gradients_path", "gradient_analysis/weight_gradients.json"),
    "candidates": (f"{SALIENCY}/extract.py", *SUMMARY, *GRADIENTS),
    "saliency in one": ("SaliencyTooling/initial_test.py", "--format", "npz", "--output_dir", "saliency_in_one"),
    "perturb": (f"{WEIGHTS}/perturb_weights.py",),
    "perturb by hand": (
        f"{WEIGHTS}/perturb_weights.py", "--weights", "q_net.0.weight[61,5]; q_net.2.weight[0,3]", "--mode", "add",
        "--values", "0.5", "-1", "--output_prefix", "by_hand", *TEN_IDS,
    ),
    "smallest flips": (f"{WEIGHTS}/find_smallest_flips.py",),
    "write agent": (
        f"{WEIGHTS}/write_agent.py", "--edits", "q_net.0.weight[61,5]=0.25", "--output", "edited/edited.zip",
    ),
    "generate pairs": (
        f"{PAIRS}/generate_pairs.py", "--agent_path", "AGENT/pairs", "--n_pairs", "5", "--n_env_seeds", "40",
    ),
    "verify pairs (stdout)": (f"{PAIRS}/verify_pairs.py", "--agent_path", "AGENT/pairs", "--json"),
    "draw pairs": (f"{PAIRS}/draw_pairs.py", "--agent_path", "AGENT/pairs"),
}  # fmt: skip

MASKED_KEYS = ("suite_version", "command", "libraries")
ENGINE_WORDS = {
    '"fast"': '"numpy"',
    '"hooks"': '"torch"',
    "the fast engine": "the numpy engine",
    "engine fast: numpy, float64": "engine numpy, float64",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one command did: exit code, wall seconds, the files it wrote or changed."""

    code: int
    seconds: float
    files: dict[str, bytes]
    message: str


def main() -> int:
    """Run all commands in both checkouts, print the table, and say whether anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", default=VERSION_0_1_0, help="a checkout or a git revision (default: version 0.1.0)")
    parser.add_argument("--new", default=str(ROOT), help="a checkout or a git revision (default: this one)")
    parser.add_argument("--only", help="compare only commands whose name contains this text; all are run")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, checkout(args.old) as old, checkout(args.new) as new:
        before, after = (outcomes(root, Path(temporary)) for root in (old, new))
    shown = {name for name in COMMANDS if not args.only or args.only in name}
    return print_table({name: (before[name], after[name]) for name in COMMANDS if name in shown})


@contextmanager
def checkout(where: str) -> Iterator[Path]:
    """A checkout as it is, or a git revision in a temporary worktree."""
    if Path(where).is_dir():
        yield Path(where).resolve()
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "worktree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", folder, where], check=True, cwd=ROOT)
        try:
            yield folder
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", folder], check=True, cwd=ROOT)


def outcomes(root: Path, temporary: Path) -> dict[str, Outcome]:
    """Every command of a checkout, in a fresh copy of the example agent that has the same path in both versions."""
    agent = temporary / "agent"
    shutil.rmtree(agent, ignore_errors=True)
    shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", agent)
    for folder in ("pairs", "edited"):
        (agent / folder).mkdir()
    shutil.copy(agent / "agent.zip", agent / "pairs")
    ids = list(json.loads((agent / "activation_inputs" / "clean_inputs.json").read_text()))[:10]
    (agent / "ten_ids.txt").write_text("\n".join(ids) + "\n")
    done = {}
    for name, words in COMMANDS.items():
        print(f"{root}: {name}", file=sys.stderr, flush=True)
        done[name] = outcome(root, agent, name, words)
    return done


def outcome(root: Path, agent: Path, name: str, words: Sequence[str]) -> Outcome:
    """Run one command in the agent's folder."""
    named = [word.replace("AGENT", str(agent)) for word in words]
    if not any("AGENT" in word for word in words) and "extract.py" not in words[0] and "--gradients_path" not in words:
        named += ["--agent_path", str(agent)]
    before = contents(agent)
    start = time.perf_counter()
    run = subprocess.run(
        [sys.executable, str(root / named[0]), *named[1:], "--quiet"],
        cwd=agent, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    files = {path: data for path, data in contents(agent).items() if before.get(path) != data}
    if name.endswith("(stdout)"):
        files["stdout"] = run.stdout
    return Outcome(code=run.returncode, seconds=seconds, files=files, message=run.stderr.decode().strip()[-200:])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def print_table(pairs: dict[str, tuple[Outcome, Outcome]]) -> int:
    """One line a command, then what was masked and what differs; 1 where anything differs or failed.

    A command that neither version can run counts as a failure: it would compare nothing.
    """
    faults: list[str] = []
    masked: dict[str, int] = {}
    hashes: dict[str, str] = {}
    compared = 0
    print(f"{'command':<26}{'exit':>6}{'files':>7}{'identical':>11}{'masked':>8}{'differ':>8}{'old s':>8}{'new s':>8}")
    for name, (old, new) in pairs.items():
        counts = {"identical": 0, "masked": 0, "differ": 0}
        paths = old.files.keys() | new.files.keys()
        for path in sorted(paths, key=lambda path: (path.endswith(".meta.json"), path)):
            verdict, what = compare(path, old.files.get(path), new.files.get(path), hashes)
            counts[verdict] += 1
            if verdict == "masked":
                hashes[sha256(old.files[path]).hexdigest()] = sha256(new.files[path]).hexdigest()
            for word in what if verdict == "masked" else ():
                masked[word] = masked.get(word, 0) + 1
            faults += [f"{name}: {path}: {word}" for word in what if verdict == "differ"]
        if old.code or new.code:
            faults.append(f"{name}: exit codes {old.code} and {new.code}: {old.message or new.message}")
        elif not counts["identical"] + counts["masked"] + counts["differ"]:
            faults.append(f"{name}: no output to compare")
        compared += sum(counts.values())
        numbers = f"{len(new.files):>7}{counts['identical']:>11}{counts['masked']:>8}{counts['differ']:>8}"
        print(f"{name:<26}{f'{old.code} {new.code}':>6}{numbers}{old.seconds:>8.2f}{new.seconds:>8.2f}")
    print(f"\n{len(pairs)} commands, {compared} files compared")
    for word, count in sorted(masked.items()):
        print(f"masked in metadata: {word}: {count} files")
    for fault in faults:
        print(f"DIFFERS: {fault}")
    return 1 if faults else 0


def compare(path: str, old: bytes | None, new: bytes | None, hashes: Mapping[str, str]) -> tuple[str, list[str]]:
    """``identical``, ``masked`` with what was masked, or ``differ`` with where.

    :param hashes: old and new SHA-256 of every file that was masked before; metadata of later files name them
    """
    if old is None or new is None:
        return "differ", [f"written by the {'new' if old is None else 'old'} version only"]
    if old == new:
        return "identical", []
    if zipfile.is_zipfile(io.BytesIO(old)) and zipfile.is_zipfile(io.BytesIO(new)):
        return _compared_members(old, new, hashes)
    return _compared_text(path, old, new, hashes)


def _compared_members(old: bytes, new: bytes, hashes: Mapping[str, str]) -> tuple[str, list[str]]:
    with zipfile.ZipFile(io.BytesIO(old)) as before, zipfile.ZipFile(io.BytesIO(new)) as after:
        names = before.namelist()
        if names != after.namelist():
            return "differ", [f"members {names} and {after.namelist()}"]
        results = [(name, *_compared_text(name, before.read(name), after.read(name), hashes)) for name in names]
    differing = [f"{name}: {word}" for name, verdict, what in results if verdict == "differ" for word in what]
    if differing:
        return "differ", differing
    words = sorted({word for _, _, what in results for word in what})
    return ("masked", words) if words else ("differ", ["the archive around equal members"])


def _compared_text(path: str, old: bytes, new: bytes, hashes: Mapping[str, str]) -> tuple[str, list[str]]:
    if old == new:
        return "identical", []
    before, after = text_of(old), text_of(new)
    if before is None or after is None:
        return "differ", [f"{len(old)} and {len(new)} bytes, not text"]
    (before, first), (after, second) = (
        masked_metadata(text, hashes, whole=path.endswith(".meta.json")) for text in (before, after)
    )
    if before == after:
        return "masked", sorted({key for key in first.keys() | second.keys() if first.get(key) != second.get(key)})
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after)))
    around = slice(max(at - 60, 0), at + 60)
    return "differ", [f"at character {at}: {before[around]!r} and {after[around]!r}"]


def text_of(data: bytes) -> str | None:
    """The text of a JSON file, or of an npy member that holds JSON; None for other bytes."""
    if data.startswith(b"\x93NUMPY"):
        header = 10 + int.from_bytes(data[8:10], "little")
        body = data[header:]
        if b"<U" in data[:header]:
            return body.decode("utf-32-le", "replace")
        data = body
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def masked_metadata(text: str, hashes: Mapping[str, str], *, whole: bool) -> tuple[str, dict[str, str]]:
    """The text with what may differ masked inside its metadata, engine words everywhere; every other character is kept.

    :param whole: the document is metadata from end to end
    :return: the masked text, and what was masked by key
    """
    taken: dict[str, str] = {}
    for word, now in ENGINE_WORDS.items():
        pattern, replaced = re.escape(word), now
        if word.startswith('"'):
            pattern, replaced = rf'("(?:engine|gradients_by)":\s*){word}', rf"\1{now}"
        renamed = re.sub(pattern, replaced, text)
        if renamed != text:
            taken["engine word"] = word
            text = renamed
    start, end = 0, len(text)
    if not whole and not text.lstrip().startswith('{"format"'):
        found = re.search(r'"metadata":\s*', text)
        if found is None:
            return text, taken
        start = found.end()
        end = json.JSONDecoder().raw_decode(text, start)[1]
    inside = text[start:end]
    for key in MASKED_KEYS:
        found = re.search(rf'"{key}":\s*', inside)
        if found:
            stop = json.JSONDecoder().raw_decode(inside, found.end())[1]
            taken[key] = inside[found.end() : stop]
            inside = f"{inside[: found.end()]}MASKED{inside[stop:]}"
    for old, new in hashes.items():
        if old in inside:
            taken["hash of a masked input"] = old
            inside = inside.replace(old, new)
    return text[:start] + inside + text[end:], taken


if __name__ == "__main__":
    sys.exit(main())
