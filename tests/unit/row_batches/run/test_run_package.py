"""The docstring of ``row_batches.run`` is the map of its modules."""

from __future__ import annotations

import pkgutil
import re

from row_batches import run


def test_the_docstring_names_every_module_once() -> None:
    names = re.findall(r"``(\w+)``", run.__doc__ or "")
    modules = [module.name for module in pkgutil.iter_modules(run.__path__)]
    assert sorted(names) == sorted(modules), "name a new module where it has its place in a run"
