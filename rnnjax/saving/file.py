"""``rx.save`` and ``rx.load``: a model in one safetensors file that says what it is."""

import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import _checks
from rnnjax._types import CellLike, Params
from rnnjax.recurrence import protocol
from rnnjax.saving.describe import describe, first_difference, given_parts, rebuild
from rnnjax.saving.structure import outline, refill

_FORMAT = "1"


def save(path: str | Path, cell: CellLike, params: Params, metadata: Mapping[str, str] | None = None) -> None:
    """Write a cell and its params to one safetensors file, readable by name from any language.

    The header holds the cell with all of its settings and parts. The file appears whole or not at all: a run
    that is killed while it writes leaves the earlier file as it was.

    Args:
      path: the file, in a folder that exists.
      cell: any cell; functions of your own are named in the header, and given again at loading.
      params: from ``cell.init``, or trained; not bound.
      metadata: further strings to keep in the header, such as a vocabulary; see ``read_metadata``.

    Raises:
      TypeError, ValueError: params of another cell, or with parts that a file cannot hold. Nothing is written then.
      ImportError: safetensors is not installed.
      OSError: the folder does not exist or cannot be written to.

    >>> import jax, rnnjax as rx, tempfile
    >>> cell = rx.Chain(rx.LSTM(4), rx.LSTM(2))
    >>> path = tempfile.mkdtemp() + "/model.safetensors"
    >>> rx.save(path, cell, cell.init(jax.random.key(0), input_size=3))
    >>> loaded, params = rx.load(path)
    >>> loaded
    Chain(LSTM(hidden_size=4), LSTM(hidden_size=2))
    """
    _checks.is_cell("save", "cell", cell)
    for name, value in (metadata or {}).items():
        if not isinstance(value, str):
            raise TypeError(f"save: metadata[{name!r}] is a {type(value).__name__}, expected a string")
    structure, tensors = outline(params)
    protocol.input_size(cell, params)  # refuses params of another cell
    header = {
        "rnnjax": _FORMAT,
        "cell": json.dumps(describe(cell)),
        "params": json.dumps(structure),
        "metadata": json.dumps(dict(metadata or {})),
    }
    arrays = {name: np.ascontiguousarray(leaf) for name, leaf in tensors.items()}
    _write_atomically(Path(path), _safetensors().numpy.save(arrays, metadata=header))


def load(path: str | Path, cell: CellLike | None = None) -> tuple[Any, Params]:
    """Read a cell and its params, exactly as they were saved.

    Args:
      path: a file that ``save`` wrote.
      cell: the same cell, for files with parts that a header cannot describe (functions of your own); it is
        compared with the header.

    Returns:
      ``(cell, params)``.

    Raises:
      ValueError: not such a file; a part has to be given as ``cell``; ``cell`` is another one (the first
        difference is named); float64 params while JAX runs in 32 bits.
      FileNotFoundError: there is no file.

    >>> import jax, rnnjax as rx, tempfile
    >>> cell, path = rx.GRU(2), tempfile.mkdtemp() + "/model.safetensors"
    >>> rx.save(path, cell, cell.init(jax.random.key(0), 3))
    >>> loaded, params = rx.load(path)
    >>> loaded == cell
    True
    """
    header, arrays = _read(path)
    description = json.loads(header["cell"])
    if cell is None:
        missing = given_parts(description)
        if missing:
            raise ValueError(
                f"load: {path} does not hold {', '.join(missing)}; pass the cell it was saved with:"
                " rx.load(path, cell=...)"
            )
        cell = rebuild(description)
    else:
        difference = first_difference(description, json.loads(json.dumps(describe(cell))))
        if difference:
            raise ValueError(f"load: {path} holds another cell: {difference}")
    for name, array in arrays.items():
        if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
            raise ValueError(
                f"load: {name} is {array.dtype}, which JAX would cut to 32 bits; call"
                " jax.config.update('jax_enable_x64', True) first"
            )
    tensors = {name: jnp.asarray(array) for name, array in arrays.items()}
    return cell, refill(json.loads(header["params"]), tensors, set(_modules(cell)))


def read_metadata(path: str | Path) -> dict[str, str]:
    """The further strings that ``save`` was given.

    Args:
      path: a file that ``save`` wrote.

    Returns:
      The dict.

    Raises:
      ValueError, FileNotFoundError: not such a file, or none.

    >>> import jax, rnnjax as rx, tempfile
    >>> cell, path = rx.GRU(2), tempfile.mkdtemp() + "/model.safetensors"
    >>> rx.save(path, cell, cell.init(jax.random.key(0), 3), metadata={"vocabulary": "abc"})
    >>> rx.read_metadata(path)
    {'vocabulary': 'abc'}
    """
    return json.loads(_read(path)[0]["metadata"])


def _read(path: str | Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    if Path(path).is_dir():
        raise IsADirectoryError(f"load: {path} is a folder, expected a file")
    if not Path(path).is_file():
        raise FileNotFoundError(f"load: there is no file {path}")
    safetensors = _safetensors()
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("rnnjax") == _FORMAT:
                return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except safetensors.SafetensorError as error:
        raise ValueError(f"load: {path} is not a safetensors file, or is cut off ({error})") from error
    raise ValueError(f"load: {path} was not written by rx.save (format {_FORMAT}), found {header.get('rnnjax')!r}")


def _write_atomically(path: Path, data: bytes) -> None:
    """Write beside, flush to the disk, then rename: the old file stays until the new one is whole."""
    if path.is_dir():
        raise IsADirectoryError(f"save: {path} is a folder, expected a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"save: there is no folder {path.parent}")
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o666 & ~_umask())
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _modules(cell: Any) -> Iterator[str]:
    """The modules where a cell's classes and functions were defined."""
    yield type(cell).__module__
    for field in dataclasses.fields(cell) if dataclasses.is_dataclass(cell) else ():
        value = getattr(cell, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if hasattr(part, "step"):
                yield from _modules(part)
            elif callable(part) and getattr(part, "__module__", None):
                yield part.__module__


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise ImportError("rx.save and rx.load need safetensors: pip install 'rnnjax[io]'") from error
    return safetensors
