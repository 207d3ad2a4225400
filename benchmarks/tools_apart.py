"""captum and transformer-lens, installed and run in an environment of their own."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np
from measuring import interleaved, median_ratio
from networks import Case

HERE = Path(__file__).resolve().parent
PYTHON = HERE / ".venv" / "bin" / "python"


def print_tools(case: Case, rounds: int) -> None:
    """A sweep by each tool, compared by way of batched hooks, which both processes measure."""
    from competitors import batched_hooks

    patches = [{name: [n]} for name in case.activations for n in range(case.network.layers.widths[name])]
    ours = interleaved(
        {
            "numpy engine": lambda: case.network.patched_many(case.target, case.every_neuron),
            "batched hooks": lambda: batched_hooks(case.q_net, case.inputs, case.tensors, patches),
        },
        rounds=rounds,
    )
    print(f"\nsweep of {len(patches)} neurons, {len(case.target)} pairs, {case.name}, by other tools")
    reason = installed()
    if reason:
        print(f"not compared: {reason}")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.npz"
        arrays = {"target": case.target, "source": case.other}
        for number, linear in enumerate(case.network.linears):
            weight = linear.columns[: linear.n_inputs, : linear.n_outputs].T
            arrays |= {
                f"weight{number}": weight.astype(np.float32).copy(),
                f"bias{number}": linear.bias[: linear.n_outputs].astype(np.float32),
            }
        np.savez(path, **arrays)  # type: ignore[arg-type]
        command = [str(PYTHON), str(HERE / "other_tools.py"), str(path), str(rounds)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        print(f"not compared: {run.stderr.strip().splitlines()[-1:]}")
        return
    found = json.loads(run.stdout.strip().splitlines()[-1])
    hooks = found.pop("batched hooks")
    share = median_ratio(ours["batched hooks"], ours["numpy engine"])
    print(f"{'':<26}{'CPU ms':>12}{'x ours':>10}")
    print(f"{'numpy engine':<26}{1000 * statistics.median(ours['numpy engine']):>12.2f}{1.0:>10.1f}")
    print(f"{'batched hooks':<26}{1000 * statistics.median(ours['batched hooks']):>12.2f}{share:>10.1f}")
    for name, seconds in found.items():
        if isinstance(seconds, str):
            print(f"{name}: not compared: {seconds}")
        else:
            ratio = median_ratio(seconds, hooks) * share
            print(f"{name:<26}{1000 * statistics.median(seconds):>12.2f}{ratio:>10.1f}")


def installed() -> str:
    """Install the tools unless they are there; why that failed, or nothing."""
    done = HERE / ".venv" / "installed"
    if done.exists():
        return ""
    print("installing captum and transformer-lens into benchmarks/.venv", file=sys.stderr)
    venv.create(HERE / ".venv", with_pip=True)
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "torch==2.13.0", "captum", "transformer-lens"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        return f"pip could not install them ({(run.stderr.strip().splitlines() or ['no reason given'])[-1][:200]})"
    done.touch()
    return ""
