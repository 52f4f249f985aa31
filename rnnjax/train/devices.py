"""Training on several devices: each takes a part of every batch."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from rnnjax import _checks
from rnnjax.train.step import TrainState

BATCH = "batch"  # the mesh's axis


@dataclasses.dataclass(frozen=True)
class DataParallel:
    """Splits batches over devices; params are on all of them. JAX adds what passes between them: the same numbers.

    For ``fit``, or for a loop of your own: ``step(split.state(state), split.batch(batch))``.

    Args:
      batch_axis: the axis of a batch's leaves that is split, or a tuple of them that batches begin with: ``(1, 0)`` for
        inputs [T, B, D] with labels [B, V]. Leaves with fewer axes go to all devices whole.
      carry_axis: that of the carry's leaves.
      devices: some devices; None: all local ones.

    Raises:
      TypeError: an axis is not an integer.
      ValueError: there are no devices.

    >>> import jax.numpy as jnp
    >>> split = DataParallel()
    >>> tuple(split.batch({"xs": jnp.ones((7, 4, 3)), "rate": jnp.ones(())})["xs"].sharding.spec)
    (None, 'batch')
    """

    batch_axis: int | tuple[Any, ...] = 1
    carry_axis: int = 0
    devices: Sequence[Any] | None = None

    def __post_init__(self):
        for axis in jax.tree.leaves(self.batch_axis):
            _checks.num_steps("DataParallel", "batch_axis", axis)
        _checks.num_steps("DataParallel", "carry_axis", self.carry_axis)
        if self.devices is not None:
            object.__setattr__(self, "devices", tuple(self.devices))
            if not self.devices:
                raise ValueError("DataParallel: devices are none, expected at least one")

    def batch(self, batch: Any) -> Any:
        """The batch, split."""
        return jax.device_put(batch, self._split("batch", batch, self.batch_axis))

    def state(self, state: TrainState) -> TrainState:
        """The state: its carry split, all else on every device."""
        return jax.device_put(state, self.shardings(state))

    def shardings(self, state: TrainState) -> TrainState:
        """Where each leaf of a state is."""
        whole = NamedSharding(self._mesh(), PartitionSpec())
        everywhere = jax.tree.map(lambda _: whole, state)
        return everywhere._replace(carry=self._split("carry", state.carry, self.carry_axis))

    def _split(self, name: str, tree: Any, axis: Any) -> Any:
        mesh, axes = self._mesh(), _checks.broadcast("DataParallel", f"{name}_axis", axis, tree, name)

        def one(path, leaf, axis):
            if jax.numpy.ndim(leaf) <= axis:
                return NamedSharding(mesh, PartitionSpec())
            if jax.numpy.shape(leaf)[axis] % mesh.size:
                raise ValueError(
                    f"DataParallel: {name}{jax.tree_util.keystr(path)} is {_checks.describe(leaf)}, whose axis {axis}"
                    f" cannot be split over {mesh.size} devices; drop_last=True of rx.data leaves short batches out"
                )
            return NamedSharding(mesh, PartitionSpec(*(None,) * axis, BATCH))

        return jax.tree_util.tree_map_with_path(one, tree, jax.tree.unflatten(jax.tree.structure(tree), axes))

    def _mesh(self) -> Mesh:
        devices = self.devices or tuple(jax.local_devices())
        return jax.make_mesh((len(devices),), (BATCH,), (AxisType.Auto,), devices=devices)
