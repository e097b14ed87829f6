"""What holds the parameters of a layer by name: a mapping, or a file of one."""

import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from embedrnn._check import state as _check_state

StateDict = Mapping[str, npt.ArrayLike] | str | os.PathLike[str]


@contextmanager
def opened(state_dict: Any, *, widens: bool = False) -> Iterator[Any]:
    """Give a mapping, or that which a path names the file of, open.

    `widens` is about bfloat16, as `SafeTensors` has it.

    Raises
    ------
    OSError
        If a file cannot be opened.
    ValueError
        If it is damaged, or of another kind.
    """
    if not isinstance(state_dict, (str, os.PathLike)):
        yield state_dict
    elif _check_state.file_kind(state_dict) == ".safetensors":
        reader = importlib.import_module("embedrnn._safetensors")  # which not everybody needs
        yield reader.SafeTensors(state_dict, widens=widens)
    else:
        # pathlib takes as long to import as a third of this package.
        with open(state_dict, "rb") as file, _npz(state_dict, file) as arrays:  # noqa: PTH123
            yield arrays


def _npz(path: str | os.PathLike[str], file: IO[bytes]) -> Any:
    """Return the arrays in a file of numpy.savez, from which nothing is unpickled."""
    try:
        arrays = np.load(file, allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            raise TypeError("it holds one array without a name")
    except (MemoryError, OSError):
        raise
    except Exception as error:  # zipfile has a wide choice of them
        raise ValueError(f"{os.fspath(path)} cannot be read as .npz: {error}") from error
    return arrays
