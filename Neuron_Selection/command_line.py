"""The command line that all scripts share: flags, signals and exit codes."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from types import FrameType
from typing import NoReturn, Protocol

from Neuron_Selection.address_space import require_address_space
from Neuron_Selection.errors import SuiteError, is_lack_of_memory, one_line, shown
from Neuron_Selection.file_sizes import max_size
from Neuron_Selection.flag_types import ENGINES, engine_name, number, plot_file, positive_int, size, whole_number
from Neuron_Selection.loading_flags import add_loading_flags, agent_options, parse_with_variable
from Neuron_Selection.streams import Console, discard_stdout, open_closed_streams, warnings_on_one_line
from Neuron_Selection.suite_parser import SuiteParser

__all__ = [
    "Console",
    "SuiteParser",
    "add_agent_flags",
    "add_cluster_flag",
    "add_engine_flag",
    "add_input_ids_flag",
    "add_loading_flags",
    "add_plot_flag",
    "add_shared_flags",
    "agent_options",
    "number",
    "positive_int",
    "script",
    "whole_number",
]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def add_shared_flags(parser: argparse.ArgumentParser, *, writes: bool = True) -> None:
    """Add the flags that every script has; ``writes`` adds ``--overwrite``."""
    group = parser.add_argument_group("in every script")
    if writes:
        group.add_argument("--overwrite", action="store_true", help="replace existing output of a different run")
    group.add_argument("--threads", type=positive_int, default=1, help="CPU threads of the numerical libraries")
    group.add_argument(
        "--max_size",
        type=size,
        metavar="SIZE",
        help="limit on the unpacked size of a file, such as 4GB (default: 4 times its own size plus 32 MiB)",
    )
    group.add_argument("--json", action="store_true", help="print the summary as one JSON document")
    group.add_argument("--quiet", action="store_true", help="no progress bars and no remarks on stderr")
    group.add_argument("--debug", action="store_true", help="add tracebacks to errors")


def add_agent_flags(parser: argparse.ArgumentParser, *, policy: str = "--policy") -> None:
    """Add ``--agent_path`` and the flags on how the agent is loaded.

    :param policy: as for ``add_loading_flags``
    """
    parser.add_argument("--agent_path", required=True, help="agent folder (with agent.zip), or a zip")
    add_loading_flags(parser, policy=policy)


def add_input_ids_flag(parser: argparse.ArgumentParser, *, of: str = "inputs") -> None:
    """Add ``--input_ids``; ``FileFormats.inputs.ids_from_arguments`` reads what it collects.

    :param of: what the ids name in this script, inputs or pairs
    """
    parser.add_argument(
        "--input_ids",
        nargs="+",
        metavar="ID",
        help=f"only these {of}: one id per argument (ids may contain commas), or @FILE with one id per line "
        "(default: all)",
    )


def add_cluster_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--cluster_by``, of ``AnalysisTooling.measures.clusters``."""
    parser.add_argument(
        "--cluster_by",
        choices=("auto", "file", "id_seed", "input"),
        default="auto",
        help="which inputs are not independent: those of one cluster in the inputs file, those of one environment seed "
        "in the id, or none; auto means file if the file has clusters, else input",
    )


def add_plot_flag(parser: argparse.ArgumentParser, *, of: str) -> None:
    """Add ``--plot``; ``DrawingTooling.plot_files`` checks and writes it.

    :param of: what the picture shows
    """
    parser.add_argument(
        "--plot", type=plot_file, metavar="FILE", help=f"also draw {of}, into a .png or .svg file (needs matplotlib)"
    )


def add_engine_flag(parser: argparse.ArgumentParser, *, default: str = "torch") -> None:
    """Add ``--engine``."""
    parser.add_argument(
        "--engine",
        type=engine_name,
        choices=ENGINES,
        default=default,
        help="torch: hooks on the real network; numpy: MLPs in float64, without torch; auto: numpy where it applies",
    )


class _Terminated(BaseException):
    """A signal that ends the process, raised as an exception so that temporary files are removed."""


class Script(Protocol):
    """The type of a script's ``main``: command-line arguments in, exit code out."""

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run the script."""
        ...  # a Protocol has no body


def script(
    build_parser: Callable[[], argparse.ArgumentParser],
) -> Callable[[Callable[[argparse.Namespace, Console], None]], Script]:
    """Turn ``main(args, console)`` into ``main(argv=None) -> exit code``.

    0 done; 1 a bug, with its traceback; 2 usage or content; 3 untrusted; 4 the machine; 128 + n signal n.
    """

    def decorate(body: Callable[[argparse.Namespace, Console], None]) -> Script:
        def main(argv: Sequence[str] | None = None) -> int:
            return _run(build_parser(), body, sys.argv[1:] if argv is None else argv)

        main.__doc__ = body.__doc__
        return main

    return decorate


def _run(
    parser: argparse.ArgumentParser, body: Callable[[argparse.Namespace, Console], None], argv: Sequence[str]
) -> int:
    open_closed_streams()
    try:
        with _signals_raised(), warnings_on_one_line():
            args = parse_with_variable(parser, argv)
            for variable in THREAD_VARIABLES:
                os.environ[variable] = str(args.threads)
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # environments draw into arrays, never into a window
            require_address_space("numpy")
            console = Console(quiet=args.quiet, as_json=args.json)
            with max_size(args.max_size), redirect_stdout(sys.stderr):  # custom classes may print; stdout is the result
                body(args, console)
            sys.stdout.flush()
        return 0
    except SuiteError as error:
        return _failed(error.exit_code, str(error), argv, detail=error.detail)
    except KeyboardInterrupt:
        return _failed(128 + signal.SIGINT, "interrupted; no partially written files remain", argv)
    except _Terminated as ended:
        return _failed(128 + int(ended.args[0]), "terminated; no partially written files remain", argv)
    except BrokenPipeError:
        discard_stdout()
        return 128 + signal.SIGPIPE
    except (ImportError, MemoryError, OSError, RuntimeError) as error:
        discard_stdout()
        code_and_message = _machine_error(error)
        if code_and_message is None:
            raise
        return _failed(*code_and_message, argv)


def _machine_error(error: ImportError | MemoryError | OSError | RuntimeError) -> tuple[int, str] | None:
    """Exit code and message of an error of the machine or its installation; None for a bug in this suite."""
    if isinstance(error, ModuleNotFoundError):
        return 4, f"module {error.name} is not installed (pip install -r requirements.txt)"
    if isinstance(error, ImportError):
        if error.path is None or error.path.endswith(".py"):
            return None
        return 4, f"module {error.name} cannot be imported: {error} (memory limit, or a damaged installation)"
    if isinstance(error, MemoryError) or is_lack_of_memory(error):
        return 4, f"out of memory: {error}" if str(error) else "out of memory"
    if isinstance(error, RuntimeError):
        return None
    where = f"{shown(str(error.filename), limit=160, quoted=False)}: " if error.filename is not None else ""
    return 2 if isinstance(error, FileNotFoundError) else 4, f"{where}{error.strerror or error}"


def _failed(code: int, message: str, argv: Sequence[str], *, detail: tuple[str, ...] = ()) -> int:
    if "--debug" in argv:
        traceback.print_exc()
    print(one_line(f"error: {message}"), *detail, sep="\n", file=sys.stderr)
    return code


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Raise on SIGTERM and SIGHUP as on SIGINT, unless they are ignored (``nohup``); handlers are restored after."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, _frame: FrameType | None) -> NoReturn:
        raise _Terminated(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    handled = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, terminate) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
