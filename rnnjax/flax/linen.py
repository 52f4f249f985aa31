"""Flax linen modules that hold a cell's params, in the place of ``nn.RNN`` and ``nn.Bidirectional``."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
from flax import linen as nn
from flax import traverse_util

from rnnjax._types import Array, Carry, CellLike, InputSize, Key, Params
from rnnjax.flax import _sequence

_NAME = "cell_params"


class RNN(nn.Module):
    """A cell over a sequence: ``nn.RNN(nn.LSTMCell(2))`` becomes ``RNN(rx.LSTM(2))``.

    Any cell will do: a chain, a wrapper, one that looks ahead, a user's own. The module's params are nested dicts,
    ``{"cell_params": {"W": {"f": ...}, ...}}``; ``from_cell_params`` makes them and ``to_cell_params`` undoes that.

    Shapes: inputs and outputs [*batch, T, ...], with ``time_major`` [T, *batch, ...]; any number of batch axes.

    Args:
      cell: any cell.
      time_major, return_carry: as in ``nn.RNN``, here or at the call.
      reverse: go from the last step to the first, and give the outputs in that order, padding by ``seq_lengths`` last.
      keep_order: where ``reverse``: outputs stand at their own times.
      deterministic: evaluate: nothing is drawn; so without an rng ``dropout``.
      param_dtype: of the params at ``init``; None: as the cell draws them.
      method, memory: see ``rx.unroll``.

    Raises:
      TypeError: not a cell of rnnjax, found by ``init`` and ``apply``.
      ValueError: the params are of another cell.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> from rnnjax.flax.linen import RNN
    >>> rnn = RNN(rx.Zoneout(rx.LSTM(2), rate=0.1))
    >>> inputs = jnp.ones((3, 7, 5))                           # B=3, T=7, D=5
    >>> variables = rnn.init(jax.random.key(0), inputs)
    >>> variables["params"]["cell_params"]["b"]["f"]
    Array([1., 1.], dtype=float32)
    >>> rnn.apply(variables, inputs, rngs={"dropout": jax.random.key(1)}).shape
    (3, 7, 2)

    Differs from: ``nn.RNN``, whose outputs at padding are not zero, and whose LSTM has the carry (c, h) where ours has
    ``LSTMCarry(h, c)``, and other initial weights (see ``rx.initializers``).
    """

    cell: Any
    time_major: bool = False
    return_carry: bool = False
    reverse: bool = False
    keep_order: bool = False
    deterministic: bool = False
    param_dtype: Any = None
    method: str = "auto"
    memory: str = "auto"

    @nn.compact
    def __call__(
        self,
        inputs: Any,
        *,
        initial_carry: Carry | None = None,
        init_key: Key | None = None,
        seq_lengths: Array | None = None,
        mask: Array | None = None,
        resets: Array | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        deterministic: bool | None = None,
    ) -> Any:
        """Run over a sequence.

        Args:
          inputs: [*batch, T, ...], or [T, *batch, ...] with ``time_major``.
          initial_carry: as ``cell.carry(params, batch_shape)`` has it; None starts from that one.
          init_key: not used, as no carry is drawn; for those who give it to ``nn.RNN``.
          seq_lengths: int [*batch], steps of each sequence that are valid, 0 too; what follows is padding.
          mask: bool [*batch, T]; False: nothing happens at that step, whose output is zero. ``seq_lengths`` by flags.
          resets: bool [*batch, T]; True: a new sequence starts there in time, with ``reverse`` too.
          return_carry: give the carry too. Here and in what follows None is as the module was made.
          time_major: time is the first axis of inputs, outputs, mask and resets.
          reverse: go from the last step to the first.
          keep_order: where ``reverse``: outputs stand at their own times.
          deterministic: evaluate: nothing is drawn.

        Returns:
          Outputs in the layout of inputs; with ``return_carry``, ``(carry, outputs)``, the carry after the last valid
          step, or after the first with ``reverse``.

        Raises:
          ValueError, TypeError: an argument does not fit, always checked; a length outside [0, T], checked outside
            ``jit`` only.
        """
        del init_key
        _sequence.check_cell(self.cell, nn.Module, "from_linen")
        size = _sequence.input_size(self.cell, inputs)

        def draw(key):
            return from_cell_params(_sequence.cast(self.cell.init(key, size), self.param_dtype))[_NAME]

        if self.has_variable("params", _NAME):  # before Flax compares shapes, entry by entry
            to_cell_params(self.cell, {_NAME: self.get_variable("params", _NAME)}, size)
        params = to_cell_params(self.cell, {_NAME: self.param(_NAME, draw)}, size)
        evaluate = self.deterministic if deterministic is None else deterministic
        return _sequence.run(
            self.cell,
            params,
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            mask=mask,
            resets=resets,
            key=None if evaluate or not self.has_rng("dropout") else self.make_rng("dropout"),
            method=self.method,
            memory=self.memory,
            **_sequence.modes(
                self, return_carry=return_carry, time_major=time_major, reverse=reverse, keep_order=keep_order
            ),
        )


class Bidirectional(nn.Module):
    """One ``RNN`` in each direction of time, outputs merged: for ``nn.Bidirectional``, with masks and resets.

    The same as ``RNN(rx.Bidirectional(forward, backward))``, made of two modules as in Flax, whose own
    ``nn.Bidirectional`` takes them too.

    Args:
      forward_rnn, backward_rnn: each an ``RNN``; their modes but ``deterministic`` are set by this one.
      merge_fn: of two arrays of outputs; at padding it is given zeros.
      time_major, return_carry: as in ``nn.Bidirectional``, here or at the call.

    Raises:
      TypeError: a direction is not an ``RNN`` of this module, found by ``init`` and ``apply``.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> from rnnjax.flax.linen import RNN, Bidirectional
    >>> layer = Bidirectional(RNN(rx.GRU(2)), RNN(rx.GRU(2)))
    >>> ys, variables = layer.init_with_output(jax.random.key(0), jnp.ones((3, 7, 5)))
    >>> ys.shape, list(variables["params"])
    ((3, 7, 4), ['forward_rnn', 'backward_rnn'])
    """

    forward_rnn: RNN
    backward_rnn: RNN
    merge_fn: Callable[[jax.Array, jax.Array], jax.Array] = _sequence.concatenate
    time_major: bool = False
    return_carry: bool = False

    def __call__(
        self,
        inputs: Any,
        *,
        initial_carry: tuple[Carry, Carry] | None = None,
        init_key: Key | None = None,
        seq_lengths: Array | None = None,
        mask: Array | None = None,
        resets: Array | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        deterministic: bool | None = None,
    ) -> Any:
        """As ``RNN``, both ways at once; carries are ``Directions(forward, backward)``."""
        del init_key
        _sequence.check_directions(self, RNN, "nn.Bidirectional")
        return _sequence.run_both(
            self,
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            mask=mask,
            resets=resets,
            deterministic=deterministic,
            **_sequence.modes(self, return_carry=return_carry, time_major=time_major),
        )


def from_cell_params(params: Params) -> dict[str, Any]:
    """A cell's params, such as ``rnnjax.interop`` gives them, as the params of ``RNN``.

    Args:
      params: from ``cell.init``, or of its structure.

    Returns:
      ``{"cell_params": ...}``: nested dicts with the names of fields and the places in tuples, for
      ``variables["params"]`` of an ``RNN``, or its entry in that of a model.

    >>> import jax, rnnjax as rx
    >>> from rnnjax.flax.linen import RNN, from_cell_params, to_cell_params
    >>> cell = rx.Chain(rx.Elman(2), rx.GRU(2))
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> variables = {"params": from_cell_params(params)}
    >>> RNN(cell).apply(variables, jax.numpy.ones((3, 7, 5))).shape
    (3, 7, 2)
    >>> list(variables["params"]["cell_params"]["1"])
    ['W', 'U', 'b', 'b_hn']
    >>> to_cell_params(cell, variables["params"], input_size=5)[1].b_hn
    Array([0., 0.], dtype=float32)
    """
    leaves = jax.tree_util.tree_leaves_with_path({_NAME: params})
    return {_NAME: {}} | traverse_util.unflatten_dict({_names(path): leaf for path, leaf in leaves})


def to_cell_params(cell: CellLike, params: Mapping[str, Any], input_size: InputSize) -> Params:
    """The params of ``RNN(cell)`` as the cell has them: for ``rx.unroll``, ``rx.save`` or ``rnnjax.interop``.

    Args:
      cell: the cell.
      params: ``variables["params"]`` of an ``RNN``, or its entry in that of a model.
      input_size: D, or what else ``cell.init`` takes.

    Returns:
      Params as from ``cell.init``.

    Raises:
      ValueError: an entry is missing, or one too many.
    """
    spec = jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))
    paths, structure = jax.tree_util.tree_flatten_with_path({_NAME: spec})
    expected = [_names(path) for path, _ in paths]
    given = traverse_util.flatten_dict(params)
    if given.keys() != set(expected):
        raise ValueError(f"RNN: params has the entries {_show(given)}, but {cell}.init gives {_show(expected)}")
    return structure.unflatten(given[names] for names in expected)[_NAME]


def _names(path: Any) -> tuple[str, ...]:
    return tuple(jax.tree_util.keystr((entry,), simple=True) for entry in path)


def _show(entries: Iterable[tuple[str, ...]]) -> str:
    return ", ".join(sorted("/".join(names) for names in entries))
