"""What a sweep writes while it runs, to go on from after a kill: each file appears whole or not at all."""

import json
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.data.epochs import Position
from rnnjax.sweep.part import Part


class Store:
    """The folder of a sweep.

    Args:
      folder: one that this sweep has ``claimed``; None: nothing is kept.
      sweep: what tells this sweep from others, as JSON can hold it.

    Raises:
      ValueError: the folder is of another sweep.
      OSError: it cannot be written to.

    >>> store = Store(None, {"num_steps": 3})
    >>> store.write_json("group-0", {"way": "map"}), store.read_json("group-0")
    (None, None)
    """

    def __init__(self, folder: Path | None, sweep: dict[str, Any]):
        self.folder = folder
        if self.folder is None:
            return
        try:
            found = self.read_json("sweep")
            self.write_json("sweep", sweep if found is None else found)
        except OSError as error:
            raise OSError(f"run: cannot write to the folder {folder}: {error.strerror}") from error
        if found is not None and (difference := _difference(found, json.loads(json.dumps(sweep)))):
            raise ValueError(f"run: the folder {folder} is of another sweep: {difference}")

    def read_json(self, name: str) -> Any:
        """What was written under a name; None where nothing was."""
        path = self.folder / f"{name}.json" if self.folder else None
        try:
            return json.loads(path.read_text()) if path and path.exists() else None
        except ValueError as error:
            raise ValueError(f"run: cannot read {path}: {error}; give another folder, or put that file back") from None

    def write_json(self, name: str, value: Any) -> None:
        """Write what JSON can hold."""
        if self.folder:
            _write(self.folder / f"{name}.json", lambda file: file.write(json.dumps(value).encode()))

    def read_part(self, name: str, like: Any) -> Part | None:
        """A part with states like these (of which only structure and dtypes matter); None where there is none.

        One that cannot be read is none either, and a warning says so.
        """
        path = self.folder / f"{name}.npz" if self.folder else None
        if not path or not path.exists():
            return None
        try:
            with np.load(path) as file:
                return _unpack(dict(file), like)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            warnings.warn(f"run: cannot read {path}: {error}; its members start anew", stacklevel=4)
            return None

    def write_part(self, name: str, part: Part) -> None:
        """Write a part in place of what it was; where that fails, the earlier one stays, and a warning says so."""
        if not self.folder:
            return
        path = self.folder / f"{name}.npz"
        try:
            _write(path, lambda file: np.savez(file, **_pack(part)))  # pyright: ignore[reportArgumentType]
        except OSError as error:
            warnings.warn(
                f"run: cannot write {path}: {error.strerror}; the sweep goes on, and what was saved before stays",
                stacklevel=4,
            )


def _write(path: Path, fill: Callable[[BinaryIO], Any]) -> None:
    """Write beside, flush to the disk, then rename: the old file stays until the new one is whole."""
    beside = path.with_name(f"{path.name}.part")
    try:
        with beside.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _pack(part: Part) -> dict[str, np.ndarray]:
    leaves = jax.tree.leaves(part.states)
    keys = {number: str(jax.random.key_impl(leaf)) for number, leaf in enumerate(leaves) if _is_key(leaf)}
    record = {"position": part.position, "steps": part.steps, "names": list(part.rows[0]), "keys": keys}
    arrays = {f"state{number}": _to_numpy(leaf) for number, leaf in enumerate(leaves)}
    rows = np.stack([np.stack(list(row.values())) for row in part.rows])  # [R, metrics, S]
    return {"record": np.array(json.dumps(record)), "diverged": part.diverged, "rows": rows, **arrays}


def _unpack(found: dict[str, np.ndarray], like: Any) -> Part:
    record = json.loads(str(found["record"]))
    leaves, structure = jax.tree.flatten(like)
    states = [
        _from_numpy(found[f"state{number}"], leaf.dtype, record["keys"].get(str(number)))
        for number, leaf in enumerate(leaves)
    ]
    rows = [dict(zip(record["names"], row, strict=True)) for row in found["rows"]]
    position = Position(*record["position"])
    return Part(jax.tree.unflatten(structure, states), found["diverged"], position, record["steps"], rows)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _to_numpy(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _from_numpy(array: np.ndarray, dtype: Any, key_impl: str | None) -> Any:
    if key_impl:
        return jax.random.wrap_key_data(jnp.asarray(array), impl=key_impl)
    return array.view(dtype)  # NumPy's files know no bfloat16: it comes back as bytes


def _difference(there: Any, here: Any, where: str = "") -> str | None:
    """Where two JSON values differ first, as a phrase; None where they do not."""
    if isinstance(there, dict) and isinstance(here, dict):
        pairs = [
            (f"{where}.{n}" if where else n, there.get(n, "missing"), here.get(n, "missing")) for n in there | here
        ]
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        pairs = [(f"{where}[{n}]", a, b) for n, (a, b) in enumerate(zip(there, here, strict=True))]
    elif isinstance(there, list) and isinstance(here, list):
        return f"{where} has {len(there)} entries there, {len(here)} here"
    else:
        return None if there == here else f"{where} is {there} there, {here} here"
    return next((phrase for name, a, b in pairs if (phrase := _difference(a, b, name))), None)
