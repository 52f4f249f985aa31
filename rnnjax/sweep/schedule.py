"""What happens when: the parts of a sweep one after the other, each row by row."""

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import jax

from rnnjax.data.epochs import START, Data
from rnnjax.sweep.job import Job
from rnnjax.sweep.part import Part, joined
from rnnjax.sweep.planning import Plan, make_plan
from rnnjax.sweep.program import Devices, Place
from rnnjax.sweep.refuse import refuse_batches
from rnnjax.sweep.store import Store
from rnnjax.sweep.stream import Row, rows
from rnnjax.train.faults import Masked


@dataclasses.dataclass(frozen=True)
class Schedule:
    """What all parts of a sweep have in common."""

    data: Data
    num_steps: int
    every: int  # steps of a row
    save_seconds: float
    store: Store
    asked: threading.Event  # to stop
    tell: Callable[[int, str], None]  # of the progress

    def plan(self, name: str, job: Job, ways: Sequence[str], devices: Devices, limit: float) -> Plan:
        """How a group runs; as before, if it ran before."""
        devices = devices[: len(job.group)]
        if found := self.store.read_json(name):
            place = Place(found["way"], devices[: math.gcd(found["size"], len(devices))])
            return Plan(place, found["size"], found["num_bytes"])
        batches = next(rows(self.data, START, self.num_steps, self.every)).pieces[0]
        plan = make_plan(job, batches, math.ceil(self.num_steps / self.every), ways, devices, limit)
        self.store.write_json(name, {"way": plan.place.way, "size": plan.size, "num_bytes": plan.num_bytes})
        return plan

    def run(self, name: str, job: Job, plan: Plan, numbers: list[int]) -> Part:
        """Take all steps of some members of a group, from where they were left."""
        part = self.store.read_part(name, job.state) or Part.new(job.start(plan.filled(numbers)))
        what = f"{job.group}, {plan}"
        self.tell(part.num_steps * len(numbers), what)
        part.states, saved = plan.place.split(part.states), time.monotonic()
        masked = Masked("run")
        upcoming = rows(self.data, part.position, self.num_steps - part.num_steps, self.every)
        row = next(upcoming, None)
        while row is not None:
            current, trained = row, []
            for batches in current.pieces:
                part.states, metrics = job.advance(part.states, plan.place.copy(batches), plan.place)
                trained.append(metrics)
            examined = job.examine(part.states, plan.place)
            row, error = _next(upcoming)  # made ready while the devices work
            steps = joined(jax.device_get(trained))
            part.add(steps, jax.device_get(examined))
            part.position = current.after
            refuse_batches(current, part, steps, masked)
            self.tell(len(current.positions) * len(numbers), what)
            if row is None or self.asked.is_set() or time.monotonic() - saved > self.save_seconds:
                self.store.write_part(name, part)
                saved = time.monotonic()
            if error:
                raise error
            if self.asked.is_set():
                raise KeyboardInterrupt(self._stopped())
        return part.fetched(len(numbers))

    def _stopped(self) -> str:
        if self.store.folder:
            return f"run: interrupted; the same call goes on from {self.store.folder}"
        return "run: interrupted; nothing was kept, as there is no folder"


def _next(upcoming: Iterator[Row]) -> tuple[Row | None, Exception | None]:
    """The next row, if there is one; or what its data raise, to be raised once the row before is saved."""
    try:
        return next(upcoming, None), None
    except Exception as error:
        return None, error
