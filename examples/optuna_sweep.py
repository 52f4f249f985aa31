"""Optuna asks for settings and is told what became of them: a batch of trials is one sweep, compiled once for all.

python examples/optuna_sweep.py          10 batches of 16 networks on the task of examples/sweep.py
"""

import argparse

import optuna
from sweep import batches, evaluate, init, step

import rnnjax as rx


def main(argv: list[str] | None = None) -> float:
    """Search; returns the least validation loss."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="batches of trials")
    parser.add_argument("--trials", type=int, default=16, help="of a batch")
    parser.add_argument("--steps", type=int, default=500)
    args = parser.parse_args(argv)
    rx.sweep.use_host_devices()
    sampler = optuna.samplers.TPESampler(seed=0, constant_liar=True)  # trials of a batch keep away from each other
    study = optuna.create_study(sampler=sampler)
    for _ in range(args.rounds):
        trials = [study.ask() for _ in range(args.trials)]
        settings = [
            {"leak": t.suggest_float("leak", 0.05, 1), "lr": t.suggest_float("lr", 3e-4, 3e-2, log=True), "size": 32}
            for t in trials
        ]
        results = rx.sweep.run(init, step, settings, batches, num_steps=args.steps, evaluate=evaluate, every=args.steps)
        for trial, row in zip(trials, results.rows(), strict=True):
            failed = optuna.trial.TrialState.FAIL if row["diverged"] else None
            study.tell(trial, None if failed else row["valid_loss"], state=failed)
        print(f"{len(study.trials)} trials, best: {study.best_value:.4f} with {study.best_params}")
    return study.best_value


if __name__ == "__main__":
    main()
