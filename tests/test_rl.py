"""Reinforcement learning: acting step by step, and training on what was seen, are the same computation."""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from tests.registry import D, Entry, H, random_params

NUM_ENVS, NUM_ACTIONS, NUM_STEPS = 8, 3, 6  # no two axes alike: H is 2, D is 5, a minibatch 4

POLICIES = {
    "lstm": rx.LSTM(H),
    "learned_carry": rx.LearnedCarry(rx.GRU(H, reset_after=False)),
}
policies = pytest.mark.parametrize("name", POLICIES)

assert_close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)


class Rollout(NamedTuple):
    """NUM_STEPS of all environments, and the carry before the first."""

    carry: Any
    xs: np.ndarray  # [NUM_STEPS, NUM_ENVS, D]
    resets: np.ndarray  # bool [NUM_STEPS, NUM_ENVS] an episode starts here
    actions: np.ndarray  # int [NUM_STEPS, NUM_ENVS]
    logits: np.ndarray  # [NUM_STEPS, NUM_ENVS, NUM_ACTIONS]
    rewards: np.ndarray  # [NUM_STEPS, NUM_ENVS]


class Walks:
    """Environments whose next observation depends on the action, and whose episodes are of different lengths."""

    def __init__(self, rng):
        self.rng, self.age = rng, np.zeros(NUM_ENVS, int)
        self.lengths = np.array([4, 5, 6, 7, 9, 11, 13, 100])
        self.observation = rng.normal(size=(NUM_ENVS, D))

    def step(self, actions):
        """The next observations, rewards, and where a new episode starts."""
        self.age += 1
        starts = self.age % self.lengths == 0
        fresh = self.rng.normal(size=(NUM_ENVS, D))
        moved = 0.5 * self.observation + actions[:, None] - 1 + 0.1 * fresh
        self.observation = np.where(starts[:, None], fresh, moved)
        return self.observation, moved[:, 0], starts


def where(flags: Any, fresh: Any, carry: Any) -> Any:
    """For each environment the fresh carry, or the one at hand."""
    return jax.tree.map(lambda a, b: jnp.where(flags[:, None], a, b), fresh, carry)


@functools.cache
def act(name: str) -> tuple[Any, Any, list[Rollout]]:
    """A policy network, its params, and two rollouts; the second goes on where the first stopped."""
    rng = np.random.default_rng(1)
    cell = rx.Chain(POLICIES[name], rx.Lift(nn.Dense(NUM_ACTIONS)))
    params = random_params(Entry(name, cell))
    walks = Walks(rng)
    step = jax.jit(cell.step)
    fresh = carry = cell.carry(params, (NUM_ENVS,))
    x, reset = walks.observation, np.ones(NUM_ENVS, bool)
    rollouts = []
    for _ in range(2):
        start, seen = carry, []
        for _ in range(NUM_STEPS):
            carry, logits = step(params, where(reset, fresh, carry), x)
            actions = np.argmax(logits + rng.gumbel(size=logits.shape), axis=-1)
            x_next, rewards, reset_next = walks.step(actions)
            seen.append((x, reset, actions, logits, rewards))
            x, reset = x_next, reset_next
        rollouts.append(Rollout(start, *map(np.stack, zip(*seen, strict=True))))
    return cell, params, rollouts


def minibatches(rollout: Rollout) -> list[Rollout]:
    """The environments in another order, four at a time: whole sequences, each with its own start carry."""

    def of(envs):
        carry = jax.tree.map(lambda leaf: leaf[envs], rollout.carry)
        return Rollout(carry, *(part[:, envs] for part in rollout[1:]))

    return [of(envs) for envs in np.random.default_rng(2).permutation(NUM_ENVS).reshape(-1, 4)]


def by_unroll(cell, params, batch):
    return rx.unroll(cell, params, batch.xs, batch.carry, resets=batch.resets)


def by_loop(cell, params, batch):
    carry, ys = batch.carry, []
    for x, reset in zip(batch.xs, batch.resets, strict=True):
        carry, y = cell.step(params, where(reset, cell.carry(params, reset.shape), carry), x)
        ys.append(y)
    return carry, jnp.stack(ys)


def policy_gradient_loss(run, cell, params, batch):
    """REINFORCE on one minibatch, and the policy's outputs."""
    logits = run(cell, params, batch)[1]
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), batch.actions[..., None], axis=-1)[..., 0]
    return -(batch.rewards * chosen).mean(), logits


@policies
def test_minibatches_of_environments_give_what_acting_gave(name):
    """Unrolled from the carry kept at a rollout's start, with resets: the same outputs, the same gradients."""
    cell, params, rollouts = act(name)
    assert all(rollout.resets[1:].any() for rollout in rollouts)  # episodes end inside both
    assert not rollouts[1].resets[0].all()  # and some go on from one to the other
    by_each = [
        jax.jit(jax.grad(functools.partial(policy_gradient_loss, run, cell), has_aux=True))
        for run in (by_loop, by_unroll)
    ]
    for rollout in rollouts:
        for batch in minibatches(rollout):
            (expected, _), (gradients, logits) = (run(params, batch) for run in by_each)
            assert_close(logits, batch.logits)
            jax.tree.map(assert_close, gradients, expected)


@policies
def test_the_second_rollout_starts_where_the_first_stops(name):
    """The carry that acting kept is the one that the unroll of the first rollout ends with."""
    cell, params, (first, second) = act(name)
    jax.tree.map(assert_close, by_unroll(cell, params, first)[0], second.carry)


def test_burn_in_by_pieces():
    """Unroll a burn-in, stop the gradient at its carry, unroll the rest: as the loop with a stop in it."""
    cell, params, rollouts = act("lstm")
    batch = minibatches(rollouts[1])[0]
    head = batch._replace(xs=batch.xs[:3], resets=batch.resets[:3])
    tail = batch._replace(xs=batch.xs[3:], resets=batch.resets[3:])

    def loss(run, params):
        carry, _ = run(cell, params, head)
        carry, ys = run(cell, params, tail._replace(carry=jax.lax.stop_gradient(carry)))
        return (ys * batch.logits[3:] ** 2).sum(), (carry, ys)

    found, expected = (
        jax.jit(jax.grad(functools.partial(loss, run), has_aux=True))(params) for run in (by_unroll, by_loop)
    )
    jax.tree.map(assert_close, found, expected)
    _, (carry, ys) = found
    whole_carry, whole_ys = by_unroll(cell, params, batch)
    jax.tree.map(assert_close, (carry, ys), (whole_carry, whole_ys[3:]))
