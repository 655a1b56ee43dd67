"""python -m bench.floor.worker: BRPOP, predict, SET, one by one or in batches."""

from __future__ import annotations

import argparse
import json
import pickle
from pathlib import Path
from typing import Any, cast

import redis

from bench.floor import keys


def main() -> None:
    """Predict until ended by a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--models", type=Path, required=True)
    options = parser.parse_args()
    models = {path.stem: pickle.loads(path.read_bytes()) for path in options.models.glob("*.pickle")}
    client = redis.Redis.from_url(options.redis, socket_timeout=None)
    names = {keys.queue(options.batch, name).encode(): name for name in models}
    print("ready", flush=True)
    while True:
        queue, first = cast("tuple[bytes, bytes]", client.brpop(list(names)))
        more = client.rpop(queue, options.batch - 1) if options.batch > 1 else None
        store(client, models[names[queue]], [json.loads(each) for each in (first, *(more or ()))])


def store(client: Any, model: Any, jobs: list[dict[str, Any]]) -> None:
    """Predict the rows of the jobs together, and write each one's answer."""
    rows = [row for job in jobs for row in job["rows"]]
    outputs = [model(row) for row in rows] if callable(model) else model.predict(rows).tolist()
    if len(jobs) == 1:
        client.set(keys.answer(jobs[0]["id"]), json.dumps(outputs), ex=keys.ANSWER_TTL_S)
        return
    pipeline = client.pipeline(transaction=False)
    for job in jobs:
        mine, outputs = outputs[: len(job["rows"])], outputs[len(job["rows"]) :]
        pipeline.set(keys.answer(job["id"]), json.dumps(mine), ex=keys.ANSWER_TTL_S)
    pipeline.execute()


if __name__ == "__main__":
    main()
