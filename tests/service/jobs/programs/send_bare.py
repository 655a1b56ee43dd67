"""Sends jobs by Celery alone: reads endpoint and rows from stdin, writes job ids and outcomes to stdout."""

import json
import os
import sys
from typing import Any

from celery import Celery

asked = json.load(sys.stdin)
endpoint, rows = asked["endpoint"], asked["together"]
app = Celery(broker=os.environ["QUEUECAST_REDIS_URL"], backend=os.environ["QUEUECAST_REDIS_URL"])


def send(*args: Any, **kwargs: Any) -> Any:
    return app.send_task("predict", args=[endpoint, *args], kwargs=kwargs, queue=f"predict.{endpoint}")


alone = [send(row).get(timeout=60) for row in asked["alone"]]
sent = [send(row) for row in rows]
said = {
    "job_ids": [result.id for result in sent],
    "alone": alone,
    "together": [result.get(timeout=60) for result in sent],
    "inputs": send(inputs=rows).get(timeout=60),
    "ours": sorted({name.partition(".")[0] for name in sys.modules} & {"api", "registry", "workers"}),
}
json.dump(said, sys.stdout)
