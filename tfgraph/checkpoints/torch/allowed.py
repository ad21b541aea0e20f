"""The globals that a torch checkpoint may name, and what each becomes: the allow-list of `pickle_machine.py`.

Nothing is imported for a name and nothing of torch is called: a name that is listed here stands for a function of this
module that builds an inert value (`values.py`); a name that is not listed is refused. Numpy's arrays and numbers,
which are in the states of random generators, are in `numpy_objects.py`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable

from tfgraph.checkpoints.torch.numpy_objects import NUMPY_CALLS, set_numpy_state
from tfgraph.checkpoints.torch.values import Attributes, Global, Refused, TorchStorage, TorchTensor
from tfgraph.errors import DTypeError
from tfgraph.ir.dtypes import DType, as_dtype

MAX_RANK = 64  # torch's own limit
CONVERT = (
    "If you trust where the file comes from, load it with torch or transformers and save its weights as safetensors: "
    "`model.save_pretrained(folder, safe_serialization=True)`"
)

_LARGEST = 2**63 - 1
_STORAGES = {
    "FloatStorage": DType.FLOAT32,
    "DoubleStorage": DType.FLOAT64,
    "HalfStorage": DType.FLOAT16,
    "BFloat16Storage": DType.BFLOAT16,
    "LongStorage": DType.INT64,
    "IntStorage": DType.INT32,
    "ShortStorage": DType.INT16,
    "CharStorage": DType.INT8,
    "ByteStorage": DType.UINT8,
    "BoolStorage": DType.BOOL,
    "UntypedStorage": DType.UINT8,
}
_DTYPE_ALIASES = {
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "long": "int64",
    "int": "int32",
    "short": "int16",
}
_DTYPE_NAMES = frozenset(dtype.value for dtype in DType if dtype.bits >= 8) | _DTYPE_ALIASES.keys()
_TENSORS_OF_NO_USE = {
    "_rebuild_qtensor": "a quantised tensor",
    "_rebuild_sparse_tensor": "a sparse tensor",
    "_rebuild_sparse_csr_tensor": "a sparse tensor",
    "_rebuild_nested_tensor": "a nested tensor",
    "_rebuild_meta_tensor_no_storage": "a tensor without elements (device 'meta')",
    "_rebuild_wrapper_subclass": "a tensor subclass",
}
_BUILTINS = ["dict", "list", "tuple", "int", "long", "float", "bool", "str", "unicode", "bytes"]  # Python 2's too
_INERT = frozenset(
    [f"{module}.{name}" for module in ("builtins", "__builtin__") for name in _BUILTINS]
    + ["torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.Parameter", "numpy.ndarray"]
)
_INERT_PACKAGES = ("megatron", "fp16")  # classes of Megatron-LM, now and when it had no package


def find_global(module: str, name: str) -> Global:
    """The global of a module, by name.

    Raises:
        Refused: it is not one that a checkpoint needs. The message names it.
    """
    full = f"{module}.{name}"
    if full in _CALLS:
        return Global(full, _CALLS[full])
    if module.partition(".")[0] in _INERT_PACKAGES:
        return Global(full, lambda arguments: Attributes(full, arguments))
    if full in _INERT or (module == "torch" and name in _DTYPE_NAMES):
        return Global(full)
    if module in ("torch", "torch.storage") and name in _STORAGES:
        return Global(full)
    if module in ("torch._utils", "torch._tensor") and name in _TENSORS_OF_NO_USE:
        raise Refused(f"holds {_TENSORS_OF_NO_USE[name]} ({full}), which tfgraph does not read. {CONVERT}")
    if module == "torch" and name.endswith("Storage"):
        raise Refused(f"holds elements of {full}, which ONNX has no type for. {CONVERT}")
    raise Refused(
        f"asks for {_short(full)}, which is not part of any weights: a pickle that names it would run code when it is "
        f"loaded. Nothing of it was run. {CONVERT}"
    )


def find_storage(identifier: object) -> TorchStorage:
    """The storage that a persistent identifier of torch stands for.

    Raises:
        Refused: the identifier stands for a module's source, or a part of a storage.
        ValueError: it is not one of torch's.
    """
    match identifier:
        case ("storage", Global(name=name), str(key), str(), int(size), *rest) if 0 <= size <= _LARGEST:
            if rest not in ([], [None]):
                raise Refused(f"names a part of a storage, as torch before 0.4 did. {CONVERT}")
            storage = name.rpartition(".")[2]
            if storage in _STORAGES:
                return TorchStorage(key, _STORAGES[storage], size)
        case ("module", *_):
            raise Refused(f"holds a whole torch module, with its code, not only its weights. {CONVERT}")
    raise ValueError(f"{_short(identifier)} does not identify a storage")


def set_state(target: object, state: object) -> None:
    """Gives a numpy array or dtype its state, and ignores the Python attributes of a tensor.

    Raises:
        ValueError: `target` is something that has no state.
    """
    if not isinstance(target, TorchTensor):
        set_numpy_state(target, state)


def _rebuild_tensor(arguments: tuple[object, ...]) -> object:
    """`torch._utils._rebuild_tensor(storage, offset, shape, strides)`; `_v2` adds what matters only for training."""
    match arguments:
        case (TorchStorage() as storage, offset, shape, strides, *rest):
            if len(rest) > 2 and rest[2]:
                raise Refused(f"holds a tensor with a flag, {_short(rest[2])}, which tfgraph does not read. {CONVERT}")
            return _tensor(storage, offset, shape, strides, storage.dtype)
    raise ValueError("a tensor is not made of a storage, an offset, a shape and strides")


def _rebuild_tensor_v3(arguments: tuple[object, ...]) -> object:
    """`_rebuild_tensor_v3(storage, offset, shape, strides, requires_grad, hooks, dtype, metadata)`."""
    match arguments:
        case (TorchStorage() as storage, offset, shape, strides, _, _, Global(name=name), *rest) if not any(rest):
            return _tensor(storage, offset, shape, strides, _dtype(name))
    raise ValueError("a tensor is not made of a storage, an offset, a shape, strides and a dtype")


def _tensor(storage: TorchStorage, offset: object, shape: object, strides: object, dtype: DType) -> TorchTensor:
    sizes, steps = _sizes(shape), _sizes(strides)
    if not isinstance(offset, int) or not 0 <= offset <= _LARGEST or len(sizes) != len(steps):
        raise ValueError(
            f"a tensor has the offset {_short(offset)}, the shape {_short(shape)} and the strides {_short(strides)}"
        )
    return TorchTensor(storage, offset, sizes, steps, dtype)


def _sizes(given: object) -> tuple[int, ...]:
    if isinstance(given, (tuple, list)) and len(given) <= MAX_RANK:
        sizes = tuple(size for size in given if isinstance(size, int) and 0 <= size <= _LARGEST)
        if len(sizes) == len(given):
            return sizes
    raise ValueError(f"{_short(given)} is not the shape or the strides of a tensor: expected up to {MAX_RANK} integers")


def _dtype(name: str) -> DType:
    own = name.rpartition(".")[2]
    try:
        return as_dtype(_DTYPE_ALIASES.get(own, own))
    except DTypeError as error:
        raise ValueError(f"{name} is not a dtype") from error


def _rebuild_parameter(arguments: tuple[object, ...]) -> object:
    """`_rebuild_parameter(data, requires_grad, hooks)` and `_with_state`: to us a parameter is its tensor."""
    if not arguments or not isinstance(arguments[0], TorchTensor):
        raise ValueError("a parameter is not made of a tensor")
    return arguments[0]


def _rebuild_from_type(arguments: tuple[object, ...]) -> object:
    """`_rebuild_from_type_v2(function, type, arguments, state)`: a tensor with Python attributes, without them."""
    match arguments:
        case (Global(name=function), Global(name=kind), tuple(inner), *_) if function.startswith("torch._utils."):
            if kind not in _INERT:
                raise Refused(f"holds a {_short(kind)}, a tensor subclass, which tfgraph does not read. {CONVERT}")
            return _CALLS[function](inner)
    raise ValueError("a tensor with attributes is not made of a function, a class and arguments")


def _ordered_dict(arguments: tuple[object, ...]) -> object:
    """`OrderedDict()`, or `OrderedDict([[key, value], ...])` as Python 2 wrote it."""
    result: dict[object, object] = {}
    match arguments:
        case ():
            return result
        case (list(pairs) | tuple(pairs),):
            for pair in pairs:
                match pair:
                    case (key, value) if isinstance(key, (str, bytes)):
                        result[key] = value
                    case _:
                        raise ValueError("an OrderedDict is not made of names and values")
            return result
    raise ValueError("an OrderedDict is not made of pairs")


def _default_dict(arguments: tuple[object, ...]) -> object:
    """`defaultdict(factory)`, which forgets the factory."""
    return {}


def _counter(arguments: tuple[object, ...]) -> object:
    match arguments:
        case (dict(counts),):
            return dict(counts)
    raise ValueError("a Counter is not made of a dict")


def _size(arguments: tuple[object, ...]) -> object:
    match arguments:
        case (tuple(sizes) | list(sizes),):
            return _sizes(sizes)
    raise ValueError("a torch.Size is not made of sizes")


def _device(arguments: tuple[object, ...]) -> object:
    return ":".join(str(part)[:20] for part in arguments[:2] if isinstance(part, (str, int)))


def _set(arguments: tuple[object, ...]) -> object:
    """A set as a list, whose items need not be hashed."""
    match arguments:
        case (list(items) | tuple(items),):
            return list(items)
    raise ValueError("a set is not made of a list")


def _encode(arguments: tuple[object, ...]) -> object:
    """`_codecs.encode(text, "latin1")`: how protocol 2, which has no bytes, writes them."""
    match arguments:
        case (str(text), "latin1" | "latin-1"):
            return text.encode("latin-1")
    raise ValueError("bytes are not made of text in Latin-1")


_CALLS: dict[str, Callable[[tuple[object, ...]], object]] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _default_dict,
    "collections.Counter": _counter,
    "builtins.set": _set,
    "builtins.frozenset": _set,
    "__builtin__.set": _set,
    "__builtin__.frozenset": _set,
    "_codecs.encode": _encode,
    "argparse.Namespace": lambda arguments: Attributes("argparse.Namespace", arguments),
    "types.SimpleNamespace": lambda arguments: Attributes("types.SimpleNamespace", arguments),
    "torch.Size": _size,
    "torch.device": _device,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    **NUMPY_CALLS,
}


def _short(given: object) -> str:
    return reprlib.repr(given) if not isinstance(given, str) else given[:100]
