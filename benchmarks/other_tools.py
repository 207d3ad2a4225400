"""A sweep by captum and by transformer-lens, against batched hooks in the same process.

    python benchmarks/other_tools.py NETWORK.npz ROUNDS

``engine.py`` runs this in an environment of its own, where these tools are installed; it needs nothing of the suite.
Prints JSON: tool to CPU seconds by round, or to the reason why it did not run.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from measuring import interleaved
from torch import nn

torch.set_num_threads(1)


def main() -> None:
    """Measure what can be imported."""
    stored = np.load(sys.argv[1], allow_pickle=False)
    rounds = int(sys.argv[2])
    linear: list[nn.Linear] = []
    while f"weight{len(linear)}" in stored:
        weight, bias = (torch.from_numpy(stored[f"{kind}{len(linear)}"]) for kind in ("weight", "bias"))
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": bias})
        linear.append(layer)
    modules: list[nn.Module] = [linear[0]]
    for layer in linear[1:]:
        modules += [nn.ReLU(), layer]
    net = nn.Sequential(*modules).eval()
    target, other = torch.from_numpy(stored["target"]), torch.from_numpy(stored["source"])
    activations, flowing = [], other
    with torch.no_grad():
        for module in modules:
            flowing = module(flowing)
            activations.append(flowing.clone())
    hidden = range(1, len(modules), 2)
    calls: dict[str, Callable[[], object]] = {"batched hooks": lambda: by_hooks(net, target, activations, hidden)}
    tools = {"captum": captum_sweep, "transformer-lens": lens_sweep}
    made = {name: _made(make, net, target, activations, hidden) for name, make in tools.items()}
    calls |= {name: call for name, call in made.items() if not isinstance(call, str)}
    failed = {name: reason for name, reason in made.items() if isinstance(reason, str)}
    print(json.dumps({**interleaved(calls, rounds=rounds), **failed}))


def _made(make: Callable[..., Callable[[], None]], *arguments: object) -> Callable[[], None] | str:
    """The tool's sweep, or why it does not load."""
    try:
        return make(*arguments)
    except Exception as error:  # noqa: BLE001 - a stranger's tool may fail in any way
        return f"{type(error).__name__}: {error}"[:200]


def by_hooks(net: nn.Sequential, target: torch.Tensor, activations: list[torch.Tensor], hidden: range) -> None:
    """The yardstick: one forward a neuron."""
    with torch.no_grad():
        for position in hidden:
            for neuron in range(activations[position].shape[1]):

                def hook(
                    _module: Any, _inputs: Any, output: Any, position: int = position, neuron: int = neuron
                ) -> Any:
                    output = output.clone()
                    output[:, neuron] = activations[position][:, neuron]
                    return output

                handle = net[position].register_forward_hook(hook)
                net(target)
                handle.remove()


def captum_sweep(
    net: nn.Sequential, target: torch.Tensor, activations: list[torch.Tensor], hidden: range
) -> Callable[[], None]:
    """LayerFeatureAblation, the source's activations as baselines; of one action only, which is all it gives."""
    ablation = importlib.import_module("captum.attr").LayerFeatureAblation
    tools = {position: ablation(net, net[position]) for position in hidden}

    def sweep() -> None:
        with torch.no_grad():
            for position, tool in tools.items():
                tool.attribute(target, layer_baselines=activations[position], target=0)

    return sweep


def lens_sweep(
    net: nn.Sequential, target: torch.Tensor, activations: list[torch.Tensor], hidden: range
) -> Callable[[], None]:
    """HookedRootModule.run_with_hooks, one neuron at a time."""
    lens: Any = importlib.import_module("transformer_lens")
    hook_points: Any = importlib.import_module("transformer_lens.hook_points")

    class Hooked(lens.HookedRootModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = net
            self.points = nn.ModuleDict({str(position): hook_points.HookPoint() for position in hidden})
            self.setup()

        def forward(self, flowing: torch.Tensor) -> torch.Tensor:
            for position, module in enumerate(self.net):
                flowing = module(flowing)
                if position in hidden:
                    flowing = self.points[str(position)](flowing)
            return flowing

    hooked = Hooked()

    def sweep() -> None:
        with torch.no_grad():
            for position in hidden:
                for neuron in range(activations[position].shape[1]):

                    def swap(output: Any, hook: Any, position: int = position, neuron: int = neuron) -> Any:
                        output = output.clone()
                        output[:, neuron] = activations[position][:, neuron]
                        return output

                    hooked.run_with_hooks(target, fwd_hooks=[(f"points.{position}", swap)])

    return sweep


if __name__ == "__main__":
    main()
