"""A Celery app as its tutorial has it: a task that predicts, with models that each worker process loads once."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import worker_process_init

app = Celery("tutorial", broker=os.environ["TUTORIAL_REDIS_URL"], backend=os.environ["TUTORIAL_REDIS_URL"])
models: dict[str, Any] = {}


@worker_process_init.connect  # type: ignore[untyped-decorator]
def load_models(**_kwargs: Any) -> None:
    """Load every model once, when the process starts."""
    for name in os.environ["TUTORIAL_MODELS"].split(","):
        path = Path(os.environ["TUTORIAL_MODELS_DIR"]) / f"{name}.pickle"
        models[name] = pickle.loads(path.read_bytes())


@app.task  # type: ignore[untyped-decorator]
def predict(name: str, rows: list[Any]) -> list[Any]:
    """Return the predictions of the rows."""
    model = models[name]
    if callable(model):
        return [model(row) for row in rows]
    outputs: list[Any] = model.predict(rows).tolist()
    return outputs
