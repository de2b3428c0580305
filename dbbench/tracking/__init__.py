"""MLflow as a view of the files: the store, the live log of running jobs, and the sync that repairs and audits.

mlflow takes seconds to import, so only functions import it, and none that a training process calls. For the same reason
this package imports its modules when they are asked for: training depends on `live` and nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbbench.tracking.live import LiveLog as LiveLog
    from dbbench.tracking.reconcile import sync as sync
    from dbbench.tracking.store import create_store as create_store

_MODULES = {"LiveLog": "live", "create_store": "store", "sync": "reconcile"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
