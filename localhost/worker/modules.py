"""The user's modules in this process: the package ``__app__`` and ``sys.path``.

Azure imports a function as ``__app__.<Folder>``, so ``from __app__.shared import x``
and relative imports work; the app's root is on ``sys.path``, so ``import shared`` does
too. Everything is taken out again when the worker closes.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from localhost.worker.tracebacks import is_in_app

_PACKAGE = "__app__"
_OWN_PACKAGE = __name__.partition(".")[0]


class AppModules:
    """The modules of the app at ``root``, importable between install and uninstall."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: frozenset[str] = frozenset()
        self._package: ModuleType | None = None

    def install(self) -> None:
        """Make the app importable; modules of another app are put out of the way."""
        _forget(name for name in sys.modules if _is_below_package(name))
        self._known = frozenset(sys.modules)
        spec = importlib.machinery.ModuleSpec(_PACKAGE, None, is_package=True)
        spec.submodule_search_locations = [str(self._root)]
        self._package = importlib.util.module_from_spec(spec)
        sys.modules[_PACKAGE] = self._package
        sys.path.insert(0, str(self._root))
        importlib.invalidate_caches()

    def load(self, script: Path) -> ModuleType:
        """Import the script; raises what the user's code raises."""
        return importlib.import_module(self.name_of(script))

    def name_of(self, script: Path) -> str:
        """``__app__.<Folder>`` for its ``__init__.py``, else with the stem behind it.

        Raises ValueError for a script outside the app's root.
        """
        parts = script.relative_to(self._root).with_suffix("").parts
        if parts[-1] == "__init__" and len(parts) > 1:
            parts = parts[:-1]
        return ".".join((_PACKAGE, *parts))

    def uninstall(self) -> None:
        """Forget the app's modules; a second call does nothing."""
        if self._package is None:
            return
        if sys.modules.get(_PACKAGE) is self._package:
            _forget(name for name in sys.modules if _is_below_package(name))
        _forget(name for name in sys.modules if self._is_users(name))
        if str(self._root) in sys.path:
            sys.path.remove(str(self._root))
        self._package = None

    def _is_users(self, name: str) -> bool:
        """Whether the app brought this module in through ``sys.path``."""
        if name in self._known or name.partition(".")[0] == _OWN_PACKAGE:
            return False
        # Not getattr: some packages put lazy objects there that import when asked.
        facts = getattr(sys.modules[name], "__dict__", {})
        places = [facts.get("__file__") or "", *(facts.get("__path__") or ())]
        return any(is_in_app(str(place), self._root) for place in places)


def _is_below_package(name: str) -> bool:
    return name == _PACKAGE or name.startswith(f"{_PACKAGE}.")


def _forget(names: Iterable[str]) -> None:
    for name in list(names):
        sys.modules.pop(name, None)
