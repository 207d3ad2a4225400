"""Check a limit on address space (``ulimit -v``) before a numerical library is imported.

Numerical libraries reserve memory when they are loaded and at their first product. If that fails, OpenBLAS exits the
process or retries forever; neither can be caught.
"""

from __future__ import annotations

import sys

from Neuron_Selection.errors import MachineError

# MiB of address space in which a process that uses it can start, measured on Linux with one thread
_NEEDED = {"numpy": 160, "scipy": 350, "torch": 700}


def require_address_space(library: str) -> None:
    """Check that a library that is not imported yet fits into the address space.

    :param library: numpy, scipy or torch
    :raises MachineError: the limit is lower than what the library needs
    """
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    needed = _NEEDED[library]
    if library not in sys.modules and limit != resource.RLIM_INFINITY and limit < needed << 20:
        raise MachineError(
            f"{library} needs about {needed} MiB of address space, the limit is {limit >> 20} MiB",
            field="out of memory",
            hint="ulimit -v",
        )
