"""An agent with its folder: its zip read, its layers known, the network built when it is first asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from Neuron_Selection.address_space import require_address_space
from Neuron_Selection.errors import EngineError, UsageError, shown
from Neuron_Selection.FileFormats.activations import Activations
from Neuron_Selection.FileFormats.agent_folder import ACTIVATIONS, INPUTS, find_agent
from Neuron_Selection.FileFormats.agent_zip import read_agent_zip
from Neuron_Selection.FileFormats.inputs import Inputs, inputs_from_arrays, load_inputs
from Neuron_Selection.FileFormats.readable_activations import load_npz_or_readable
from Neuron_Selection.FileFormats.run_metadata import CHUNK_ROWS, run_metadata
from Neuron_Selection.PatchingTooling.architecture import architecture_of
from Neuron_Selection.PatchingTooling.custom_classes import CustomClasses
from Neuron_Selection.PatchingTooling.layers import Layer, LayerTable, mlp_layers
from Neuron_Selection.PatchingTooling.stored_sizes import refuse_nonfinite

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.agents import Agent
    from Neuron_Selection.PatchingTooling.engines import Engine

LIBRARIES = ("numpy", "torch", "stable-baselines3", "gymnasium")


class OpenedAgent:
    """An agent as every room uses it.

    :param agent_path: an agent folder or a zip
    :param device: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``
    :param engine: ``hooks`` on the real ``q_net``, the definition; or ``fast``, numpy in float64 for MLPs
    :param dtype: ``float32`` as the agent was trained, or ``float64``; the fast engine computes in float64 always
    :param trust: names of custom classes (``module.Class``) that may be imported
    :param features_extractor: your own copy of the agent's custom one, ``FILE.py:Class`` or the class
    :param activation_fn: the same for its activation function
    :param policy: the same for its policy
    :param allow_nonfinite: load weights that are NaN or infinite
    :raises InputError: the zip cannot be read, or is no DQN
    :raises UntrustedError: the network has custom classes that are not let in
    """

    def __init__(
        self,
        agent_path: str | Path,
        *,
        engine: str = "hooks",
        device: str = "cpu",
        dtype: str | None = None,
        trust: str | Sequence[str] = (),
        features_extractor: str | type | None = None,
        activation_fn: str | type | None = None,
        policy: str | type | None = None,
        allow_nonfinite: bool = False,
    ) -> None:
        if engine not in ("hooks", "fast"):
            raise UsageError(f"engine: found {shown(engine)}, expected hooks or fast")
        if dtype not in (None, "float32", "float64"):
            raise UsageError(f"dtype: found {shown(dtype)}, expected float32 or float64")
        if engine == "fast" and (dtype == "float32" or device not in ("cpu", "auto")):
            raise EngineError("engine fast: found a dtype or device, expected float64 on the cpu, which is all it has")
        self.folder = find_agent(agent_path)
        self.agent_zip = read_agent_zip(self.folder.zip_path)
        self.custom_classes = CustomClasses(
            trust=(trust,) if isinstance(trust, str) else tuple(trust or ()),
            features_extractor=features_extractor,
            activation_fn=activation_fn,
            policy=policy,
        )
        self.architecture = architecture_of(self.agent_zip, self.custom_classes)
        if not allow_nonfinite:
            refuse_nonfinite(self.agent_zip)
        self.device = device
        self.dtype = dtype or ("float64" if engine == "fast" else "float32")
        self.stored_dtype = np.dtype(dtype or "float32")  # of the activations that files hold
        self.engine_name = engine
        if engine == "fast":
            _ = self.engine  # what it cannot compute is refused at once

    @cached_property
    def agent(self) -> Agent:
        """The policy itself; torch and Stable-Baselines3 are imported when it is first asked for."""
        require_address_space("torch")
        from Neuron_Selection.PatchingTooling.agents import build_agent

        return build_agent(self.agent_zip, self.architecture, self.custom_classes, device=self.device, dtype=self.dtype)

    @cached_property
    def engine(self) -> Engine:
        """What runs the network."""
        if self.engine_name == "fast":
            from Neuron_Selection.PatchingTooling.fast_engine import FastEngine
            from Neuron_Selection.PatchingTooling.fast_mlp import fast_mlp

            return FastEngine(network=fast_mlp(self.agent_zip, self.architecture))
        require_address_space("torch")
        from Neuron_Selection.PatchingTooling.hooks_engine import HooksEngine

        return HooksEngine(agent=self.agent)

    @cached_property
    def layer_table(self) -> LayerTable:
        """Every name in the network; of an MLP it is known before the network is built."""
        if self.engine_name == "fast":
            return self.engine.layers
        return mlp_layers(self.architecture, self.agent_zip.observation_space) or self.agent.layers

    @property
    def online_weights(self) -> dict[str, np.ndarray]:
        """Every tensor of the online Q-network, under the name it has there: ``q_net.0.weight``."""
        tensors = self.agent_zip.tensors.items()
        return {name.removeprefix("q_net."): array for name, array in tensors if name.startswith("q_net.")}

    def layers(self) -> dict[str, Layer]:
        """Every layer that can be recorded or patched, in the order in which they fire."""
        return dict(self.layer_table.layers)

    def inputs(self, inputs: Any) -> Inputs:
        """The inputs that a file name or arrays stand for."""
        if isinstance(inputs, Inputs):
            return inputs
        space = self.agent_zip.observation_space
        if isinstance(inputs, str | Path):
            return load_inputs(self.folder.find(str(inputs), INPUTS), space)
        return inputs_from_arrays(inputs, space)

    def q_values(self, inputs: Any) -> np.ndarray:
        """Q-values.

        :param inputs: an inputs file, or arrays
        :return: (n, n_actions), in the experiment's dtype, rows in the order of the inputs
        """
        return self.engine.q_values(self.inputs(inputs).observations)

    def activations(self, inputs: Any, *, layers: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """What layers output.

        :param layers: names; None means every layer with parameters or an activation function
        :return: layer to (n, *shape), rows in the order of the inputs
        """
        chosen = self.layer_table.chosen(layers)
        return self.engine.activations(self.inputs(inputs).observations, chosen)

    def stored_run(self, name: str | Path) -> Activations:
        """A run's activations from an npz or a readable file."""
        return load_npz_or_readable(self.folder.find(str(name), ACTIVATIONS), self.layer_table.all_names)

    def metadata(self, run: Mapping[str, Any], *, command: Mapping[str, Any]) -> dict[str, Any]:
        """The metadata of a run with these decisive settings."""
        uses_torch = self.engine_name == "hooks"
        hooks_only = {"chunk_rows": CHUNK_ROWS, "mkl_cbwr": os.environ.get("MKL_CBWR")} if uses_torch else {}
        libraries = LIBRARIES if uses_torch else LIBRARIES[:1]
        numerics = {
            "engine": self.engine_name,
            "device": str(self.agent.policy.device) if uses_torch and self.device == "auto" else self.device,
            "dtype": self.dtype,
            **hooks_only,
            "custom_classes": self.custom_classes.described,
        }
        return run_metadata(command=command, run={**run, **numerics}, agent=self.agent_zip, libraries=libraries)
