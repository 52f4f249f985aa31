"""Kills a training run at random moments, again and again, and compares it with one that was left alone.

python tests/kill_and_resume.py --kills 200

A run trains a small model with `rx.train.fit`, with orbax's checkpoints every few steps, in a process of its own. It is
killed (SIGKILL), goes on in a new process, is killed again, until it is done: then its state, its best state and its
metrics must be those of a run that was never killed, bit for bit. More runs follow until there were enough kills.

Processes are forked from this one, which has imported JAX and never uses it: that saves the imports.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from functools import partial
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
os.environ.setdefault("MPLBACKEND", "agg")

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint  # noqa: F401 (imported once, before the forks)

import rnnjax as rx
from rnnjax.data.lazy import LazySequence
from rnnjax.train.checkpoints import Checkpoints
from rnnjax.train.fitting import report

T, B, D = 5, 3, 2
BATCHES, SAVE_STEPS = 7, 3  # of an epoch; between checkpoints
LONGEST = 0.5  # seconds that a run trains before it is killed
OUTCOME = "outcome"  # the file for its digest


def train(folder: Path, num_steps: int, pipe: int) -> None:
    """The run: everything that a checkpoint holds changes in it. A byte goes down the pipe for each batch."""
    model = rx.Chain(rx.Elman(2), rx.Dropout(0.2), rx.Elman(D))
    optimizer = optax.adam(1e-2)

    def loss_fn(params, carry, batch, key):
        carry, ys = rx.unroll(model, params, batch, carry, key=key, method="scan")
        return rx.losses.squared_error(ys, batch), (carry, {})

    def draw(epoch, number):
        os.write(pipe, b".")
        return np.random.default_rng((epoch, number)).normal(size=(T, B, D)).astype(np.float32)

    def data(epoch):  # a sequence: batches that were trained on before are not drawn again
        return LazySequence(partial(draw, epoch), range(BATCHES))

    rng = np.random.default_rng(0)
    spec = jax.eval_shape(partial(model.init, input_size=D), jax.random.key(0))  # to draw them by JAX takes longer
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), spec)
    rx.train.fit(
        rx.train.make_step(loss_fn, optimizer),
        rx.train.init_state(params, optimizer, model.carry(params, (B,))),
        data,
        num_steps=num_steps,
        key=jax.random.key(1),
        evaluate=lambda state: {"bias": jnp.abs(state.params[-1].b).sum()},
        best=rx.train.Best("bias", largest=True),
        folder=folder,
        resume=True,
        save_steps=SAVE_STEPS,
    )


class Process:
    """The run in a process of its own.

    Args:
      folder: of the run.
      num_steps: of the whole run.
    """

    def __init__(self, folder: Path, num_steps: int):
        self.reader, writer = os.pipe()
        sys.stdout.flush()
        self.child = os.fork()
        if self.child:
            os.close(writer)
            return
        os.close(self.reader)
        status = 1
        try:
            warnings.filterwarnings("error", message="fit:")  # such as a checkpoint that cannot be read
            report.draw_curves = lambda rows, path: None  # which takes longer than all the rest
            train(folder, num_steps, writer)
            (folder / OUTCOME).write_text(outcome(folder))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def wait_for_batches(self, count: int) -> None:
        """Until the run has asked for so many batches, or is over."""
        while count > 0 and (got := os.read(self.reader, count)):
            count -= len(got)

    def kill(self) -> None:
        """Now; a run that is over does not mind."""
        os.kill(self.child, signal.SIGKILL)

    def end(self) -> int:
        """Wait for the end; 0 where the run was finished, -9 where it was killed."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
        os.close(self.reader)
        return status


@dataclasses.dataclass
class Count:
    """What has happened."""

    kills: int = 0
    writing: int = 0  # of the kills: in the middle of writing a checkpoint
    runs: int = 0
    lost: int = 0  # checkpoints that were there before a kill and not after, runs that could not go on
    different: int = 0  # runs that ended elsewhere than the one that was not killed

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.writing} of them while a checkpoint was written; {self.runs} runs:"
            f" {self.lost} lost, {self.different} different"
        )


def newest(folder: Path) -> int:
    """The step of the newest checkpoint; 0 where there is none."""
    return max((int(path.name) for path in (folder / "checkpoints").glob("*") if path.name.isdecimal()), default=0)


def outcome(folder: Path) -> str:
    """A digest of all that a run leaves behind: the arrays and the record of its newest checkpoint, its metrics."""
    store = Checkpoints(folder / "checkpoints")
    content, arrays = store.read(newest(folder))
    store.close()
    parts = [json.dumps(content).encode(), *(array.tobytes() for array in arrays.values())]
    return hashlib.sha256(b"".join([*parts, (folder / "metrics.jsonl").read_bytes()])).hexdigest()


def run_killed(folder: Path, args: argparse.Namespace, draw: random.Random, start_up: float, count: Count) -> bool:
    """A run to its end, through as many kills as are still wanted; whether it got there."""
    while True:
        before = newest(folder)
        process = Process(folder, args.steps)
        if count.kills < args.kills:
            if draw.random() < 0.2:
                time.sleep(draw.uniform(0, start_up))
            else:
                process.wait_for_batches(2)  # the step is compiled then
                time.sleep(draw.uniform(0, LONGEST))
            process.kill()
        status = process.end()
        count.lost += newest(folder) < before
        if status != -signal.SIGKILL:
            return status == 0
        count.kills += 1
        count.writing += any((folder / "checkpoints").glob("*-tmp"))


def main(argv: list[str] | None = None) -> int:
    """Returns the number of runs that were lost or came out different."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="how many (200)")
    parser.add_argument("--steps", type=int, default=60, help="of each run (60)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args(argv)
    draw, count = random.Random(args.seed), Count()
    with tempfile.TemporaryDirectory() as folder:
        jax.config.update("jax_compilation_cache_dir", f"{folder}/compiled")  # filled by the first run
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        first = Process(Path(folder, "alone"), args.steps)
        began = time.monotonic()
        first.wait_for_batches(2)
        start_up = time.monotonic() - began
        first.wait_for_batches(args.steps)
        if first.end() != 0:
            raise SystemExit("the run that was left alone has failed")
        expected = Path(folder, "alone", OUTCOME).read_text()
        while count.kills < args.kills:
            run = Path(folder, f"run-{count.runs}")
            count.runs += 1
            if not run_killed(run, args, draw, start_up, count):
                count.lost += 1
            elif (run / OUTCOME).read_text() != expected:
                count.different += 1
            print(count, flush=True)
    return count.lost + count.different


if __name__ == "__main__":
    sys.exit(min(main(), 1))
