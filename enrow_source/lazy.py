"""pyarrow, imported when the first of it is used: half the import time, and a run with nothing new does without."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc
else:

    class _OnFirstUse:
        def __init__(self, module: str) -> None:
            self._module = module

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the module has
            found = getattr(importlib.import_module(self._module), name)
            setattr(self, name, found)  # found once
            return found

    pa, pc = _OnFirstUse("pyarrow"), _OnFirstUse("pyarrow.compute")

__all__ = ["pa", "pc"]
