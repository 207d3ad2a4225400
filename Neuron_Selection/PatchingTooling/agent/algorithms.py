"""The name of the algorithm that trained an agent, and why some algorithms are not supported.

No further field is decoded for it: what is compared are the module of the policy class, the names of the fields in
``data``, the names of the tensors, and the number of critics in ``policy_kwargs``.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection

from Neuron_Selection.errors import SuiteWarning
from Neuron_Selection.FileFormats.agent_zip.agent_zip import AgentZip
from Neuron_Selection.FileFormats.agent_zip.pickled_data import Name

UNKNOWN = "unknown"
# Packages of one algorithm each. PPO, A2C and TRPO share their policies, as do TD3 and DDPG.
_PACKAGES = {
    "stable_baselines3.dqn.policies": "DQN",
    "stable_baselines3.ppo": "PPO",
    "stable_baselines3.a2c": "A2C",
    "stable_baselines3.sac": "SAC",
    "stable_baselines3.ddpg": "DDPG",
    "sb3_contrib.ars": "ARS",
    "sb3_contrib.common.maskable": "MaskablePPO",
    "sb3_contrib.common.recurrent": "RecurrentPPO",
    "sb3_contrib.crossq": "CrossQ",
    "sb3_contrib.ppo_mask": "MaskablePPO",
    "sb3_contrib.ppo_recurrent": "RecurrentPPO",
    "sb3_contrib.qrdqn": "QR-DQN",
    "sb3_contrib.tqc": "TQC",
    "sb3_contrib.trpo": "TRPO",
}
_ACTOR_CRITIC, _TD3 = "stable_baselines3.common.policies", "stable_baselines3.td3"
# Fields of `data` that only this algorithm has, among those further down; the first match decides.
_FIELDS = (
    ("QR-DQN", {"exploration_fraction", "n_quantiles"}),
    ("DQN", {"exploration_fraction"}),
    ("TRPO", {"cg_max_steps"}),
    ("TRPO", {"line_search_max_iter"}),
    ("PPO", {"clip_range"}),
    ("A2C", {"gae_lambda"}),
    ("ARS", {"delta_std_schedule"}),
    ("TQC", {"top_quantiles_to_drop_per_net"}),
    ("CrossQ", {"target_entropy", "policy_delay"}),
    ("SAC", {"target_entropy"}),
    ("TD3", {"target_policy_noise"}),
)
_REASONS = {
    "RecurrentPPO": "RecurrentPPO keeps a state between steps",
    "ARS": "the outputs of ARS are neither values nor probabilities of actions",
    **{name: f"{name} has continuous actions" for name in ("SAC", "TD3", "DDPG", "TQC", "CrossQ")},
}


def algorithm_in(agent_zip: AgentZip) -> str:
    """The algorithm that saved the zip, such as ``DQN`` or ``MaskablePPO``; ``UNKNOWN`` if nothing identifies it.

    A custom policy is identified by the fields of ``data``. Those of MaskablePPO are the same as those of PPO, so that
    MaskablePPO with a custom policy is called PPO. DDPG is TD3 with one critic.
    """
    policy = agent_zip.policy_class
    module = policy.module if isinstance(policy, Name) else ""
    if _is_in(module, _ACTOR_CRITIC):
        named = _algorithm_with(agent_zip.data_keys)
        return named if named in ("PPO", "TRPO") else "A2C"
    if _is_in(module, _TD3):
        return _td3_or_ddpg(agent_zip)
    for package, algorithm in _PACKAGES.items():
        if _is_in(module, package):
            return algorithm
    named = _algorithm_with(agent_zip.data_keys)
    if named == "PPO" and any(name.startswith("lstm_actor.") for name in agent_zip.tensors):
        return "RecurrentPPO"
    return _td3_or_ddpg(agent_zip) if named == "TD3" else named


def reason_unsupported(algorithm: str) -> str:
    """Why agents of this algorithm cannot be analysed; "" where there is no reason in principle."""
    return _REASONS.get(algorithm, "")


def has_action_masks(agent_zip: AgentZip) -> bool:
    """Whether the agent was trained with action masks, which restrict its decisions."""
    return algorithm_in(agent_zip) == "MaskablePPO"


def warn_of_masks(where: str) -> None:
    """Warn of inputs without action masks, for an agent that was trained with them."""
    warning = "no action_mask beside the inputs of an agent trained with action masks"
    message = f"{where}: {warning}; the greatest of all logits is taken as the action"
    warnings.warn(SuiteWarning(message), stacklevel=2)


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _algorithm_with(fields: Collection[str]) -> str:
    return next((algorithm for algorithm, own in _FIELDS if own.issubset(fields)), UNKNOWN)


def _td3_or_ddpg(agent_zip: AgentZip) -> str:
    return "DDPG" if agent_zip.policy_kwargs.get("n_critics") == 1 else "TD3"
