"""An opened agent: its folder, its zip read and checked, its layers; its network is built when it is first used."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from Neuron_Selection.address_space import require_address_space
from Neuron_Selection.errors import EngineError, InputError, UsageError, shown
from Neuron_Selection.FileFormats.activations import Activations
from Neuron_Selection.FileFormats.agent_zip.agent_folder import ACTIVATIONS, INPUTS, find_agent, warn_of_normalizer
from Neuron_Selection.FileFormats.agent_zip.agent_zip import read_agent_zip
from Neuron_Selection.FileFormats.agent_zip.spaces import Space
from Neuron_Selection.FileFormats.agent_zip.vec_normalize import VecNormalizeStatistics, read_vec_normalize
from Neuron_Selection.FileFormats.inputs import Inputs, inputs_from_arrays, load_inputs
from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS, run_metadata
from Neuron_Selection.FileFormats.readable_activations import open_activations
from Neuron_Selection.FileFormats.scores import scores_metadata
from Neuron_Selection.FileFormats.storage.atomic_files import is_there
from Neuron_Selection.flag_types import ENGINES, engine_name
from Neuron_Selection.PatchingTooling.agent.algorithms import has_action_masks, warn_of_masks
from Neuron_Selection.PatchingTooling.agent.custom_classes import CustomClasses
from Neuron_Selection.PatchingTooling.agent.layers import Layer, LayerTable, mlp_layers
from Neuron_Selection.PatchingTooling.agent.network import Network
from Neuron_Selection.PatchingTooling.agent.policy_arguments import architecture_of
from Neuron_Selection.PatchingTooling.agent.stored_sizes import refuse_nonfinite

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
    from Neuron_Selection.PatchingTooling.torch_network.network import TorchNetwork

LIBRARIES = ("numpy", "torch", "stable-baselines3", "gymnasium")


class OpenedAgent:
    """An agent as every room uses it.

    :param agent_path: an agent folder or a zip
    :param engine: ``torch``, forward hooks on the agent's real network, which is the definition; ``numpy``, the same
        numbers in float64 for MLPs; ``auto``, numpy where it applies, else torch in float64
    :param device: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``
    :param dtype: ``float32`` as the agent was trained, or ``float64``; numpy always computes in float64
    :param trust: names of custom classes (``module.Class``) that may be imported
    :param features_extractor: your own copy of the agent's custom one, ``FILE.py:Class`` or the class
    :param activation_fn: the same for its activation function
    :param policy: the same for its policy
    :param vecnormalize: a ``vecnormalize.pkl``: inputs are raw observations, and are normalised with its statistics; a
        bare name is looked up in the agent folder first. None: inputs are what the network receives
    :param allow_nonfinite: load weights that are NaN or infinite
    :raises InputError: the zip cannot be read, or its algorithm is not supported
    :raises UntrustedError: the network has custom classes that are not trusted, or ``vecnormalize`` would run code
    :raises EngineError: ``numpy`` was named and does not apply
    """

    def __init__(
        self,
        agent_path: str | Path,
        *,
        engine: str = "torch",
        device: str = "cpu",
        dtype: str | None = None,
        trust: str | Sequence[str] = (),
        features_extractor: str | type | None = None,
        activation_fn: str | type | None = None,
        policy: str | type | None = None,
        vecnormalize: str | Path | None = None,
        allow_nonfinite: bool = False,
    ) -> None:
        engine = engine_name(engine)
        if engine not in ENGINES:
            raise UsageError(field="engine", found=shown(engine), expected="auto, numpy or torch")
        if dtype not in (None, "float32", "float64"):
            raise UsageError(field="dtype", found=shown(dtype), expected="float32 or float64")
        has_numpy_settings = dtype != "float32" and device in ("cpu", "auto")
        if engine == "numpy" and not has_numpy_settings:
            raise EngineError("engine numpy computes in float64 on the cpu only; use --engine torch for others")
        self.folder = find_agent(agent_path)
        self.vecnormalize = None if vecnormalize is None else str(vecnormalize)
        if vecnormalize is None:
            warn_of_normalizer(self.folder)
        self.agent_zip = read_agent_zip(self.folder.zip_path)
        self.normalizer = self._normalizer()
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
        self.engine, self.engine_reason = engine, "as requested"
        if engine == "auto":
            self.engine, self.engine_reason = self._choose_engine(has_numpy_settings=has_numpy_settings)
        if engine == "numpy":
            _ = self.numpy_network  # what it cannot compute is refused at once
            self.engine_reason = "an MLP"
        if engine == "auto" and self.engine == "torch":
            dtype = dtype or "float64"
        self.dtype = dtype or ("float32" if engine == "torch" else "float64")
        self.stored_dtype = np.dtype(dtype or "float32")  # of the activations that files hold

    def _normalizer(self) -> VecNormalizeStatistics | None:
        if self.vecnormalize is None:
            return None
        path = self.folder.find(self.vecnormalize, ".", hint="--vecnormalize names a file saved by VecNormalize.save")
        own = self.folder.folder / self.vecnormalize  # such as ENV/vecnormalize.pkl in a run of rl_zoo
        if not is_there(path) and is_there(own):
            path = own
        return read_vec_normalize(path, self.agent_zip.observation_space)

    def _choose_engine(self, *, has_numpy_settings: bool) -> tuple[str, str]:
        """The engine of ``auto``, and why."""
        if not has_numpy_settings:
            return "torch", "a device or dtype that numpy does not have"
        try:
            _ = self.numpy_network
        except EngineError as error:
            return "torch", f"{error.field}: found {error.found}"
        return "numpy", "an MLP"

    @cached_property
    def torch_network(self) -> TorchNetwork:
        """The agent's real network; torch and Stable-Baselines3 are imported when it is first used."""
        require_address_space("torch")
        from Neuron_Selection.PatchingTooling.torch_network.sb3_policy import build_torch_network

        return build_torch_network(
            self.agent_zip, self.architecture, self.custom_classes, device=self.device, dtype=self.dtype
        )

    @cached_property
    def numpy_network(self) -> NumpyNetwork:
        """The network in numpy.

        :raises EngineError: the network is not an MLP that numpy computes
        """
        from Neuron_Selection.PatchingTooling.numpy_network.loading import build_numpy_network

        return build_numpy_network(self.agent_zip, self.architecture)

    @property
    def network(self) -> Network:
        """The network of the chosen engine."""
        return self.numpy_network if self.engine == "numpy" else self.torch_network

    @property
    def device_name(self) -> str:
        """Where the network is, with ``auto`` resolved.

        :raises MachineError: a device that this machine lacks
        """
        if self.engine == "numpy" or self.device == "cpu":
            return self.device
        from Neuron_Selection.PatchingTooling.torch_network.sb3_policy import torch_device

        return str(torch_device(self.device))

    @cached_property
    def layer_table(self) -> LayerTable:
        """Every name in the network; of an MLP it is known before the network is built."""
        if self.engine == "numpy":
            return self.numpy_network.layers
        return mlp_layers(self.architecture, self.agent_zip.observation_space) or self.torch_network.layers

    @property
    def online_weights(self) -> dict[str, np.ndarray]:
        """Every tensor of the network, under the name its parameter has there: ``q_net.0.weight``."""
        return self.agent_zip.network_tensors

    def layers(self) -> dict[str, Layer]:
        """Every layer that can be recorded or patched, in the order in which they fire."""
        return dict(self.layer_table.layers)

    def inputs(self, inputs: Any) -> Inputs:
        """Inputs from a file or arrays, normalised if the agent was opened with ``vecnormalize``.

        :param inputs: a file, ``{id: observation}``, or a batch (n, *shape) whose ids are "0", "1", ...;
            ``Inputs`` that this method returned are returned unchanged
        """
        if isinstance(inputs, Inputs):
            return inputs
        if isinstance(inputs, str | Path):
            return self.inputs_in(self.folder.find(str(inputs), INPUTS))
        return self._as_run(inputs_from_arrays(inputs, self._raw_space))

    def inputs_in(self, path: Path) -> Inputs:
        """Inputs from the file with exactly this path, normalised in the same way."""
        n_masked = self.architecture.n_actions if has_action_masks(self.agent_zip) else None
        return self._as_run(load_inputs(path, self._raw_space, n_masked=n_masked))

    @property
    def _raw_space(self) -> Space:
        """The space of the observations in files."""
        space = self.agent_zip.observation_space
        return space if self.normalizer is None else self.normalizer.raw_space(space)

    def _as_run(self, raw: Inputs) -> Inputs:
        """The inputs as the network gets them, with a warning if masks are missing.

        Those that were recorded normalised, with the same statistics, are not normalised again.
        """
        if raw.action_masks is None and has_action_masks(self.agent_zip):
            warn_of_masks(raw.where)
        if self.normalizer is None or raw.normalised_with == self.normalizer.sha256:
            return raw
        if raw.normalised_with is not None:
            found = f"inputs normalised with statistics {raw.normalised_with[:12]}"
            expected = f"raw ones, or those of {self.normalizer.path.name} ({self.normalizer.sha256[:12]})"
            raise InputError(raw.where, "normalised_with", found=found, expected=expected)
        return replace(raw, observations=self.normalizer.normalised(raw.observations))

    def q_values(self, inputs: Any) -> np.ndarray:
        """One score for each action, (n, n_actions), in the agent's dtype, rows in the order of the inputs."""
        return self.network.scores(self.inputs(inputs).observations)

    def activations(self, inputs: Any, *, layers: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Outputs of layers.

        :param layers: names; None means every layer with parameters or an activation function
        :return: layer to (n, *shape), rows in the order of the inputs
        """
        chosen = self.layer_table.chosen(layers)
        return self.network.activations(self.inputs(inputs).observations, chosen)

    def stored_run(self, name: str | Path) -> Activations:
        """A run's activations from an npz or a readable file."""
        return open_activations(self.folder.find(str(name), ACTIVATIONS), self.layer_table.all_names)

    @property
    def scores_described(self) -> list[str]:
        """A line for the console on what the scores are; empty for Q-values that the network itself outputs."""
        head = self.architecture.head
        if head.n_quantiles:
            return [f"scores: {head.scores}, the mean of {head.n_quantiles} quantiles of each action"]
        return [f"scores: {name}" for name in scores_metadata(head.scores).values()]

    @property
    def normalisation_described(self) -> dict[str, Any]:
        """The decisive setting ``vecnormalize`` of a run; empty if observations are not normalised."""
        if self.normalizer is None:
            return {}
        return {"vecnormalize": {"file": self.normalizer.path.name, "sha256": self.normalizer.sha256}}

    def metadata(self, run: Mapping[str, Any], *, command: Mapping[str, Any]) -> dict[str, Any]:
        """The metadata of a run with these decisive settings.

        :param command: of the run, for people; the agent's path and the flags on its custom classes and on
            VecNormalize are added
        """
        custom = self.custom_classes
        trust: dict[str, Any] = {"trust": list(custom.trust)} if custom.trust else {}
        copies = {name: copy for name, copy in custom.copies.items() if isinstance(copy, str)}
        typed = {} if self.vecnormalize is None else {"vecnormalize": self.vecnormalize}
        command = {**command, "agent_path": str(self.folder.folder), **trust, **copies, **typed}
        uses_torch = self.engine == "torch"
        of_torch = {"chunk_rows": CHUNK_ROWS, "mkl_cbwr": os.environ.get("MKL_CBWR")} if uses_torch else {}
        numerics = {
            "engine": self.engine,
            "device": self.device_name,
            "dtype": self.dtype,
            **of_torch,
            "custom_classes": self.custom_classes.described,
            **scores_metadata(self.architecture.head.scores),
            **self.normalisation_described,
        }
        libraries = LIBRARIES if uses_torch else LIBRARIES[:1]
        return run_metadata(command=command, run={**run, **numerics}, agent=self.agent_zip, libraries=libraries)


def open_agent(agent_path: str | Path, *, engine: str = "auto", **options: Any) -> OpenedAgent:
    """Open an agent for many experiments, in float64 unless ``dtype`` says otherwise.

    :param options: as for ``OpenedAgent``
    """
    if engine_name(engine) == "torch":
        options = {**options, "dtype": options.get("dtype") or "float64"}
    return OpenedAgent(agent_path, engine=engine, **options)
