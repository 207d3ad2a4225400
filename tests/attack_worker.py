"""Read agents' zips under limits, and report as JSON how each ended and what Python was asked to do meanwhile.

Started by test_attacks.py: ``python attack_worker.py HARMLESS.zip``, then a path of an attack a line on stdin. For each
this process makes a copy of itself, in which all that is imported late was imported.
"""

from __future__ import annotations

import codecs
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

MEMORY = 1_500_000_000
CPU_SECONDS = 20
SECONDS = 60
FORBIDDEN = ("exec", "compile", "import", "os.", "subprocess.", "socket.", "pickle.", "ctypes.", "shutil.", "pty.")
HARMLESS_EVENTS = {"os.listdir", "os.scandir"}


def main() -> None:
    from Neuron_Selection.errors import SuiteError
    from Neuron_Selection.FileFormats.agent_zip.agent_zip import read_agent_bytes, read_agent_zip
    from Neuron_Selection.FileFormats.agent_zip.inventory import take_inventory
    from Neuron_Selection.PatchingTooling.agent.custom_classes import CustomClasses
    from Neuron_Selection.PatchingTooling.agent.policy_arguments import architecture_of

    def read(path: Path) -> tuple[int, str]:
        try:
            architecture_of(read_agent_zip(path), CustomClasses())
        except SuiteError as error:
            return error.exit_code, str(error)
        return 0, ""

    def listed(path: Path) -> dict[str, Any]:
        try:
            inventory = take_inventory(path, read_agent_bytes(path))
        except SuiteError as error:
            return {"refused": str(error), "names": {}, "unread": {}, "members": []}
        names = {place: [name[:80] for name in found[:5]] for place, found in inventory.names.items()}
        return {"refused": "", "names": names, "unread": inventory.unread, "members": inventory.members}

    harmless = Path(sys.argv[1])
    assert read(harmless) == (0, "")  # whatever is imported late is imported now
    read(harmless.with_name("broken.zip"))
    assert listed(harmless)["refused"] == ""
    listed(harmless.with_name("broken.zip"))
    codecs.lookup("raw_unicode_escape")  # Python's own, for an opcode of text
    attack = next_attack()
    if attack is None:
        return
    os.chdir(attack.parent)
    events: list[str] = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if (event.startswith(FORBIDDEN) and event not in HARMLESS_EVENTS) or writes:
            events.append(f"{event} {str(arguments[0])[:80]}")

    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    sys.addaudithook(watch)
    start = time.process_time()
    code, message = read(attack)
    inventory = listed(attack)
    seconds = time.process_time() - start
    print(json.dumps({"code": code, "message": message, "events": events, "seconds": seconds, **inventory}), flush=True)


def next_attack() -> Path | None:
    """In a copy of this process, its attack; in this one, None when there are no more."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return Path(line.rstrip("\n"))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != 0:
            print(json.dumps({"died": code}), flush=True)
    return None


if __name__ == "__main__":
    main()
