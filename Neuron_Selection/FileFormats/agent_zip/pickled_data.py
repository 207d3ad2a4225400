"""Read a pickle as data: a stack machine that builds inert records and runs nothing.

There is no import, call, attribute access or ``find_class``: a global is kept as a name, a call as a record of the
callable and its arguments. Never take the ``repr`` of the result, and limit every walk over it, since a list in a
pickle can contain itself.
"""

from __future__ import annotations

import pickletools
import struct
import warnings
from dataclasses import dataclass, field
from typing import Any

from Neuron_Selection.errors import InputError

OPCODE_LIMIT = 1_000_000
_NAME_LIMIT = 1_000  # characters; a million names could share one long module
_KEY_BITS = 64  # of integer keys: at most nine of them have the same hash; larger ones can all collide


@dataclass(frozen=True, slots=True)
class Name:
    """A global in a pickle, never looked up."""

    module: str
    qualname: str

    def __str__(self) -> str:
        return f"{self.module}.{self.qualname}"


@dataclass(slots=True, eq=False, repr=False)
class Built:
    """A call in a pickle: the callable, its arguments, and the items and state that were added afterwards."""

    callable: object
    args: object
    state: object = None
    items: list[object] = field(default_factory=list)
    pairs: list[tuple[object, object]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, repr=False)
class Persistent:
    """A reference to an object outside the pickle (in torch: the storage of a tensor)."""

    key: object


_MARK = object()
# fmt: off
_PUSH_ARGUMENT = {
    "BINFLOAT", "BININT", "BININT1", "BININT2", "BINBYTES", "BINBYTES8", "BINUNICODE", "BINUNICODE8", "BYTEARRAY8",
    "FLOAT", "INT", "LONG", "LONG1", "LONG4", "SHORT_BINBYTES", "SHORT_BINUNICODE", "UNICODE", "BINSTRING",
    "SHORT_BINSTRING", "STRING",
}
# fmt: on
_PUSH_CONSTANT: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_PUSH_CONTAINER: dict[str, Any] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NO_EFFECT = frozenset({"PROTO", "FRAME"})


def read_pickle(data: bytes, *, where: object, what: str, names: set[Name] | None = None) -> object:
    """The records in a pickle.

    :param what: the name of the pickle in the file, for messages
    :param names: every global in the pickle is added to this set
    :raises InputError: damaged, too long, or with an opcode or a key that plain data does not require
    """
    machine = _Machine(names if names is not None else set())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # text of Python 2 with an unknown escape warns
            return machine.run(data)
    except _RefusedError as refused:
        raise InputError(where, what, found=str(refused), expected="a pickle of plain data") from refused
    except (ValueError, IndexError, KeyError, OverflowError, struct.error) as error:
        raise InputError(where, what, found="a damaged pickle", expected="a pickle of plain data") from error


class _RefusedError(Exception):
    pass


class _Machine:
    def __init__(self, names: set[Name]) -> None:
        self.names = names
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> object:
        for count, (opcode, argument, _position) in enumerate(pickletools.genops(data)):
            if count >= OPCODE_LIMIT:
                raise _RefusedError(f"more than {OPCODE_LIMIT:,} opcodes")
            if opcode.name == "STOP":
                break
            self.step(opcode.name, argument)
        if len(self.stack) != 1 or self.stack[0] is _MARK:
            raise _RefusedError("a pickle that does not end with one value")
        return self.stack[0]

    def step(self, name: str, argument: Any) -> None:  # noqa: C901, PLR0912, PLR0915 - one branch an opcode
        stack = self.stack
        if name in _PUSH_ARGUMENT:
            stack.append(bytes(argument) if isinstance(argument, bytearray) else argument)
        elif name in _PUSH_CONSTANT:
            stack.append(_PUSH_CONSTANT[name])
        elif name in _PUSH_CONTAINER:
            stack.append(_PUSH_CONTAINER[name]())
        elif name in _NO_EFFECT:
            pass
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in {"PUT", "BINPUT", "LONG_BINPUT"}:
            if not 0 <= argument < 1 << 32:
                raise _RefusedError("a memo index of 2^32 or more")
            self.memo[argument] = stack[-1]
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            stack.append(self.memo[argument])
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            self.since_mark()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name in _SHORT_TUPLES:
            stack.append(tuple(self.popped(_SHORT_TUPLES[name])))
        elif name in {"TUPLE", "FROZENSET"}:
            stack.append(tuple(self.since_mark()))
        elif name == "LIST":
            stack.append(self.since_mark())
        elif name == "DICT":
            stack.append(_set_pairs({}, self.since_mark()))
        elif name == "APPEND":
            items = self.popped(1)
            _extend(stack[-1], items)
        elif name in {"APPENDS", "ADDITEMS"}:
            items = self.since_mark()
            _extend(stack[-1], items)
        elif name == "SETITEM":
            pair = self.popped(2)
            _set_pairs(stack[-1], pair)
        elif name == "SETITEMS":
            items = self.since_mark()
            _set_pairs(stack[-1], items)
        elif name == "GLOBAL":
            self.push_name(*argument.split(" ", 1))
        elif name == "STACK_GLOBAL":
            self.push_name(*self.popped(2))
        elif name in {"REDUCE", "NEWOBJ"}:
            stack.append(Built(*self.popped(2)))
        elif name == "NEWOBJ_EX":
            function, args, _keywords = self.popped(3)
            stack.append(Built(function, args))
        elif name == "OBJ":
            function, *arguments = self.since_mark()
            stack.append(Built(function, tuple(arguments)))
        elif name == "INST":
            arguments = self.since_mark()
            self.push_name(*argument.split(" ", 1))
            stack.append(Built(stack.pop(), tuple(arguments)))
        elif name == "BUILD":
            (state,) = self.popped(1)
            if isinstance(stack[-1], Built):
                stack[-1].state = state
        elif name == "PERSID":
            stack.append(Persistent(argument))
        elif name == "BINPERSID":
            stack.append(Persistent(self.popped(1)[0]))
        else:
            raise _RefusedError(f"the opcode {name}")

    def popped(self, count: int) -> list[Any]:
        """The top ``count`` values, oldest first."""
        taken = self.stack[-count:]
        if len(taken) < count or any(value is _MARK for value in taken):
            raise _RefusedError("an opcode that takes more values than the stack holds")
        del self.stack[-count:]
        return taken

    def since_mark(self) -> list[Any]:
        """The values above the topmost mark, oldest first, with the mark gone."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                taken = self.stack[index + 1 :]
                del self.stack[index:]
                return taken
        raise _RefusedError("an opcode that requires a mark, without one")

    def push_name(self, module: object, qualname: object) -> None:
        if not (isinstance(module, str) and isinstance(qualname, str)):
            raise _RefusedError("a global whose name is not text")
        if len(module) + len(qualname) > _NAME_LIMIT:
            raise _RefusedError(f"a global with a name of more than {_NAME_LIMIT:,} characters")
        name = Name(module, qualname)
        self.names.add(name)
        self.stack.append(name)


def _extend(container: object, items: list[Any]) -> None:
    if isinstance(container, list):
        container.extend(items)
    elif isinstance(container, Built):
        container.items.extend(items)
    else:
        raise _RefusedError("items added to something other than a list")


def _set_pairs(container: Any, items: list[Any]) -> Any:
    if len(items) % 2:
        raise _RefusedError("a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str | int | float | bytes | None):
            raise _RefusedError("a key other than text, a number or None")  # a crafted tuple could take forever to hash
        if isinstance(key, int) and key.bit_length() > _KEY_BITS:
            raise _RefusedError(f"a key of more than {_KEY_BITS} bits")
        if isinstance(container, dict):
            container[key] = value
        elif isinstance(container, Built):
            container.pairs.append((key, value))
        else:
            raise _RefusedError("pairs added to something other than a dict")
    return container
