"""Many small models: all in one program, on one device or two, against one jitted step for each.

Runs in a process of its own: see ``apart``.
"""

import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import rnnjax as rx
from benchmarks.agreement import check_same
from benchmarks.sizes import Size, draw
from benchmarks.suites import Options, labels
from benchmarks.suites.apart import NUM_DEVICES
from benchmarks.timing import Contender, Row, compiled_within_memory, measure

SIZE = Size(100, 8, 32, 32)
LEARNING_RATE = 1e-3
ONE_BY_ONE = "one by one"


def step(params, xs):
    """Plain SGD on the sum of squares of an LSTM's outputs."""

    def loss(params):
        return jnp.square(rx.unroll(rx.LSTM(SIZE.H), params, xs)[1]).sum()

    return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, jax.grad(loss)(params))


def one_after_another(params, xs):
    """``step`` of each model by ``lax.map``."""
    return jax.lax.map(lambda model: step(*model), (params, xs))


VARIANTS = {"vmap": jax.vmap(step), "map": one_after_another}


def run(options: Options) -> Iterator[list[Row]]:
    """Rows of each population; those on two devices only where there are two."""
    for num_models in options.populations:
        params, xs = draw(rx.LSTM(SIZE.H), SIZE, num_models)
        contenders = [_one_by_one(params, xs)]
        contenders += [compiled_within_memory(name, fn, params, xs) for name, fn in VARIANTS.items()]
        if len(jax.devices()) >= NUM_DEVICES:
            mesh = jax.make_mesh((NUM_DEVICES,), ("models",), (AxisType.Auto,), devices=jax.devices()[:NUM_DEVICES])
            split = PartitionSpec("models")
            placed = jax.device_put((params, xs), NamedSharding(mesh, split))
            for name, fn in VARIANTS.items():
                halves = jax.shard_map(fn, mesh=mesh, in_specs=split, out_specs=split)
                contenders.append(compiled_within_memory(f"{name}, two devices", halves, *placed))
        for contender in contenders:
            what = f"{contender.variant}, {num_models} models"
            check_same(what, "training", contender.result, contenders[0].result)
        label = labels("population", "LSTM", SIZE, "training") | {"models": num_models}
        yield measure(label, contenders, options.effort)


def _one_by_one(params, xs) -> Contender:
    """A jitted step for each model, all dispatched before the first is waited for."""
    models = [jax.tree.map(lambda leaf, number=number: leaf[number], (params, xs)) for number in range(len(xs))]
    jax.clear_caches()
    jitted = jax.jit(step)

    def run():
        return jax.block_until_ready([jitted(*model) for model in models])

    began = time.perf_counter()
    result = run()
    elapsed = time.perf_counter() - began
    return Contender(ONE_BY_ONE, run, jax.tree.map(lambda *leaves: jnp.stack(leaves), *result), elapsed)
