"""Data-parallel training: two devices do what one does."""

from typing import Any

import jax
import numpy as np
import optax
import pytest

import rnnjax as rx
from rnnjax.train.fitting.program import compiled

T, B, D, H = 7, 6, 5, 2
KEY = jax.random.key(3)
model = rx.Chain(rx.Elman(H), rx.Dropout(0.5), rx.Elman(D))
optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))


def loss_fn(params, carry, batch, key):
    carry, ys = rx.unroll(model, params, batch["xs"], carry, mask=batch["mask"], key=key, method="scan")
    return batch["scale"] * rx.losses.squared_error(ys, batch["xs"], batch["mask"]), (carry, {"mean": ys.mean()})


step = rx.train.make_step(loss_fn, optimizer)


def start(batch_size=B):
    rng = np.random.default_rng(0)
    spec = jax.eval_shape(lambda key: model.init(key, D), KEY)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), spec)
    return rx.train.init_state(params, optimizer, model.carry(params, (batch_size,)))


def data(epoch, batch_size=B):
    rng = np.random.default_rng(epoch)
    for _ in range(3):
        xs, mask = rng.normal(size=(T, batch_size, D)), rng.random((T, batch_size)) < 0.8
        yield {"xs": xs, "mask": mask, "scale": np.array(0.5)}


def close(one, other) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), one, other)


def test_two_devices_do_what_one_does(tmp_path) -> None:
    """The same state and losses; params on both, the carry split; one program; a checkpoint of two goes on with one."""
    assert len(jax.local_devices()) == 2
    split = rx.train.DataParallel()
    alone = rx.train.fit(step, start(), data, num_steps=5, key=KEY)
    both = rx.train.fit(step, start(), data, num_steps=4, key=KEY, parallel=split, folder=tmp_path)
    assert len(both.state.params[0].W.sharding.device_set) == 2
    assert both.state.params[0].W.is_fully_replicated
    assert not both.state.carry[0].is_fully_replicated
    program: Any = compiled(step, split)
    assert program._cache_size() == 1
    rest = rx.train.fit(step, start(), data, num_steps=5, key=KEY, folder=tmp_path, resume=True)
    close(rest.state, alone.state)
    close(rest.rows, alone.rows)
    back = rx.train.fit(step, start(), data, num_steps=7, key=KEY, folder=tmp_path, resume=True, parallel=split)
    assert len(back.state.params[0].W.sharding.device_set) == 2
    assert program._cache_size() == 1


def test_other_axes_and_devices() -> None:
    devices = jax.local_devices()
    split = rx.train.DataParallel(batch_axis=0, carry_axis=1, devices=devices[:1])
    assert split.batch(np.zeros((3, 5))).sharding.device_set == {devices[0]}
    split = rx.train.DataParallel(batch_axis=0, devices=devices)
    assert split.batch(np.zeros((4, 5))).addressable_shards[0].data.shape == (2, 5)

    split = rx.train.DataParallel(batch_axis=(1, 0))  # inputs [T, B, D], one-hot labels [B, V]
    xs, labels = split.batch((np.zeros((7, 4, 3)), np.zeros((4, 3))))
    assert (xs.addressable_shards[0].data.shape, labels.addressable_shards[0].data.shape) == ((7, 2, 3), (2, 3))
    hash(split)  # programs are kept by it


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"DataParallel: batch_axis has the structure \(\*, \*\), but batch has \*"):
        rx.train.DataParallel(batch_axis=(1, 0)).batch(np.zeros((7, 4, 3)))
    with pytest.raises(ValueError, match=r"batch\['mask'\] is bool\[7,3\], whose axis 1 cannot be split over 2"):
        rx.train.fit(step, start(3), lambda epoch: data(epoch, 3), num_steps=2, parallel=rx.train.DataParallel(1, 9))
    with pytest.raises(ValueError, match=r"carry\[0\] is float64\[3,2\], whose axis 0 cannot be split over 2 devices"):
        rx.train.fit(step, start(3), data, num_steps=2, parallel=rx.train.DataParallel())
    with pytest.raises(ValueError, match="DataParallel: batch_axis is -1, expected at least 0"):
        rx.train.DataParallel(batch_axis=-1)
    with pytest.raises(ValueError, match="DataParallel: devices are none, expected at least one"):
        rx.train.DataParallel(devices=())
