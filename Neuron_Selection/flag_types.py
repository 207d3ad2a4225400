"""Types of flags for argparse: devices, sizes and numbers, parsed strictly."""

from __future__ import annotations

import argparse
import re

from Neuron_Selection.errors import shown
from Neuron_Selection.file_sizes import parse_size

ENGINES = ("auto", "numpy", "torch")
_FORMER_ENGINE_NAMES = {"fast": "numpy", "hooks": "torch"}
DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,3})?", re.ASCII)


def device(text: str) -> str:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``; that the machine has it is checked once torch is imported."""
    if not DEVICE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"found {shown(text)}, expected auto, cpu, cuda or cuda:N")
    return text


def engine_name(text: str) -> str:
    """An engine's name today; version 0.1.0 called them ``fast`` and ``hooks``."""
    return _FORMER_ENGINE_NAMES.get(text, text)


def positive_int(text: str) -> int:
    """A whole number from 1; ``1_0`` and digits other than 0-9 are refused."""
    return _whole_number(text, least=1)


def plot_file(text: str) -> str:
    """A file name that ends in ``.png`` or ``.svg``."""
    if not text.lower().endswith((".png", ".svg")):
        raise argparse.ArgumentTypeError(f"found {shown(text)}, expected a name that ends in .png or .svg")
    return text


def whole_number(text: str) -> int:
    """A whole number from 0."""
    return _whole_number(text, least=0)


def _whole_number(text: str, *, least: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) >= least):
        raise argparse.ArgumentTypeError(f"found {shown(text)}, expected a whole number from {least}")
    return int(text)


def size(text: str) -> int:
    """A number of bytes, such as ``4GB``."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"found {shown(text)}, expected a size such as 4GB") from error


def number(text: str) -> float:
    """A number, including NaN and infinity, which the caller checks for."""
    try:
        return plain_float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"found {shown(text)}, expected a number") from error


def plain_float(text: str) -> float:
    """Parse a float; ``1_0`` and digits other than 0-9 are refused.

    :raises ValueError: text that is not a number
    """
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    return float(text)
