"""Flax NNX modules that hold a cell and its params, in the place of ``nnx.RNN`` and ``nnx.Bidirectional``."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from rnnjax._types import Array, Carry, CellLike, InputSize, Key, Params, input_spec
from rnnjax.flax import _sequence
from rnnjax.recurrence import protocol
from rnnjax.recurrence.unroll import unroll

Randomness = nnx.Rngs | nnx.RngStream


class RNN(nnx.Module):
    """A cell over a sequence: ``nnx.RNN(nnx.LSTMCell(5, 2, rngs=rngs))`` becomes ``RNN(rx.LSTM(2), 5, rngs=rngs)``.

    Any cell will do: a chain, a wrapper, one that looks ahead, a user's own. ``params`` is the cell's pytree with an
    ``nnx.Param`` for each leaf, at paths such as ``("params", "W", "f")``; ``cell_params`` are the arrays in it.

    Shapes: inputs and outputs [*batch, T, ...], with ``time_major`` [T, *batch, ...]; any number of batch axes.

    Args:
      cell: any cell.
      input_size: D, or what else ``cell.init`` takes: params are drawn for it.
      params: in its place, the cell's params, such as ``rnnjax.interop`` gives them.
      time_major, return_carry: as in ``nnx.RNN``, here or at the call.
      reverse: go from the last step to the first, and give the outputs in that order, padding by ``seq_lengths`` last.
      keep_order: where ``reverse``: outputs stand at their own times.
      deterministic: evaluate: nothing is drawn. ``train()`` and ``eval()`` of a module set it.
      param_dtype: of the params; None: as they are drawn or given.
      method, memory: see ``rx.unroll``.
      rngs: the stream ``params`` draws the params. A cell that draws (``rx.Zoneout``; any, where ``params`` is given)
        keeps a fork of the stream ``dropout``, as ``nnx.Dropout`` does; without one it evaluates.

    Raises:
      TypeError: not a cell of rnnjax, params of another cell, or no rngs to draw them from.
      ValueError: neither input_size nor params, or both.

    >>> import jax.numpy as jnp, rnnjax as rx
    >>> from flax import nnx
    >>> from rnnjax.flax.nnx import RNN
    >>> rngs = nnx.Rngs(0)
    >>> model = nnx.Sequential(RNN(rx.LSTM(2), 5, rngs=rngs), nnx.Linear(2, 11, rngs=rngs))
    >>> model(jnp.ones((3, 7, 5))).shape                       # B=3, T=7, D=5
    (3, 7, 11)
    >>> model.layers[0].params.b.f[...]
    Array([1., 1.], dtype=float32)

    Differs from: ``nnx.RNN``, whose outputs at padding are not zero, and whose LSTM has the carry (c, h) where ours
    has ``LSTMCarry(h, c)``, and other initial weights (see ``rx.initializers``).
    """

    def __init__(
        self,
        cell: CellLike,
        input_size: InputSize | None = None,
        *,
        params: Params | None = None,
        time_major: bool = False,
        return_carry: bool = False,
        reverse: bool = False,
        keep_order: bool = False,
        deterministic: bool = False,
        param_dtype: Any = None,
        method: str = "auto",
        memory: str = "auto",
        rngs: nnx.Rngs | None = None,
    ):
        _sequence.check_cell(cell, nnx.Module, "from_nnx")
        if rngs is not None and not isinstance(rngs, nnx.Rngs):
            raise TypeError(f"RNN: rngs is {rngs!r}, expected nnx.Rngs")
        if (input_size is None) == (params is None):
            found = "neither is" if params is None else "both are"
            raise ValueError(f"RNN: expected input_size, for which params are drawn, or params, but {found} given")
        if params is not None:
            protocol.input_size(cell, params)  # a cell that knows its own params refuses others
        elif rngs is not None:
            params = cell.init(rngs.params(), input_size)
        else:
            raise TypeError(f"RNN: rngs is None, expected nnx.Rngs to draw the params of {cell} from")
        draws = input_size is None or _draws(cell, params, input_size)
        self.cell = cell
        self.params = nnx.data(jax.tree.map(nnx.Param, _sequence.cast(params, param_dtype)))
        self.time_major = time_major
        self.return_carry = return_carry
        self.reverse = reverse
        self.keep_order = keep_order
        self.deterministic = deterministic
        self.method = method
        self.memory = memory
        self.rngs = nnx.data(rngs.dropout.fork() if rngs is not None and draws else None)

    @property
    def cell_params(self) -> Params:
        """The params as ``cell`` has them: for ``rx.unroll``, ``rx.save`` or ``rnnjax.interop``."""
        return jax.tree.map(lambda param: param[...], self.params, is_leaf=lambda node: isinstance(node, nnx.Variable))

    def __call__(
        self,
        inputs: Any,
        *,
        initial_carry: Carry | None = None,
        seq_lengths: Array | None = None,
        mask: Array | None = None,
        resets: Array | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        deterministic: bool | None = None,
        rngs: Randomness | None = None,
    ) -> Any:
        """Run over a sequence.

        Args:
          inputs: [*batch, T, ...], or [T, *batch, ...] with ``time_major``.
          initial_carry: as ``cell.carry(params, batch_shape)`` has it; None starts from that one.
          seq_lengths: int [*batch], steps of each sequence that are valid, 0 too; what follows is padding.
          mask: bool [*batch, T]; False: nothing happens at that step, whose output is zero. ``seq_lengths`` by flags.
          resets: bool [*batch, T]; True: a new sequence starts there in time, with ``reverse`` too.
          return_carry: give the carry too. Here and in what follows None is as the module was made.
          time_major: time is the first axis of inputs, outputs, mask and resets.
          reverse: go from the last step to the first.
          keep_order: where ``reverse``: outputs stand at their own times.
          deterministic: evaluate: nothing is drawn.
          rngs: in place of the module's own stream ``dropout``.

        Returns:
          Outputs in the layout of inputs; with ``return_carry``, ``(carry, outputs)``, the carry after the last valid
          step, or after the first with ``reverse``.

        Raises:
          ValueError, TypeError: an argument does not fit, always checked; a length outside [0, T], checked outside
            ``jit`` only.
        """
        evaluate = self.deterministic if deterministic is None else deterministic
        return _sequence.run(
            self.cell,
            self.cell_params,
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            mask=mask,
            resets=resets,
            key=None if evaluate else _drawn(self.rngs if rngs is None else rngs),
            method=self.method,
            memory=self.memory,
            **_sequence.modes(
                self, return_carry=return_carry, time_major=time_major, reverse=reverse, keep_order=keep_order
            ),
        )

    def set_view(self, deterministic: bool | None = None) -> None:
        """For ``nnx.view``.

        Args:
          deterministic: evaluate: nothing is drawn.
        """
        if deterministic is not None:
            self.deterministic = deterministic


class Bidirectional(nnx.Module):
    """One ``RNN`` in each direction of time, outputs merged: for ``nnx.Bidirectional``, with masks and resets.

    The same as ``RNN(rx.Bidirectional(forward, backward), input_size, rngs=rngs)``, made of two modules as in Flax,
    whose own ``nnx.Bidirectional`` takes them too.

    Args:
      forward_rnn, backward_rnn: each an ``RNN``; their modes but ``deterministic`` are set by this one.
      merge_fn: of two arrays of outputs; at padding it is given zeros.
      time_major, return_carry: as in ``nnx.Bidirectional``, here or at the call.

    Raises:
      TypeError: a direction is not an ``RNN`` of this module.

    >>> import jax.numpy as jnp, rnnjax as rx
    >>> from flax import nnx
    >>> from rnnjax.flax.nnx import RNN, Bidirectional
    >>> rngs = nnx.Rngs(0)
    >>> layer = Bidirectional(RNN(rx.GRU(2), 5, rngs=rngs), RNN(rx.GRU(2), 5, rngs=rngs))
    >>> layer(jnp.ones((3, 7, 5)), seq_lengths=jnp.array([7, 4, 0])).shape
    (3, 7, 4)
    """

    def __init__(
        self,
        forward_rnn: RNN,
        backward_rnn: RNN,
        *,
        merge_fn: Callable[[jax.Array, jax.Array], jax.Array] = _sequence.concatenate,
        time_major: bool = False,
        return_carry: bool = False,
    ):
        self.forward_rnn = forward_rnn
        self.backward_rnn = backward_rnn
        self.merge_fn = merge_fn
        self.time_major = time_major
        self.return_carry = return_carry
        _sequence.check_directions(self, RNN, "nnx.Bidirectional")

    def __call__(
        self,
        inputs: Any,
        *,
        initial_carry: tuple[Carry, Carry] | None = None,
        seq_lengths: Array | None = None,
        mask: Array | None = None,
        resets: Array | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        deterministic: bool | None = None,
        rngs: Randomness | None = None,
    ) -> Any:
        """As ``RNN``, both ways at once; carries are ``Directions(forward, backward)``."""
        return _sequence.run_both(
            self,
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            mask=mask,
            resets=resets,
            deterministic=deterministic,
            rngs=rngs,
            **_sequence.modes(self, return_carry=return_carry, time_major=time_major),
        )


def _drawn(rngs: Randomness | None) -> Key | None:
    if rngs is not None and not isinstance(rngs, Randomness):
        raise TypeError(f"RNN: rngs is {rngs!r}, expected nnx.Rngs or one of its streams")
    stream = rngs.dropout if isinstance(rngs, nnx.Rngs) else rngs
    return None if stream is None else stream()


def _draws(cell: CellLike, params: Params, input_size: InputSize) -> bool:
    """Whether results differ between keys: then ``vmap`` refuses to give one for all."""
    xs = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), input_spec(input_size))

    def one_for_all(params, xs, keys):
        return jax.vmap(lambda key: unroll(cell, params, xs, key=key), out_axes=None)(keys)

    try:
        jax.eval_shape(one_for_all, params, xs, jax.eval_shape(lambda: jax.random.split(jax.random.key(0))))
    except (TypeError, ValueError):  # or one that takes no such input, which a call will say
        return True
    return False
