"""A pickle read as data: a stack machine over `pickletools.genops` that builds containers and calls nothing foreign.

Python's own unpickler imports whatever a file names and calls it. Here an opcode that names a global gets what the
caller's allow-list answers, and an opcode that calls can call nothing but that. What the names mean is in
`allowed.py`; where a pickle lies in a file, in `zip_form.py` and `legacy_form.py`.

The opcodes are those of protocols 0 to 4 that torch can have written, as `pickletools` documents them.
"""

from __future__ import annotations

import pickletools
import reprlib
from collections.abc import Callable
from typing import IO, Protocol, cast

from tfgraph.checkpoints.torch.values import Attributes, Global, Refused
from tfgraph.errors import CheckpointError

MAX_PICKLE_BYTES = 64 * 2**20  # some 400,000 tensors; what is in a storage does not count
MAX_INTEGER_BITS = 8192
_LARGEST_KEY = 2**61 - 1  # greater integers can be chosen so that their hashes collide
_BYTES_A_STEP = 4  # copying this much text counts as much as one opcode


class ByteStream(Protocol):
    """What the bytes of a pickle are read from."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; fewer only at the end."""

    def readline(self) -> bytes:
        """The bytes up to and including the next line feed."""


def read_pickle(
    stream: ByteStream,
    num_bytes: int,
    find_global: Callable[[str, str], Global],
    persistent: Callable[[object], object],
    build: Callable[[object, object], None],
    where: str,
) -> object:
    """The object of the pickle at the position of `stream`, which is left after it.

    `num_bytes` is how many bytes the stream can still give; the work done is proportional to it whatever the pickle
    asks for. The result may be shared in itself, nested to any depth, and cyclic: the caller has to look.

    Args:
        find_global: the answer to a module and a name; raises `Refused` where there is none.
        persistent: the answer to a persistent identifier, which is how torch names a storage.
        build: sets the state (second argument) of an object (first) that is neither a dict nor `Attributes`.
        where: the file, and the part of it, as a message should name it.

    Raises:
        CheckpointError: the pickle is damaged, or asks for something that is refused.
    """
    machine = _Machine(num_bytes, find_global, persistent, build)
    try:
        return machine.run(stream)
    except Refused as error:
        raise CheckpointError(f"{where} {error}") from error
    except (ValueError, OverflowError) as error:
        detail = str(error) or type(error).__name__
        raise CheckpointError(f"the pickle in {where} is damaged: {detail[:300]}. Download the file again") from error


class _Machine:
    """One run over one pickle. `marks` holds the stacks below the marks that are still open."""

    def __init__(
        self,
        num_bytes: int,
        find_global: Callable[[str, str], Global],
        persistent: Callable[[object], object],
        build: Callable[[object, object], None],
    ) -> None:
        self.stack: list[object] = []
        self.marks: list[list[object]] = []
        self.memo: dict[int, object] = {}
        self.steps_left = num_bytes
        self.find_global = find_global
        self.persistent = persistent
        self.build = build

    def run(self, stream: ByteStream) -> object:
        for opcode, argument, _ in pickletools.genops(cast(IO[bytes], stream)):
            if opcode.name in _PUSHES_ARGUMENT:
                self.stack.append(_bounded(argument))
            elif opcode.name in _PUSHES_VALUE:
                self.stack.append(_PUSHES_VALUE[opcode.name]())
            elif opcode.name in _HANDLERS:
                _HANDLERS[opcode.name](self, argument)
            elif opcode.name not in _SKIPPED:
                raise ValueError(f"it uses opcode {opcode.name}, which torch never writes")
        return self.pop()  # `genops` ends after STOP, and raises ValueError if there is none

    def pop(self) -> object:
        if not self.stack:
            raise ValueError("it takes a value from an empty stack")
        return self.stack.pop()

    def top(self) -> object:
        if not self.stack:
            raise ValueError("it uses a value of an empty stack")
        return self.stack[-1]

    def mark(self, _: object) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[object]:
        if not self.marks:
            raise ValueError("it goes back to a mark that it never set")
        items, self.stack = self.stack, self.marks.pop()
        return items

    def discard(self, _: object) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def discard_to_mark(self, _: object) -> None:
        self.pop_mark()

    def duplicate(self, _: object) -> None:
        self.stack.append(self.top())

    def put(self, argument: object) -> None:
        self.memo[len(self.memo) if argument is None else _integer(argument)] = self.top()

    def get(self, argument: object) -> None:
        index = _integer(argument)
        if index not in self.memo:
            raise ValueError(f"it recalls number {index}, which it never stored")
        self.stack.append(self.memo[index])

    def make_tuple(self, _: object) -> None:
        items = self.pop_mark()
        self.stack.append(tuple(items))

    def tuple_of(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(items)))

    def make_list(self, _: object) -> None:
        items = self.pop_mark()
        self.stack.append(items)

    def make_dict(self, _: object) -> None:
        items = self.pop_mark()
        result: dict[object, object] = {}
        _set_items(result, items)
        self.stack.append(result)

    def append(self, _: object) -> None:
        self.extend([self.pop()])

    def appends(self, _: object) -> None:
        self.extend(self.pop_mark())

    def extend(self, items: list[object]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise ValueError(f"it appends to a {type(target).__name__}")
        target.extend(items)

    def set_item(self, _: object) -> None:
        value, key = self.pop(), self.pop()
        _set_items(self.top(), [key, value])

    def set_items(self, _: object) -> None:
        items = self.pop_mark()
        _set_items(self.top(), items)

    def global_(self, argument: object) -> None:
        module, _, name = str(argument).partition(" ")
        self.stack.append(self.find_global(module, name))

    def stack_global(self, _: object) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("it names a global by something that is not text")
        self.stack.append(self.find_global(module, name))

    def persistent_id(self, _: object) -> None:
        self.stack.append(self.persistent(self.pop()))

    def reduce(self, _: object) -> None:
        arguments, function = self.pop(), self.pop()
        self.call(function, arguments)

    def instance(self, argument: object) -> None:
        """INST, of protocol 0: torch never writes it, but what it asks for is worth naming."""
        self.global_(argument)
        raise ValueError("it uses opcode INST, which torch never writes")

    def call(self, function: object, arguments: object) -> None:
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise ValueError(f"it calls a {type(function).__name__} with a {type(arguments).__name__}")
        if function.call is None:
            raise Refused(f"calls {function.name}, which may be named there but not called. Nothing of it was run")
        for argument in arguments:
            self.charge(argument)
        self.stack.append(function.call(arguments))

    def set_state(self, _: object) -> None:
        state, target = self.pop(), self.top()
        self.charge(state)
        if isinstance(target, Attributes):
            if isinstance(state, tuple) and len(state) == 2 and state[0] is None:
                state = state[1]  # a class with __slots__
            if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
                raise ValueError(f"it gives the state of {target.type_name} as something else than names and values")
            target.update(state)
        elif not isinstance(target, dict):  # the attributes of an OrderedDict, `_metadata`, are not data
            self.build(target, state)

    def charge(self, copied: object) -> None:
        """Counts what a call may copy, so that one big value recalled many times cannot fill the memory."""
        if isinstance(copied, (list, tuple, dict)):
            self.steps_left -= len(copied)
        for part in copied if isinstance(copied, tuple) else [copied]:
            if isinstance(part, (str, bytes)):
                self.steps_left -= len(part) // _BYTES_A_STEP
        if self.steps_left < 0:
            raise ValueError("it copies the same values over and over, more than any checkpoint does")


def _bounded(value: object) -> object:
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        raise ValueError(f"it holds an integer of {value.bit_length()} bits")
    return value


def _integer(argument: object) -> int:
    if not isinstance(argument, int) or not 0 <= argument < 2**32:
        raise ValueError("it numbers a value beyond 2**32")
    return argument


def _set_items(target: object, items: list[object]) -> None:
    if not isinstance(target, dict):
        raise ValueError(f"it sets items of a {type(target).__name__}")
    if len(items) % 2:
        raise ValueError("it sets a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[checked_key(key)] = value


def checked_key(key: object) -> object:
    """`key`, if it may be one of a dict: text, bytes, a truth value, None or an integer that hashes to itself.

    Raises:
        ValueError: it is anything else; hashing a tuple, say, recurses as deep as the file wants.
    """
    if key is None or isinstance(key, (str, bytes, bool)) or (isinstance(key, int) and abs(key) < _LARGEST_KEY):
        return key
    raise ValueError(f"a key of a dict is {reprlib.repr(type(key).__name__)}: expected text or a small integer")


_INTEGERS = ["INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"]
_TEXTS = ["STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"]
_BYTES = ["BINBYTES", "SHORT_BINBYTES", "BINBYTES8"]
_PUSHES_ARGUMENT = frozenset([*_INTEGERS, *_TEXTS, *_BYTES, "FLOAT", "BINFLOAT"])
_PUSHES_VALUE: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,  # a set is a list to us: its items need not be hashed
}
_SKIPPED = frozenset({"PROTO", "FRAME", "STOP"})
_HANDLERS: dict[str, Callable[[_Machine, object], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.discard,
    "POP_MARK": _Machine.discard_to_mark,
    "DUP": _Machine.duplicate,
    **dict.fromkeys(["PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"], _Machine.put),
    **dict.fromkeys(["GET", "BINGET", "LONG_BINGET"], _Machine.get),
    **dict.fromkeys(["TUPLE", "FROZENSET"], _Machine.make_tuple),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "LIST": _Machine.make_list,
    "DICT": _Machine.make_dict,
    "APPEND": _Machine.append,
    **dict.fromkeys(["APPENDS", "ADDITEMS"], _Machine.appends),
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "BINPERSID": _Machine.persistent_id,
    **dict.fromkeys(["REDUCE", "NEWOBJ"], _Machine.reduce),
    "INST": _Machine.instance,
    "BUILD": _Machine.set_state,
}
