"""The dictionary of text and numbers in a DeepProfiler archive, read from its pickle without unpickling.

A pickle is a program for a small stack machine. Here its instructions are read one by one, and only those that make
text, numbers, lists, dictionaries and arrays of them are followed, with Python's own values as the only result: nothing
is imported, called or restored by the file's word. An array is made from its bytes by their number and a type of a
short list.
"""

from __future__ import annotations

import pickletools
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from phenolens.runtime.array_files import BrokenArrays, array_of

_MOST_STEPS = 1_000_000
_SIMPLE_TYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248]|[US]\d{1,6})")
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_VALUES = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "NONE", "NEWTRUE", "NEWFALSE",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
})  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class ForeignObject(ValueError):
    """A pickle names something that is neither text, a number, a list, a dictionary nor an array of them."""


@dataclass(frozen=True)
class _Name:
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class _Type:
    """A dtype as the pickle makes it: by its text, and a byte order afterwards."""

    text: str
    order: str = "|"

    def made(self) -> np.dtype[Any]:
        bare = self.text.lstrip("<>|=")
        order = self.order if self.order in "<>" else self.text[0] if self.text[0] in "<>" else "<"
        written = bare if bare == "b1" or bare.startswith("S") else order + bare
        if not _SIMPLE_TYPE.fullmatch(written):
            raise ForeignObject(f"an array of the type {self.text[:40]!r}")
        return np.dtype(written)


@dataclass
class _Array:
    """An array as the pickle makes it: empty, and filled afterwards."""

    value: Any = None


@dataclass
class _Machine:
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def take(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise ValueError("its stack is empty")
        found = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return found


def read_pickled(data: bytes) -> Any:
    """Return what a pickle describes, as plain values.

    Returns
    -------
    str, bytes, int, float, bool, None, list, tuple, dict or ndarray of numbers, text or these.

    Raises
    ------
    ForeignObject
        It asks for anything else.
    ValueError
        It is broken.
    """
    machine = _Machine()
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if step > _MOST_STEPS:
                raise ValueError(f"it has more than {_MOST_STEPS} instructions")
            if opcode.name == "STOP":
                (result,) = machine.take(1)
                result = _filled(result)
                return {key: _filled(value) for key, value in result.items()} if isinstance(result, dict) else result
            _follow(machine, opcode.name, argument)
    except (ForeignObject, BrokenArrays):
        raise
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, UnicodeError) as error:
        raise ValueError(f"its pickle is broken ({type(error).__name__})") from error
    raise ValueError("its pickle has no end")


def _follow(machine: _Machine, name: str, argument: Any) -> None:
    stack = machine.stack
    if name in ("PROTO", "FRAME"):
        return
    if name in _VALUES:
        stack.append(_CONSTANTS.get(name, argument))
    elif name == "MARK":
        machine.marks.append(len(stack))
    elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
        stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        stack.append(tuple(machine.take(int(name[-1]))))
    elif name in ("TUPLE", "LIST"):
        stack.append((tuple if name == "TUPLE" else list)(machine.since_mark()))
    elif name in ("DICT", "SETITEM", "SETITEMS"):
        pairs = machine.take(2) if name == "SETITEM" else machine.since_mark()
        target: dict[Any, Any] = {} if name == "DICT" else _last(stack, dict)
        target.update((_filled(key), value) for key, value in zip(pairs[::2], pairs[1::2], strict=True))
        if name == "DICT":
            stack.append(target)
    elif name in ("APPEND", "APPENDS"):
        values = machine.take(1) if name == "APPEND" else machine.since_mark()
        _last(stack, list).extend(values)
    elif name == "POP":
        machine.take(1)
    elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
        machine.memo[int(argument)] = stack[-1]
    elif name == "MEMOIZE":
        machine.memo[len(machine.memo)] = stack[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(machine.memo[int(argument)])
    elif name == "GLOBAL":
        stack.append(_Name(*str(argument).split(" ", 1)))
    elif name == "STACK_GLOBAL":
        stack.append(_Name(*map(str, machine.take(2))))
    elif name == "REDUCE":
        called, arguments = machine.take(2)
        stack.append(_called(called, arguments))
    elif name == "BUILD":
        (state,) = machine.take(1)
        _build(stack[-1], state)
    else:
        raise ForeignObject(f"the instruction {name}")


def _last(stack: list[Any], kind: type) -> Any:
    if type(stack[-1]) is not kind:
        raise ForeignObject(f"something other than a {kind.__name__}")
    return stack[-1]


def _called(called: Any, arguments: Any) -> Any:
    """What the few calls that NumPy writes for its types, numbers and arrays would give; none of them is made."""
    if not isinstance(called, _Name) or not isinstance(arguments, tuple):
        raise ForeignObject("a call of something without a name")
    if called == _Name("numpy", "dtype") and arguments and isinstance(arguments[0], str) and arguments[0]:
        return _Type(arguments[0])
    if called.module in _MULTIARRAY and called.name == "_reconstruct" and arguments[0] == _Name("numpy", "ndarray"):
        return _Array()
    if called.module in _MULTIARRAY and called.name == "scalar" and len(arguments) == 2:
        of, data = arguments
        if isinstance(of, _Type) and isinstance(data, bytes):
            return array_of(data, of.made(), ()).item()
    if called == _Name("_codecs", "encode") and arguments[1:] == ("latin1",) and isinstance(arguments[0], str):
        return arguments[0].encode("latin1")
    if called in (_Name("builtins", "bytes"), _Name("__builtin__", "bytes")) and not arguments:
        return b""
    if called in (_Name("collections", "OrderedDict"), _Name("builtins", "dict")) and not arguments:
        return {}
    raise ForeignObject(str(called)[:80])


def _build(made: Any, state: Any) -> None:
    """Take the byte order of a type, or the shape and values of an array, out of what NumPy wrote, and no more."""
    if not isinstance(state, tuple):
        raise ForeignObject("the state of an object")
    if isinstance(made, _Type):
        if len(state) < 5 or not isinstance(state[1], str) or any(part is not None for part in state[2:5]):
            raise ForeignObject("an array of compound values")
        made.order = state[1]
    elif isinstance(made, _Array) and len(state) == 5:
        _, shape, of, by_column, values = state
        if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
            raise ForeignObject("an array without a shape")
        if isinstance(of, _Type) and of.text.lstrip("<>|=") in ("O", "O8") and isinstance(values, list):
            made.value = _objects(values, shape)
        elif isinstance(of, _Type) and isinstance(values, bytes):
            made.value = array_of(values, of.made(), shape, bool(by_column))
        else:
            raise ForeignObject("an array of something else than numbers and text")
    else:
        raise ForeignObject("the state of an object")


def _objects(values: list[Any], shape: tuple[int, ...]) -> Any:
    """The one value of an array without axes; else an array of values."""
    if int(np.prod(shape, dtype=object)) != len(values):
        raise ValueError(f"an array of shape {shape} has {len(values)} values")
    if shape == ():
        return values[0]
    held = np.empty(len(values), object)
    held[:] = [_filled(value) for value in values]
    return held.reshape(shape)


def _filled(value: Any) -> Any:
    """`value` itself, an array for what stands for one; a bare name or type is nothing that metadata hold."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, (_Name, _Type)):
        raise ForeignObject(str(value)[:80])
    return value
