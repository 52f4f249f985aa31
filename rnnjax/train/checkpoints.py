"""Checkpoints of a run, by orbax: each appears whole or not at all, and one that was damaged is not believed.

A checkpoint is the leaves of a pytree, by number, and JSON: the paths of the leaves with their shapes and dtypes, a
record of whatever else the caller wants to know again, and a checksum over everything.
"""

import contextlib
import json
import logging
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax._checks import describe
from rnnjax.train.paths import leaf_paths

KEPT = 2  # the newest, and the one before it for when that cannot be read
Record = dict[str, Any]


class Checkpoints:
    """The checkpoints in a folder, each in a folder of its own that is called by its step.

    Args:
      folder: made where there is none.

    Raises:
      ImportError: orbax is not installed.
      OSError: the folder cannot be made.

    >>> import tempfile, jax.numpy as jnp
    >>> checkpoints = Checkpoints(Path(tempfile.mkdtemp()))
    >>> checkpoints.save(3, {"w": jnp.ones(2)}, {"epoch": 1})
    >>> checkpoints.load(lambda record: {"w": jnp.zeros(2)})
    ({'w': Array([1., 1.], dtype=float32)}, {'epoch': 1})
    >>> checkpoints.close()
    """

    def __init__(self, folder: Path):
        self.folder, self._orbax = folder.absolute(), _orbax()
        options = self._orbax.CheckpointManagerOptions(
            preservation_policy=self._orbax.checkpoint_managers.LatestN(KEPT),
            enable_async_checkpointing=False,
            cleanup_tmp_directories=True,
        )
        with _quiet():
            self._manager = self._orbax.CheckpointManager(self.folder, options=options)

    def close(self) -> None:
        """Let go of orbax's threads."""
        self._manager.close()
        self._clear_unfinished()

    @property
    def newest(self) -> Path | None:
        """The folder of the newest."""
        step = self._manager.latest_step()
        return None if step is None else self.folder / str(step)

    def save(self, step: int, tree: Any, record: Record) -> None:
        """Write a checkpoint; all but the newest two are deleted then.

        Args:
          step: its number, above those of the others.
          tree: of arrays, on any devices.
          record: what JSON can hold.

        Raises:
          OSError: it cannot be written; the others stay.
        """
        arrays = [_to_numpy(leaf) for leaf in jax.tree.leaves(tree)]
        content = {"leaves": _described(tree), "record": record}
        content |= {"checksum": _checksum(content, arrays)}
        filled = {str(number): array for number, array in enumerate(arrays) if array.size}  # orbax takes no others
        items = {"arrays": self._orbax.args.PyTreeSave(filled), "content": self._orbax.args.JsonSave(content)}
        self._clear_unfinished()
        try:
            with _quiet():
                self._manager.save(step, args=self._orbax.args.Composite(**items))
        except Exception as error:  # tensorstore has a ValueError for a full disk, the reason at its end
            self._clear_unfinished()  # it may be what fills the disk
            reason = str(error).rsplit(": ", 1)[-1]
            raise OSError(f"cannot write the checkpoint {self.folder / str(step)}: {reason}") from error

    def load(self, like: Callable[[Record], Any]) -> tuple[Any, Record] | None:
        """The newest that can be read. Newer ones that cannot are put aside, with a warning.

        Args:
          like: from the record, a pytree with the structure, shapes and dtypes that are expected.

        Returns:
          ``(tree, record)``; None where there is no checkpoint.

        Raises:
          ValueError: it holds another pytree, or none of the checkpoints can be read.
        """
        damaged: dict[Path, str] = {}
        steps = sorted(self._manager.all_steps(), reverse=True)
        for place, step in enumerate(steps):
            path = self.folder / str(step)
            try:
                content, arrays = self.read(step)
            except Exception as error:  # whatever orbax and JSON make of a damaged file
                damaged[path] = _first_line(error)
                continue
            tree = _refill(like(content["record"]), content["leaves"], arrays, path)
            for bad, reason in damaged.items():
                aside = self._put_aside(bad)
                warnings.warn(
                    f"fit: cannot read the checkpoint {bad}: {reason}; {path} is used, and it is kept as {aside}",
                    stacklevel=2,
                )
            for old in steps[place + KEPT :]:
                shutil.rmtree(self.folder / str(old))  # a kill left it there, in part
            self._manager.reload()
            return tree, content["record"]
        if damaged:
            reasons = ", ".join(f"{path.name}: {reason}" for path, reason in damaged.items())
            raise ValueError(f"fit: none of the checkpoints in {self.folder} can be read ({reasons})")
        return None

    def read(self, step: int) -> tuple[Record, dict[str, np.ndarray]]:
        """The content and the arrays of a checkpoint, as they were written.

        Raises:
          Exception: whatever orbax and JSON make of a damaged file.
        """
        items = {"arrays": self._orbax.args.PyTreeRestore(), "content": self._orbax.args.JsonRestore()}
        with _quiet():
            found = self._manager.restore(step, args=self._orbax.args.Composite(**items))
        checksum = found.content.pop("checksum")
        if _checksum(found.content, [found.arrays[number] for number in sorted(found.arrays, key=int)]) != checksum:
            raise ValueError("its checksum is wrong")
        return found.content, found.arrays

    def _clear_unfinished(self) -> None:
        """Delete what a failed save left. Its threads may write on for a moment: so this is done again later."""
        for part in self.folder.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(part, ignore_errors=True)

    def _put_aside(self, damaged: Path) -> Path:
        """Out of the way of a checkpoint to come, which will have the same number."""
        number = sum(1 for _ in self.folder.parent.glob(f"damaged-{damaged.name}-*"))
        return damaged.rename(self.folder.parent / f"damaged-{damaged.name}-{number}")


def _described(tree: Any) -> list[list[str]]:
    return [[path, describe(leaf)] for path, leaf in zip(leaf_paths(tree), jax.tree.leaves(tree), strict=True)]


def _refill(like: Any, found: list[list[str]], arrays: dict[str, np.ndarray], path: Path) -> Any:
    """The pytree ``like`` with the arrays for leaves, if these are described as its own are."""
    expected = _described(like)
    if found != expected:
        there, here = dict(found), dict(expected)
        name = next(name for name in here | there if here.get(name) != there.get(name))
        raise ValueError(
            f"fit: the checkpoint {path} is of another run: {name} is {there.get(name, 'missing')} there, but"
            f" {here.get(name, 'missing')} here"
        )
    leaves, structure = jax.tree.flatten(like)
    filled = (arrays.get(str(number), np.zeros(leaf.shape)) for number, leaf in enumerate(leaves))
    return jax.tree.unflatten(structure, [_from_numpy(a, leaf) for a, leaf in zip(filled, leaves, strict=True)])


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _to_numpy(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _from_numpy(array: np.ndarray, like: Any) -> jax.Array:
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(like))
    return jnp.asarray(array, like.dtype)


def _checksum(content: Record, arrays: list[np.ndarray]) -> int:
    checksum = zlib.crc32(json.dumps(content, sort_keys=True).encode())
    for array in arrays:
        checksum = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, checksum)
    return checksum


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__} {error}".splitlines()[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without orbax's log, which has a page where we have a sentence."""
    logger = logging.getLogger("absl")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _orbax() -> Any:
    try:
        import orbax.checkpoint as orbax
    except ImportError as error:
        raise ImportError("fit needs orbax-checkpoint for its folder: pip install 'rnnjax[train]'") from error
    return orbax
