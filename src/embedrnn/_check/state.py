"""Rules of parameters by name: which of a mapping's are those of a layer, and whether they fit."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from embedrnn._check.array_like import Array, as_array
from embedrnn._check.arrays import in_range, is_float, native
from embedrnn._check.layers import DType, require_mapping
from embedrnn._check.options import shown

Shape = tuple[int, ...]

_MAX_LISTED = 6

# What the last layer of a name is called in PyTorch, where the cells have none.
_LAYER = r"_l\d+(_reverse)?"

# Patterns of names that are not those of parameters, but tell what became of one; and what to do.
# They are compiled when they are needed, which takes a millisecond.
_PARAMETER = r"(?P<name>(?:weight|bias)\w*?)"
_FOREIGN = [
    (
        rf"parametrizations\.{_PARAMETER}\.[\w.]+",
        "is what a parametrization, such as weight_norm, makes {name} of: call "
        "torch.nn.utils.parametrize.remove_parametrizations(module, '{name}') before state_dict()",
    ),
    (
        rf"{_PARAMETER}_[gv]",
        "is what weight_norm makes {name} of: call "
        "torch.nn.utils.remove_weight_norm(module, '{name}') before state_dict()",
    ),
    (
        rf"{_PARAMETER}_raw",
        "is what a weight drop, as of fastai and torchnlp, keeps {name} as: give it under that "
        "name, in the place of any that is there",
    ),
    (
        rf"(?P<name>weight_hr(?:{_LAYER})?)",
        "is the projection of an LSTM with a proj_size: multiply it into the weights that read the "
        "state, weight_hh @ {name}, and the output by it, output @ {name}.T",
    ),
]

# Files that hold tensors and are not read here, by their suffix, and what to do.
_OTHER_FILES = {
    **dict.fromkeys(
        (".pt", ".pth", ".bin", ".ckpt"),
        "a pickle: give what torch.load(path, map_location='cpu', weights_only=True) returns",
    ),
    **dict.fromkeys(
        (".h5", ".hdf5", ".keras"),
        "of Keras: load the model there, and give its layers to embedrnn.convert",
    ),
    ".onnx": "of ONNX: see embedrnn.convert",
}


class Fitting(NamedTuple):
    """The arrays of a layer that a mapping holds, and the names that are in one of both alone."""

    arrays: dict[str, Array]
    missing: list[str]
    unexpected: list[str]


class Named:
    """What a mapping holds under names that begin with a prefix; an array is read when asked for.

    Tensors of PyTorch may require gradients. With `widens`, those of bfloat16 become float32, for
    which NumPy needs no ml_dtypes. `stored` returns a value as the layer stores it.
    """

    def __init__(
        self,
        what: str,
        given: Any,
        prefix: Any = "",
        *,
        widens: bool = False,
        stored: Callable[[Any], Any] = lambda value: value,
    ) -> None:
        require_mapping(what, given)
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a str, got {shown(prefix)}")
        self._what, self._given, self._prefix = what, given, prefix
        self._widens, self._stored = widens, stored
        keys = {key if isinstance(key, str) else repr(key): key for key in given}
        self._keys = {name: key for name, key in keys.items() if name.startswith(prefix)}
        self._others = keys.keys() - self._keys.keys()

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._keys

    def names(self) -> list[str]:
        """Return all names, without the prefix."""
        return [name.removeprefix(self._prefix) for name in self._keys]

    def array(self, name: str) -> Array:
        """Return what has this name."""
        name = self._prefix + name
        try:
            value = self._given[self._keys[name]]
        except (MemoryError, OSError, TypeError):
            raise
        except Exception as error:  # of a file that is damaged, or holds objects
            raise ValueError(f"{name} cannot be read: {error}") from error
        if getattr(value, "requires_grad", False) is True:
            value = value.detach()
        if self._widens and str(getattr(value, "dtype", "")) == "torch.bfloat16":
            value = value.float()
        return as_array(name, self._stored(value))

    def required(self, names: Sequence[str]) -> dict[str, str]:
        """Check that all of these are there, and return under which name each is."""
        keys = self.under(names)
        missing = [self.full(name) for name in names if name not in keys]
        if missing:
            said = [f"{self._what} must have {', '.join(missing)}"]
            said += filter(None, [self.foreign(), self.elsewhere(names)])
            raise ValueError("; ".join(said))
        return keys

    def told(self, names: Sequence[str], axes: int) -> dict[str, Array]:
        """Return arrays by the names that they must have, which tell the sizes of a layer."""
        keys = self.required(names)
        arrays = {name: self.array(key) for name, key in keys.items()}
        for name, array in arrays.items():
            if array.ndim != axes:
                raise ValueError(
                    f"{self.full(keys[name])} must have {axes} axes, got shape {array.shape}"
                )
        return arrays

    def under(self, names: Iterable[str]) -> dict[str, str]:
        """Return under which name each of these is there, if it is: perhaps that of a cell."""
        cells = _cell_names(names)
        keys = {name: name if name in self else cells.get(name, name) for name in names}
        return {name: key for name, key in keys.items() if key in self}

    def foreign(self) -> str:
        """Return what there is to say about a name that tells what became of a parameter."""
        for pattern, remark in _FOREIGN:
            for name in self.names():
                if found := re.fullmatch(pattern, name):
                    return f"{self.full(name)} {remark.format(name=found['name'])}"
        return ""

    def elsewhere(self, names: Collection[str]) -> str:
        """Return the prefixes under which a mapping holds more parameters of these names."""
        cells = _cell_names(names)
        endings = {name: name for name in names} | {cell: name for name, cell in cells.items()}
        found = {
            (key[: -len(ending)], name)
            for key in [*self._keys, *self._others]
            for ending, name in endings.items()
            if key.endswith(ending) and _ends_a_part(key[: -len(ending)])
        }
        counts = Counter(prefix for prefix, _ in found if prefix != self._prefix)
        most = max(counts.values(), default=0)
        prefixes = sorted(repr(prefix) for prefix, count in counts.items() if count == most)
        if not prefixes:
            return ""
        listed = ", ".join(prefixes[:_MAX_LISTED]) + (", ..." if prefixes[_MAX_LISTED:] else "")
        return f"there are such names with the prefix {listed}"

    def full(self, name: str) -> str:
        """Return a name as it stands in the mapping, or would."""
        return self._prefix + name


def parameters(
    owner: str,
    shapes: Mapping[str, Shape],
    dtype: DType,
    named: Named,
    *,
    whole: bool = True,
    extra: bool = False,
    cast: bool = False,
) -> Fitting:
    """Return the parameters of a layer among those named, or raise one error of all that is wrong.

    They must have the shapes and dtype of the layer's. `whole` asks for every one of them, `extra`
    allows others beside them, and `cast` allows any floating-point dtype. Good ones pass without a
    copy.
    """
    keys = named.under(shapes)
    missing = [named.full(name) for name in shapes if name not in keys]
    unexpected = [named.full(name) for name in named.names() if name not in keys.values()]
    wrong = [f"missing {', '.join(missing)}"] if missing and (whole or (extra and not keys)) else []
    wrong += [f"unexpected {', '.join(unexpected)}"] if unexpected and not extra else []
    foreign = named.foreign() if unexpected else ""
    elsewhere = named.elsewhere(shapes) if wrong and not keys else ""
    shared = [(name, named.full(key), named.array(key)) for name, key in keys.items()]
    wrong += [
        f"{key} must have shape {shapes[name]}, got {new.shape}"
        for name, key, new in shared
        if shapes[name] != new.shape
    ]
    dtypes = [
        f"{key} must be {dtype}, got {new.dtype}"
        for _, key, new in shared
        if not _becomes(new.dtype, dtype, cast)
    ]
    remarks = [remark for remark in (foreign, elsewhere) if remark]
    if wrong or dtypes or foreign:
        error = ValueError if wrong or foreign else TypeError
        raise error(f"parameters do not fit {owner}: {'; '.join(wrong + dtypes + remarks)}")
    arrays = {name: in_range(key, new, dtype) for name, key, new in shared}
    return Fitting(arrays, missing, unexpected)


def file_kind(path: Any) -> str:
    """Check what file parameters are read from, and return its suffix: .npz or .safetensors."""
    name = os.fsdecode(path)
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 (pathlib takes longer to import)
    if suffix in {".npz", ".safetensors"}:
        return suffix
    about = f", which is {_OTHER_FILES[suffix]}" if suffix in _OTHER_FILES else ""
    raise ValueError(
        f"state_dict must be a mapping or the path of an .npz or .safetensors file, got "
        f"{shown(name)}{about}"
    )


def untold(owner: str, told: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Check that no option is given which the parameters tell."""
    both = [name for name in options if name in told]
    if both:
        raise TypeError(f"{both[0]} of {owner} is read from the parameters: leave it out")


def recurrent_names(names: Iterable[str], stems: Collection[str]) -> tuple[set[str], int, bool]:
    """Return what names tell about a stack of recurrent layers.

    These are the beginnings that there are of names of parameters, and the layers and whether they
    have a second direction. Names without a layer, as cells have them, are those of the first.
    """
    every = rf"({'|'.join(map(re.escape, stems))})(?:_l(\d+)(_reverse)?)?"
    found = [match for name in names if (match := re.fullmatch(every, name))]
    layers = {match[2] or "0" for match in found}
    return {match[1] for match in found}, max(1, len(layers)), any(match[3] for match in found)


def _cell_names(names: Iterable[str]) -> dict[str, str]:
    """Return what a cell of PyTorch calls the parameters, if there is one layer and direction."""
    cells = {name: re.sub(_LAYER, "", name) for name in names}
    return cells if len(set(cells.values())) == len(cells) else {}


def _ends_a_part(prefix: str) -> bool:
    """Whether the parts of a name end here, or it has none."""
    return not (prefix[-1:].isalnum() or prefix.endswith("_"))


def _becomes(found: DType, dtype: DType, cast: bool) -> bool:
    """Whether numbers of a dtype are taken as those of another."""
    return native(found) == dtype or (cast and is_float(found) and is_float(dtype))
