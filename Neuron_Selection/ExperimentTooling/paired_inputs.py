"""The clean and the corrupted inputs of many pairs: the same ids in the same order; unmatched ids are an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent


def paired_inputs(
    agent: OpenedAgent, *, clean: Any, corrupted: Any, input_ids: Sequence[str] | None
) -> tuple[Inputs, Inputs]:
    """Both runs' inputs, the corrupted ones in the order of the clean ones.

    :param clean: an inputs file or arrays, like ``corrupted``
    :param input_ids: only these pairs; None means all, and then neither side may have more
    :raises InputError: an id that is missing on one side
    """
    first, second = agent.inputs(clean), agent.inputs(corrupted)
    first = first.selected(input_ids)
    if input_ids is None and len(second.ids) != len(first.ids):
        found, expected = f"{len(second.ids)} inputs", f"the {len(first.ids)} ids of the clean inputs"
        raise InputError(second.where, found=found, expected=expected, hint="or name some with --input_ids")
    return first, second.selected(first.ids)


def pairs_metadata(clean: Inputs, corrupted: Inputs) -> dict[str, Any]:
    """What identifies the content of both, and whether action masks were used, for the metadata of a run."""
    has_masks = any(inputs.action_masks is not None for inputs in (clean, corrupted))
    masks = {"action_masks": True} if has_masks else {}
    return {"clean_sha256": clean.sha256, "corrupted_sha256": corrupted.sha256, **masks}
