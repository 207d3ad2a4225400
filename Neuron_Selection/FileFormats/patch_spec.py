"""Patch specs, ``"layer:neurons;layer:neurons"``: grammar, parser, formatter.

    spec    = entry (";" entry)* [";"]
    entry   = layer ":" neurons
    neurons = "all" | item ("," item)*
    item    = index | index "-" index        # a range includes both ends

Blanks are allowed around separators. An index is written in the digits 0-9, without a sign. The JSON form is
``{layer: [index, ...] | "all"}``, under the same rules.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, TypeAlias

from Neuron_Selection.errors import UsageError, shown

SPEC_LIMIT = 10_000_000
_ITEM = re.compile(r"([0-9]+)(?:\s*-\s*([0-9]+))?")

Neurons: TypeAlias = tuple[int, ...] | Literal["all"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Range:
    """The neurons from ``first`` to ``last``, both included; expanded only after they are known to exist."""

    first: int
    last: int
    position: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    layer: str
    position: int
    ranges: tuple[_Range, ...] | Literal["all"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchSpec:
    """A spec that parses; ``resolve`` checks which layers and neurons exist."""

    text: str
    entries: tuple[_Entry, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers as written."""
        return tuple(entry.layer for entry in self.entries)

    def resolve(
        self,
        widths: Mapping[str, int],
        *,
        aliases: Mapping[str, str] | None = None,
        refused: Mapping[str, str] | None = None,
    ) -> dict[str, Neurons]:
        """The neurons to patch in each layer, under the layers' canonical names.

        :param widths: number of neurons of each layer that can be patched
        :param aliases: other names of layers
        :param refused: names that exist but cannot be patched, each with the reason
        :raises UsageError: an unknown layer, a layer named twice, an index outside its layer or given twice
        """
        resolved: dict[str, Neurons] = {}
        for entry in self.entries:
            layer = (aliases or {}).get(entry.layer, entry.layer)
            if layer not in widths:
                reason = (refused or {}).get(layer)
                field = f"layer {shown(entry.layer)}" if reason else ""
                problem = reason or f"unknown layer {shown(entry.layer)}"
                raise self._error(entry.position, f"{problem}; {_layer_list(layer, widths)}", field=field)
            if layer in resolved:
                raise self._error(entry.position, f"layer {shown(entry.layer)} is named twice; list its neurons once")
            resolved[layer] = self._resolved(entry, widths[layer])
        return resolved

    def _resolved(self, entry: _Entry, width: int) -> Neurons:
        if entry.ranges == "all":
            return "all"
        listed: dict[int, None] = {}
        for part in entry.ranges:
            if part.last >= width:
                found = f"neuron {shown(max(part.first, width))} in {entry.layer}"
                raise self._error(part.position, found=found, expected=f"0..{width - 1}")
            for neuron in range(part.first, part.last + 1):
                if neuron in listed:
                    raise self._error(part.position, f"neuron {neuron} of {entry.layer} is named twice")
                listed[neuron] = None
        return tuple(listed)

    def _error(self, position: int, problem: str = "", **parts: str) -> UsageError:
        return _caret_error(self.text, position, problem, **parts)


def parse_patch_spec(spec: str | Mapping[str, Any]) -> PatchSpec:
    """Parse a spec in its text form or its JSON form.

    :raises UsageError: for the text form, with the spec and a caret under the position
    """
    return _parse_text(spec) if isinstance(spec, str) else _parse_mapping(spec)


def format_patch_spec(patch: Mapping[str, Iterable[int] | str]) -> str:
    """The text form, in which three or more consecutive neurons are a range; ``parse_patch_spec`` reads it back."""
    return ";".join(
        f"{layer}:{neurons if isinstance(neurons, str) else ','.join(_in_ranges(neurons))}"
        for layer, neurons in patch.items()
    )


def _in_ranges(neurons: Iterable[int]) -> Iterator[str]:
    for _, run in groupby(enumerate(neurons), key=lambda numbered: numbered[1] - numbered[0]):
        indices = [index for _, index in run]
        if len(indices) > 2:
            yield f"{indices[0]}-{indices[-1]}"
        else:
            yield from map(str, indices)


def patch_configuration(patch: Mapping[str, Neurons]) -> dict[str, list[int] | str]:
    """The JSON form used in results: ``{layer: [index, ...] | "all"}``."""
    return {layer: neurons if isinstance(neurons, str) else list(neurons) for layer, neurons in patch.items()}


def experiment_name(number: int, patch: Mapping[str, Any]) -> str:
    """``exp_<n>_<layer>`` with n counted from 1; several layers are joined by underscores."""
    return f"exp_{number}_{'_'.join(patch)}"


def _parse_text(text: str) -> PatchSpec:
    if len(text) > SPEC_LIMIT:
        raise UsageError(file="patch spec", found=f"{len(text):,} characters", expected=f"at most {SPEC_LIMIT:,}")
    if not text.replace(";", "").strip():
        raise _caret_error(text, 0, "empty patch spec", expected="'layer:neurons;layer:neurons'")
    parts = text.split(";")
    if not parts[-1].strip():
        parts.pop()
    entries: list[_Entry] = []
    start = 0
    for part in parts:
        entries.append(_parse_entry(text, part, start))
        start += len(part) + 1
    return PatchSpec(text=text, entries=tuple(entries))


def _parse_entry(text: str, part: str, start: int) -> _Entry:
    layer, colon, neurons = part.partition(":")
    position = start + len(layer) - len(layer.lstrip())
    if not part.strip():
        raise _caret_error(text, start, found="nothing between two ';'", expected="'layer:neurons'")
    if not colon:
        raise _caret_error(text, position, "':' is missing", expected="'layer:neurons'")
    if not layer.strip():
        raise _caret_error(text, start, "the layer before ':' is missing")
    if not neurons.strip():
        raise _caret_error(
            text, start + len(layer) + 1, "the neurons after ':' are missing", expected="'all' or indices"
        )
    start += len(layer) + 1
    if neurons.strip() == "all":
        return _Entry(layer=layer.strip(), position=position, ranges="all")
    ranges: list[_Range] = []
    for item in neurons.split(","):
        place = start + len(item) - len(item.lstrip())
        ranges.append(_parse_item(text, item.strip(), place))
        start += len(item) + 1
    return _Entry(layer=layer.strip(), position=position, ranges=tuple(ranges))


def _parse_item(text: str, item: str, place: int) -> _Range:
    if not item:
        raise _caret_error(text, place, found="nothing", expected="a neuron index")
    if item == "all":
        raise _caret_error(text, place, "'all' cannot be combined with indices")
    match = _ITEM.fullmatch(item)
    if match is None:
        expected = "a neuron index in the digits 0-9, a range such as 5-10, or 'all'"
        raise _caret_error(text, place, found=shown(item), expected=expected)
    if max(len(part or "") for part in match.groups()) > 18:
        raise _caret_error(text, place, found=f"a neuron index of {len(item)} digits", expected="a smaller one")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise _caret_error(text, place, found=f"the range {item}", expected="its first index to be the smaller one")
    return _Range(first=first, last=last, position=place)


def _parse_mapping(spec: Any) -> PatchSpec:
    if not isinstance(spec, Mapping):
        raise UsageError(file="patch spec", found=shown(spec), expected="text or an object {layer: [indices] | 'all'}")
    if not spec:
        raise UsageError("contains no layers", file="patch spec", expected="{layer: [indices] | 'all'}")
    entries: list[_Entry] = []
    for layer, neurons in spec.items():
        if not isinstance(layer, str):
            raise UsageError(file="patch spec", found=f"layer {shown(layer)}", expected="its name as text")
        entries.append(_Entry(layer=layer, position=-1, ranges=_ranges_from(layer, neurons)))
    return PatchSpec(text="", entries=tuple(entries))


def _ranges_from(layer: str, neurons: Any) -> tuple[_Range, ...] | Literal["all"]:
    where = shown(layer)
    if isinstance(neurons, str):
        if neurons == "all":
            return "all"
        raise UsageError(
            file="patch spec", field=where, found=f"the text {shown(neurons)}", expected="a list of indices or 'all'"
        )
    if neurons is None or isinstance(neurons, Mapping | bytes | int | float):
        raise UsageError(file="patch spec", field=where, found=shown(neurons), expected="a list of indices or 'all'")
    try:
        listed = list(neurons)
    except TypeError as error:
        raise UsageError(
            file="patch spec", field=where, found=shown(neurons), expected="a list of indices or 'all'"
        ) from error
    if not listed:
        raise UsageError("contains no neurons", file="patch spec", field=where, expected="at least one, or 'all'")
    ranges: list[_Range] = []
    for neuron in listed:
        is_bool = isinstance(neuron, bool) or type(neuron).__name__ == "bool_"  # of numpy 1
        try:  # numpy integers support it; floats and text do not
            index = -1 if is_bool else operator.index(neuron)
        except TypeError:
            index = -1
        if index < 0:
            raise UsageError(file="patch spec", field=where, found=shown(neuron), expected="a neuron index from 0")
        ranges.append(_Range(first=index, last=index, position=-1))
    return tuple(ranges)


def _layer_list(layer: str, widths: Mapping[str, int]) -> str:
    near = difflib.get_close_matches(layer, widths, n=1, cutoff=0.6)
    suggestion = f"did you mean {near[0]}? " if near else ""
    listed = ", ".join(f"{name} ({width})" for name, width in widths.items())
    return f"{suggestion}layers (neurons): {listed}"


def _caret_error(text: str, position: int, problem: str = "", **parts: str) -> UsageError:
    """The error with the spec and a caret; a long spec is cut to the surroundings of the position."""
    detail: tuple[str, ...] = ()
    if position >= 0:
        start = max(0, min(position - 40, len(text) - 100))
        excerpt = "".join(c if c.isprintable() else "?" for c in text[start : start + 100])
        detail = (f"  {excerpt}", "  " + " " * (position - start) + "^")
    return UsageError(problem, file="patch spec", detail=detail, **parts)
