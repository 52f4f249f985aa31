"""``run``: a sweep, from its arguments to its results."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax

from rnnjax import _checks
from rnnjax._types import Key
from rnnjax.data.epochs import Data
from rnnjax.saving.describe import describe
from rnnjax.sweep.groups import Member, label, make_groups, make_members
from rnnjax.sweep.host_devices import hint_at_host_devices
from rnnjax.sweep.job import Job
from rnnjax.sweep.planning import default_limit, usual_ways
from rnnjax.sweep.program import WAYS, Devices
from rnnjax.sweep.progress import progress
from rnnjax.sweep.results import Results
from rnnjax.sweep.schedule import Schedule
from rnnjax.sweep.settings import Settings, checked
from rnnjax.sweep.store import Store
from rnnjax.sweep.stream import check_data, stream
from rnnjax.train.folders import claimed
from rnnjax.train.interrupt import interruptible
from rnnjax.train.paths import leaf_paths


def run(
    init: Callable[[Settings, Key], Any],
    step: Callable[[Any, Any], tuple[Any, dict[str, Any]]],
    settings: Sequence[Settings],
    data: Data,
    *,
    num_steps: int,
    seeds: Iterable[int] = (0,),
    evaluate: Callable[[Any], dict[str, Any]] | None = None,
    every: int = 10,
    way: str = "auto",
    devices: Sequence[Any] | None = None,
    memory_limit: float | None = None,
    folder: str | Path | None = None,
    save_seconds: float = 60.0,
) -> Results:
    """Train a model for every setting with every seed, as few compiled programs as can be.

    ::

        state = init(hparams, jax.random.key(seed))
        for batch in data:  state, metrics = step(state, batch)

    for each member, the same batches for all: what a member computes is what it would compute alone, to rounding.
    Floats and arrays among the settings are traced: members that differ in these, and in their seeds, run in one
    program. All else (integers, strings, functions) is a part of the program, which is compiled once for each
    combination. ``step`` sees only the state: learning rates lie in the state of ``optax.inject_hyperparams``, other
    values are leaves of the state, what is no array is ``rx.sweep.Static`` in it, and a key of its own if it draws.

    A member whose metrics are not finite has diverged: the step is noted, and the others do not notice.

    Args:
      init: ``(hparams, key) -> state``, pure; hparams is one dict of ``settings``, state a pytree.
      step: ``(state, batch) -> (state, metrics)``, pure; metrics is a dict of numbers.
      settings: a list of dicts with the same names: ``grid(...)``, ``random(...)``, your own, or several added.
      data: batches to iterate over, anew for each epoch and each group; or a function from the number of the epoch.
      num_steps: steps of each member.
      seeds: integers; members are all settings with all seeds.
      evaluate: ``state -> metrics``, pure; their names are not those of ``step``.
      every: steps of a row of metrics, which holds the mean of ``step``'s and what ``evaluate`` gives after them.
        So many batches go to the device at once.
      way: ``"map"`` (one member after the other), ``"vmap"`` (all at once), ``"auto"``: the faster one, by a
        measurement of some steps where that pays. Members are split over ``devices`` in any case.
      devices: some of ``jax.devices()``; None: all local ones. A CPU is one, unless asked: ``use_host_devices``.
      memory_limit: bytes that members running together may take on all devices, by XLA's own account for the first
        batches; as many run at a time as fit. None: half of the memory there is.
      folder: where states and metrics are kept while the sweep runs. The same call goes on from there, after a kill
        too, with bit for bit the same results on as many devices; what is finished is not run again. Functions and
        data are not compared: after a change to them, give another folder.
      save_seconds: from one time to the next.

    Returns:
      ``Results``: members in the order of settings, then seeds; their states are in the memory of the host.

    Raises:
      ValueError, TypeError: bad arguments, settings that ``init`` does not use, states or metrics of the wrong form,
        or a folder of another sweep.
      OSError: the folder cannot be written to, or another run is at work in it.
      KeyboardInterrupt: Ctrl-C, after saving to the folder.

    >>> import jax, jax.numpy as jnp, optax, rnnjax as rx
    >>> adam = optax.inject_hyperparams(optax.adam)
    >>> def init(hparams, key):
    ...     train = rx.train.init_state(rx.Leaky(5).init(key, input_size=2), adam(hparams["lr"]))
    ...     return {"train": train, "leak": hparams["leak"]}
    >>> def step(state, batch):
    ...     def loss_fn(params, carry, batch, key):
    ...         _, ys = rx.unroll(rx.Leaky(5, leak=state["leak"]), params, batch)
    ...         return jnp.square(ys - 0.5).mean(), (carry, {})
    ...     train, metrics = rx.train.make_step(loss_fn, adam(0.0))(state["train"], batch)
    ...     return state | {"train": train}, metrics
    >>> settings = rx.sweep.grid(lr=[1e-3, 1e-2], leak=[0.2, 0.9])
    >>> results = rx.sweep.run(init, step, settings, [jnp.ones((7, 3, 2))], num_steps=20, seeds=range(3))
    >>> len(results), results.best("loss").hparams["lr"]
    (12, 0.01)
    """
    _checks.positive_int("run", "num_steps", num_steps)
    _checks.positive_int("run", "every", every)
    _checks.within("run", "save_seconds", save_seconds, 0.0, float("inf"))
    _checks.one_of("run", "way", way, ("auto", *WAYS))
    _checks.are_functions("run", init=init, step=step, evaluate=evaluate or step)
    check_data(data)
    members = make_members(checked(settings), seeds)
    jobs = [Job.of(group, init, step, evaluate) for group in make_groups(members)]
    _refuse_unread(jobs)
    batch, _ = next(stream(data))
    names = list(dict.fromkeys(name for job in jobs for name in job.metric_names(batch)))
    sweep = {"num_steps": num_steps, "every": every, "metrics": names, **_description(members, jobs)}
    if devices is None:
        devices = jax.local_devices()
        hint_at_host_devices(len(members), devices)
    devices = _checked_devices(devices)
    ways = usual_ways(devices) if way == "auto" else (way,)
    limit = default_limit(devices) if memory_limit is None else memory_limit
    _checks.within("run", "memory_limit", limit, 0.0, float("inf"), low_included=False)

    finished, plans = [], []
    with contextlib.ExitStack() as stack:
        store = Store(None if folder is None else stack.enter_context(claimed("run", folder)), sweep)
        asked = stack.enter_context(interruptible())
        tell = stack.enter_context(progress(num_steps * len(members)))
        schedule = Schedule(data, num_steps, every, save_seconds, store, asked, tell)
        for number, job in enumerate(jobs):
            plan = schedule.plan(f"group-{number}", job, ways, devices, limit)
            plans.append(plan)
            for index, numbers in enumerate(plan.parts(len(job.group))):
                part = schedule.run(f"part-{number}-{index}", job, plan, numbers)
                finished.append(([job.group.members[n].number for n in numbers], part))
    return Results.of(members, names, finished, plans)


def _refuse_unread(jobs: Sequence[Job]) -> None:
    """A name that ``init`` looks at for no member; some are only for the members of one kind."""
    names = list(jobs[0].group.members[0].hparams)
    unread = frozenset.intersection(*(job.unread for job in jobs))
    if unread:
        used = ", ".join(name for name in names if name not in unread) or "none"
        raise ValueError(f"run: init does not use the setting {min(unread, key=names.index)!r}; it uses {used}")


def _checked_devices(devices: Any) -> Devices:
    if not isinstance(devices, Sequence) or not all(isinstance(device, jax.Device) for device in devices):
        raise TypeError(f"run: devices is {devices!r}, expected a list of some of jax.devices()")
    if not devices:
        raise ValueError("run: devices is empty, expected at least one of jax.devices()")
    return tuple(devices)


def _description(members: Sequence[Member], jobs: Sequence[Job]) -> dict[str, Any]:
    """What tells members from those of another sweep, as far as it can be seen."""
    return {
        "members": [
            {name: _described(value) for name, value in {**member.hparams, "seed": member.seed}.items()}
            for member in members
        ],
        "states": [
            dict(zip(leaf_paths(job.state), map(_checks.describe, jax.tree.leaves(job.state)), strict=True))
            for job in jobs
        ],
    }


def _described(value: Any) -> Any:
    return label(value) if isinstance(value, functools.partial) else describe(value)
