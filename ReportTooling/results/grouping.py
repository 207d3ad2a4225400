"""Groups of agents: by a key of ``agent.json`` in their folders, or by a pattern of their folders' names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.storage.atomic_files import is_there
from Neuron_Selection.FileFormats.storage.json_files import read_edited_json

AGENT_FILE = "agent.json"


def groups_of(folders: Mapping[str, Path], group_by: str | None) -> dict[str, str]:
    """The group of each agent, "" if it has none.

    :param folders: name to folder
    :param group_by: a key of ``agent.json``; or, with a parenthesis, a regular expression that is searched in the
        folder's name, whose first group is the agent's; None for no groups
    :raises UsageError: a pattern that is not a regular expression with a group, or no agent has a group
    :raises InputError: an ``agent.json`` that is not an object, or a value that is not text, a number or a boolean
    """
    if group_by is None:
        return dict.fromkeys(folders, "")
    if "(" in group_by:
        pattern = _pattern(group_by)
        matches = {name: pattern.search(folder.name) for name, folder in folders.items()}
        groups = {name: (match[1] or "") if match else "" for name, match in matches.items()}
    else:
        groups = {name: _value(folder / AGENT_FILE, group_by) for name, folder in folders.items()}
    if not any(groups.values()):
        place = "folder's name" if "(" in group_by else AGENT_FILE
        raise UsageError(f"{shown(group_by)} matches no {place} of the {len(folders)} agents", field="group_by")
    return groups


def _pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        expected = "a regular expression"
        raise UsageError(field="group_by", found=shown(text), expected=expected, hint=str(error)) from error
    if not pattern.groups:
        expected = "a regular expression with a group in parentheses"
        raise UsageError(field="group_by", found=shown(text), expected=expected)
    return pattern


def _value(path: Path, key: str) -> str:
    if not is_there(path):
        return ""
    document = read_edited_json(path)
    if not isinstance(document, dict):
        raise InputError(path, found=shown(document), expected="an object")
    value = document.get(key, "")
    if not isinstance(value, str | int | float):
        raise InputError(path, key, found=shown(value), expected="text, a number, true or false")
    return str(value)
