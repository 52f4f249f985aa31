"""Prefetching, a shuffle buffer and stacks of examples: of iterators that do not fit into memory."""

import threading
import traceback

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from rnnjax.data import batched, minibatches, prefetch, shuffled

KEY = jax.random.key(2)


def loaders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("rnnjax-prefetch")]


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("num", [0, 1, 5])
def test_prefetch_keeps_the_order(size: int, num: int) -> None:
    """Each item once, in order; never more than ``size`` ahead; no thread is left."""
    made = []

    def loader():
        for number in range(num):
            made.append(number)
            yield number

    for taken, item in enumerate(prefetch(loader(), size)):
        assert item == taken
        assert len(made) <= taken + 1 + size
    assert made == list(range(num))
    assert not loaders()


def test_prefetch_works_ahead() -> None:
    """While one item is used, the next three are made, in another thread."""
    fourth = threading.Event()

    def loader():
        yield threading.current_thread()
        yield from (2, 3)
        fourth.set()
        yield 4

    items = prefetch(loader(), size=3)
    assert next(items) is not threading.current_thread()
    assert fourth.wait(timeout=60)
    assert list(items) == [2, 3, 4]


def test_prefetch_raises_what_the_loader_raises() -> None:
    """After the items before it, with the traceback of the loader; then it is over."""

    def broken_loader():
        yield from (1, 2)
        raise OSError("no such file")

    items = prefetch(broken_loader(), 5)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(OSError, match="no such file") as caught:
        next(items)
    assert "in broken_loader" in "".join(traceback.format_tb(caught.tb))
    assert list(items) == []
    assert not loaders()


@pytest.mark.parametrize("leave", ["close", "break", "forget"])
def test_prefetch_can_be_left(leave: str) -> None:
    """The thread of an endless loader ends with the loop."""
    made, items = [], None

    def endless():
        while True:
            made.append(None)
            yield len(made)

    if leave == "break":
        for number in prefetch(endless(), 3):
            if number == 5:
                break
    else:
        items = prefetch(endless(), 3)
        assert next(items) == 1
        if leave == "close":
            items.close()
        del items
    assert not loaders()
    assert len(made) <= 9


def test_prefetch_to_a_device() -> None:
    """Onto a device, or split over several."""
    batches = minibatches({"xs": np.arange(12.0).reshape(6, 2)}, 4)
    device = jax.devices()[1]
    first = next(prefetch(batches(0), device=device))["xs"]
    assert first.devices() == {device}
    np.testing.assert_array_equal(first, batches(0)[0]["xs"])
    split = NamedSharding(jax.make_mesh((2,), ("batch",)), PartitionSpec("batch"))
    assert next(prefetch(batches(0), device=split))["xs"].sharding == split
    assert isinstance(next(prefetch(batches(0)))["xs"], np.ndarray)


def test_prefetch_bad_input() -> None:
    with pytest.raises(ValueError, match="prefetch: size is 0, expected a positive integer"):
        prefetch([1], 0)
    batches = minibatches(np.ones(3), 2)
    with pytest.raises(
        TypeError, match=r"prefetch: items are Batches\(num_shapes=2\), expected an iterable, such as b"
    ):
        prefetch(batches)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("num", [0, 1, 7, 100])
def test_shuffled(num: int) -> None:
    """Each once; none more than the buffer early; by key."""
    found = list(shuffled(iter(range(num)), 7, KEY))
    assert sorted(found) == list(range(num))
    assert all(number <= place + 7 for place, number in enumerate(found))
    assert found == list(shuffled(range(num), 7, KEY))
    if num > 1:
        assert found != list(range(num))
        assert found != list(shuffled(range(num), 7, jax.random.fold_in(KEY, 1)))


def test_shuffled_reads_no_further_than_its_buffer() -> None:
    source = iter(range(100))
    assert next(shuffled(source, 7, KEY)) < 7
    assert next(source) == 8


def test_batched() -> None:
    examples = [{"xs": np.full((5, 3), number), "label": number} for number in range(7)]
    batches = list(batched(iter(examples), 3, axis=0))
    assert [batch["label"].tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert batches[1]["xs"][:, 0, 0].tolist() == [3, 4, 5]
    (sequences, _) = batched((example["xs"] for example in examples), 3, axis=1, drop_last=True)
    assert sequences.shape == (5, 3, 3)
    assert sequences[0, :, 0].tolist() == [0, 1, 2]


def test_batched_bad_input() -> None:
    with pytest.raises(
        ValueError, match=r"batched: item 1 is \{'xs': 'float64\[3\]'\}, but item 0 \{'xs': 'float64\[2\]"
    ):
        list(batched([{"xs": np.ones(2)}, {"xs": np.ones(3)}], 2))
    with pytest.raises(ValueError, match=r"batched: item 2 is int64\[\], but item 0 float64\[\]"):
        list(batched([0.5, 1.5, 2], 2))
    with pytest.raises(ValueError, match="batched: batch_size is 0, expected a positive integer"):
        batched([1], 0)
    with pytest.raises(ValueError, match="shuffled: buffer_size is 0, expected a positive integer"):
        shuffled([1], 0, KEY)
    with pytest.raises(TypeError, match="shuffled: key is None, expected one key"):
        shuffled([1], 2, None)  # pyright: ignore[reportArgumentType]
