"""The parser of command lines that all scripts share."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from Neuron_Selection.errors import UsageError, shown

_NEGATIVE_NUMBER = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


class SuiteParser(argparse.ArgumentParser):
    """An argparse parser that takes whole flag names only, each at most once, and raises errors of one line."""

    def __init__(self, *, description: str, example: str, **more: Any) -> None:
        super().__init__(
            usage="%(prog)s [flags]",
            description=description,
            epilog=f"example:\n  {example}",
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
            **more,
        )
        self._negative_number_matcher = _NEGATIVE_NUMBER  # argparse's own pattern takes -1e-3 for a flag

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and exiting."""
        raise UsageError(message, hint="--help lists the flags")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse; a flag given twice is an error, since argparse would silently use the last value."""
        args = list(sys.argv[1:] if args is None else args)
        seen: set[str] = set()
        for flag in possible_flags(args):
            if flag in self._option_string_actions:
                if flag in seen:
                    self.error(f"argument {flag} is given twice")
                seen.add(flag)
        return super().parse_known_args(args, namespace)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            choices = ", ".join(map(str, action.choices))
            raise argparse.ArgumentError(action, f"found {shown(value)}, expected one of {choices}")


def possible_flags(words: Sequence[str]) -> list[str]:
    """The words that may be flags, without ``=VALUE``: all before ``--``."""
    return [word.split("=", 1)[0] for word in (words[: words.index("--")] if "--" in words else words)]


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        """Show the default value unless it is None, False or empty."""
        is_none = action.default is None or action.default is False or action.default == []
        return action.help if is_none else super()._get_help_string(action)
