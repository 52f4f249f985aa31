"""The leaves of a model by readable paths, such as ``0/W/f``."""

from typing import Any

import jax


def paths(tree: Any) -> Any:
    """The path of each leaf, in a pytree of the same structure.

    Args:
      tree: any pytree, such as params.

    Returns:
      The pytree with a string in the place of each leaf: fields, indices and keys, with slashes between.

    >>> import jax, optax, rnnjax as rx
    >>> params = rx.Chain(rx.Elman(2), rx.Elman(1)).init(jax.random.key(0), input_size=3)
    >>> paths(params)
    (ElmanParams(W='0/W', U='0/U', b='0/b'), ElmanParams(W='1/W', U='1/U', b='1/b'))

    Labels for optax, here two rates:

    >>> labels = lambda params: jax.tree.map(lambda path: "slow" if path.startswith("0/") else "fast", paths(params))
    >>> optimizer = optax.partition({"slow": optax.adam(1e-4), "fast": optax.adam(1e-3)}, labels)
    """
    return jax.tree_util.tree_map_with_path(lambda path, _: readable(path), tree)


def readable(path: jax.tree_util.KeyPath) -> str:
    """A path of ``jax.tree_util`` as text.

    >>> readable(jax.tree_util.tree_leaves_with_path({"W": (1.0, 2.0)})[1][0])
    'W/1'
    """
    return jax.tree_util.keystr(path, simple=True, separator="/")


def leaf_paths(tree: Any, name: str = "") -> list[str]:
    """The paths of all leaves in order, below ``name``.

    >>> leaf_paths({"W": (1.0, 2.0)}, "params"), leaf_paths(1.0, "params")
    (['params/W/0', 'params/W/1'], ['params'])
    """
    found = (readable(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree))
    return ["/".join(part for part in (name, path) if part) for path in found]
