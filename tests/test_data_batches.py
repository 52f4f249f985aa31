"""Minibatches, buckets, orders: every element once per epoch, by key and epoch alone, and no more read than needed."""

import subprocess
import sys
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from rnnjax.data import augmented, buckets, jitter, minibatches, permutation

KEY = jax.random.key(7)
N, T, D = 23, 7, 3


class Disk:
    """What can be indexed like an array, by ascending rows, and counts what is read: of a file of any size, say."""

    def __init__(self, array: np.ndarray):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, 0

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index) -> np.ndarray:
        for rows in index if isinstance(index, tuple) else (index,):
            assert not isinstance(rows, np.ndarray) or (np.diff(rows) > 0).all()
        found = self.array[index]
        self.read += found.size
        return found

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        self.read += self.array.size
        return self.array


def same(one, other) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_permutation() -> None:
    orders = [tuple(permutation(N, KEY, epoch)) for epoch in range(3)]
    assert all(sorted(order) == list(range(N)) for order in orders)
    assert len({*orders, tuple(range(N)), tuple(permutation(N, jax.random.key(8), 0))}) == 5
    assert orders[1] == tuple(permutation(N, KEY, 1)) == tuple(permutation(N, jax.random.key_data(KEY), 1))
    assert permutation(N, epoch=2).tolist() == list(range(N))
    assert permutation(0, KEY).tolist() == []


def test_the_order_is_that_of_every_process() -> None:
    script = "import jax, rnnjax as rx; print(rx.data.permutation(23, jax.random.key(7), 5).tolist())"
    assert eval(subprocess.check_output([sys.executable, "-c", script], text=True)) == permutation(N, KEY, 5).tolist()


@pytest.mark.parametrize("kind", ["threefry2x32", "rbg"])
def test_bad_orders(kind: str) -> None:
    assert len(permutation(N, jax.random.key(0, impl=kind))) == N
    with pytest.raises(ValueError, match="permutation: epoch is -1, expected at least 0"):
        permutation(N, KEY, -1)
    with pytest.raises(TypeError, match=r"permutation: key is 7, expected one key, jax.random.key\(seed\)"):
        permutation(N, 7)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="minibatches: key is traced, but data are made outside jit"):
        jax.jit(lambda key: minibatches(np.ones(3), 2, key=key)(0)[0])(KEY)


@pytest.mark.parametrize("key", [None, KEY], ids=["in order", "shuffled"])
def test_every_element_once_per_epoch(key) -> None:
    """Elements of all arrays stay together, whichever axis they lie on; epochs differ, and come again."""
    xs = np.arange(T * N * D).reshape(T, N, D)
    data = {"xs": xs, "rest": (np.arange(N), jnp.arange(N)[:, None])}
    batches = minibatches(data, 5, key=key, axis={"xs": 1, "rest": 0})
    epochs = [list(batches(epoch)) for epoch in (0, 1, 0)]
    for epoch in epochs:
        assert [len(batch["rest"][0]) for batch in epoch] == [5, 5, 5, 5, 3]
        assert sorted(np.concatenate([batch["rest"][0] for batch in epoch])) == list(range(N))
        for batch in epoch:
            rows = batch["rest"][0]
            same(batch, {"xs": xs[:, rows], "rest": (rows, rows[:, None])})
            assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(batch))
    same(epochs[0], epochs[2])
    together = [{frozenset(batch["rest"][0]) for batch in epoch} for epoch in epochs]
    assert (together[0] == together[1]) == (key is None)
    whole = minibatches(data, 5, key=key, axis={"xs": 1, "rest": 0}, drop_last=True)
    assert len(whole(0)) == 4
    assert (batches.num_shapes, whole.num_shapes, minibatches(np.arange(10), 5).num_shapes) == (2, 1, 1)


def test_batches_are_made_alone() -> None:
    """Batch k is the same whether or not others were made; a slice makes none."""
    source = Disk(np.arange(N))
    batches = minibatches(source, 5, key=KEY)(1)
    later = batches[3:]
    assert source.read == 0
    same(list(later), list(batches)[3:])
    same(batches[-1], batches[4])
    assert len(later) == 2
    assert repr(later) == "<2 items, made when asked for>"
    with pytest.raises(IndexError):
        batches[5]


def test_an_index_error_in_a_batch_is_no_end() -> None:
    def augment(batch, key):
        raise IndexError

    with pytest.raises(IndexError):
        list(augmented(minibatches(np.arange(N), 5), augment, KEY)(0))


def test_only_the_rows_of_a_batch_are_read(tmp_path) -> None:
    """Of what is indexed like an array, and of a memory-mapped file."""
    array = np.arange(T * N * D).reshape(T, N, D)
    np.save(tmp_path / "xs.npy", array)
    mapped, disk = np.load(tmp_path / "xs.npy", mmap_mode="r"), Disk(array)
    for source in (mapped, disk):
        batches = minibatches(source, 4, key=KEY, axis=1)
        same(batches(2)[1], minibatches(array, 4, key=KEY, axis=1)(2)[1])
        assert not isinstance(batches(2)[1], np.memmap)
    assert disk.read == 2 * T * 4 * D

    sequences = [Disk(np.arange(length)) for length in range(1, 12)]
    batch = buckets(sequences, 3, labels=np.arange(11), key=KEY)(0)[0]
    for number, sequence in enumerate(sequences):
        assert sequence.read == (len(sequence) if number in batch.labels else 0)


def test_minibatches_bad_input() -> None:
    with pytest.raises(ValueError, match=r"arrays\[0\] has 5 elements on axis 0, but arrays\[1\] has 4 elements on"):
        minibatches((np.ones(5), np.ones((4, 5))), 2)
    with pytest.raises(ValueError, match="minibatches: the data set is empty"):
        minibatches(np.ones((0, 3)), 2)
    with pytest.raises(ValueError, match="minibatches: arrays hold no array"):
        minibatches({}, 2)
    with pytest.raises(ValueError, match="3 elements do not fill a batch of 5, and drop_last leaves it out"):
        minibatches(np.ones(3), 5, drop_last=True)
    with pytest.raises(ValueError, match="minibatches: batch_size is 0, expected a positive integer"):
        minibatches(np.ones(3), 0)
    with pytest.raises(TypeError, match="minibatches: drop_last is 1, expected True or False"):
        minibatches(np.ones(3), 2, drop_last=1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="minibatches: axis of arrays is 2, expected one of its 2 axes"):
        minibatches(np.ones((3, 2)), 2, axis=2)
    with pytest.raises(ValueError, match=r"minibatches: axis has the structure \(\*, \*\), but arrays has"):
        minibatches(np.ones(3), 2, axis=(0, 1))
    with pytest.raises(TypeError, match=r"minibatches: arrays\[0\] is 1, expected an array"):
        minibatches([1, 2], 2)


LENGTHS = np.concatenate([np.random.default_rng(0).integers(1, 200, 61), [0, 1, 400]])
SEQUENCES = [np.full((length, D), float(number)) for number, length in enumerate(LENGTHS)]
STEPS = [np.arange(length) for length in LENGTHS]
LABELS = {"number": np.arange(len(LENGTHS)), "two": np.arange(2 * len(LENGTHS)).reshape(-1, 2)}


@pytest.mark.parametrize("key", [None, KEY], ids=["in order", "shuffled"])
@pytest.mark.parametrize(("batch_size", "growth"), [(5, 1.5), (1, 1.1), (7, 3.0), (100, 1.5)])
def test_buckets(key, batch_size: int, growth: float) -> None:
    """Every sequence once, whole, with its labels and targets; few shapes, one short batch, bounded padding."""
    batches = buckets(SEQUENCES, batch_size, labels=LABELS, targets=STEPS, key=key, growth=growth)
    shapes = set()
    for epoch in range(3):
        made = list(batches(epoch))
        assert sorted(np.concatenate([batch.labels["number"] for batch in made])) == list(range(len(LENGTHS)))
        for batch in made:
            numbers = batch.labels["number"]
            np.testing.assert_array_equal(batch.labels["two"][:, 1], 2 * numbers + 1)
            np.testing.assert_array_equal(batch.mask, np.arange(len(batch.mask))[:, None] < LENGTHS[numbers])
            np.testing.assert_array_equal(batch.xs[..., 1], batch.mask * numbers)
            np.testing.assert_array_equal(batch.targets, batch.mask * np.arange(len(batch.mask))[:, None])
        sizes = Counter(batch.mask.shape[1] for batch in made)
        assert sizes[batch_size] >= len(made) - 1
        for num_steps in {len(batch.mask) for batch in made}:
            longer = [LENGTHS[batch.labels["number"]] for batch in made if len(batch.mask) == num_steps]
            assert (np.maximum(np.concatenate(longer), 1) * growth <= num_steps).sum() < batch_size
        steps = [len(batch.mask) for batch in made]
        assert (steps == sorted(steps)) == (key is None or batch_size == 100)
        shapes.update(batch.mask.shape for batch in made)
    assert len(shapes) <= batches.num_shapes <= 2 + np.log(400) / np.log(growth)
    same(list(batches(1)), list(batches(1)))
    orders = {str([batch.labels["number"].tolist() for batch in batches(epoch)]) for epoch in range(3)}
    assert len(orders) == (1 if key is None or batch_size == 100 else 3)


def test_buckets_drop_the_last() -> None:
    """The batches are all whole; what is left out differs from epoch to epoch."""
    batches = buckets(SEQUENCES, 7, labels=np.arange(len(LENGTHS)), key=KEY, drop_last=True)
    seen = [np.concatenate([batch.labels for batch in batches(epoch)]) for epoch in range(4)]
    assert all(batch.mask.shape[1] == 7 for batch in batches(0))
    assert len({batch.mask.shape for epoch in range(4) for batch in batches(epoch)}) <= batches.num_shapes
    assert all(len(set(numbers)) == len(numbers) == len(LENGTHS) // 7 * 7 for numbers in seen)
    assert len({frozenset(numbers) for numbers in seen}) > 1


def test_buckets_dtypes() -> None:
    """The dtype is the same whichever sequences stand together."""
    batches = buckets([np.ones(3, np.float32), np.ones(9), [], np.ones(3, np.float32)], 1)
    assert {batch.xs.dtype for batch in batches(0)} == {np.dtype(np.float64)}
    assert batches(0)[0].labels is None
    assert batches(0)[0].targets is None


def test_buckets_bad_input() -> None:
    good = [np.ones(3), np.ones(5)]
    with pytest.raises(ValueError, match="buckets: sequences are empty, expected at least one"):
        buckets([], 2)
    with pytest.raises(ValueError, match="buckets: all 2 sequences are empty, so that every mask would be False"):
        buckets([[], []], 2)
    with pytest.raises(ValueError, match=r"buckets: sequence 1 has shape \(5, 2\), but sequence 0 \(3,\)"):
        buckets([np.ones(3), np.ones((5, 2))], 2)
    with pytest.raises(ValueError, match=r"buckets: labels\['y'\] is float64\[3\], but there are 2 sequences"):
        buckets(good, 2, labels={"y": np.ones(3)})
    with pytest.raises(TypeError, match=r"buckets: labels\[0\] is 1, expected an array"):
        buckets(good, 2, labels=[1, 0])
    with pytest.raises(ValueError, match="buckets: there are 1 targets for 2 sequences"):
        buckets(good, 2, targets=good[:1])
    with pytest.raises(ValueError, match="buckets: target 1 has 4 steps, but sequence 1 has 5"):
        buckets(good, 2, targets=[np.ones(3), np.ones(4)])
    with pytest.raises(ValueError, match=r"buckets: growth is 1.0, expected to lie in \(1.0, inf\]"):
        buckets(good, 2, growth=1.0)
    with pytest.raises(ValueError, match="buckets: 2 elements do not fill a batch of 3"):
        buckets(good, 3, drop_last=True)


def test_augmented() -> None:
    """Each batch of each epoch is changed with a key of its own, the same one whenever it is asked for."""
    batches = minibatches(np.zeros((N, 2)), 5)
    changed = augmented(batches, lambda batch, key: jitter(batch, 1.0, key), KEY)
    epochs = [np.concatenate(list(changed(epoch))) for epoch in range(2)]
    assert np.unique(epochs).size == 2 * N * 2
    np.testing.assert_array_equal(changed(1)[3:][0], epochs[1][15:20])
    streamed = augmented(lambda epoch: iter(batches(epoch)), lambda batch, key: jitter(batch, 1.0, key), KEY)
    np.testing.assert_array_equal(np.concatenate(list(streamed(1))), epochs[1])
    other = augmented(batches, lambda batch, key: jitter(batch, 1.0, key), jax.random.key(8))
    assert not np.isin(other(0)[0], epochs).any()
    drawn = augmented(batches, lambda batch, key: jax.random.normal(key, (2,)), KEY)(0)
    assert not np.array_equal(drawn[0], drawn[1])
    with pytest.raises(TypeError, match="augmented: key is None, expected one key"):
        augmented(batches, jitter, None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"augmented: augment is 0.1, expected a function"):
        augmented(batches, 0.1, KEY)  # pyright: ignore[reportArgumentType]


def test_a_batch_goes_to_unroll() -> None:
    """Padding and company change nothing."""
    cell = rx.Elman(2)
    params = cell.init(jax.random.key(0), D)
    sequences = [np.random.default_rng(n).normal(size=(length, D)) for n, length in enumerate((3, 5, 2))]
    (batch,) = buckets(sequences, 3, labels=np.arange(3), key=KEY)(0)
    h, _ = rx.unroll(cell, params, batch.xs, mask=batch.mask)
    for column, number in enumerate(batch.labels):
        alone, _ = rx.unroll(cell, params, sequences[number])
        np.testing.assert_allclose(h[column], alone, rtol=1e-12)
