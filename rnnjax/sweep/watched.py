"""Settings that note which of them are read, so that a name that nothing uses is not swept over in vain."""

from collections import UserDict
from typing import Any

import jax

from rnnjax.sweep.settings import Settings


@jax.tree_util.register_pytree_node_class
class Watched(UserDict):
    """A dict that takes what is read off a list of names; what looks at it as a whole has read them all.

    >>> unread = ["lr", "leek"]
    >>> Watched({"lr": 0.1, "leek": 0.5}, unread)["lr"], unread
    (0.1, ['leek'])
    """

    def __init__(self, settings: Settings, unread: list[str] | None = None):
        self._settings, self._unread = settings, unread or []

    @property
    def data(self) -> Settings:  # pyright: ignore[reportIncompatibleVariableOverride]  all that UserDict does goes here
        self._unread.clear()
        return self._settings

    def __getitem__(self, name: str) -> Any:
        if name not in self._settings:
            raise KeyError(f"init asks for the setting {name!r}; there are {', '.join(self._settings) or 'none'}")
        if name in self._unread:
            self._unread.remove(name)
        return self._settings[name]

    def copy(self) -> "Watched":
        """As a dict's."""
        return Watched(dict(self.data))

    def get(self, name: str, default: Any = None) -> Any:
        """As a dict's."""
        return self[name] if name in self._settings else default

    def tree_flatten(self) -> tuple[list[Any], list[str]]:
        """As a dict's: it comes back as one."""
        return list(self.data.values()), list(self._settings)

    @classmethod
    def tree_unflatten(cls, names: list[str], values: list[Any]) -> Settings:  # pyright: ignore
        """The dict."""
        return dict(zip(names, values, strict=True))
