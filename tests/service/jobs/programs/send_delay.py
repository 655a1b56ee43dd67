"""Sends jobs as a Python program with our package does: reads endpoint and rows from stdin, writes outcomes."""

import json
import sys

from workers.tasks import predict

asked = json.load(sys.stdin)
endpoint, rows = asked["endpoint"], asked["together"]

alone = [predict.delay(endpoint, row).get(timeout=60) for row in asked["alone"]]
sent = [predict.delay(endpoint, row) for row in rows]
said = {
    "job_ids": [result.id for result in sent],
    "alone": alone,
    "together": [result.get(timeout=60) for result in sent],
    "inputs": predict.delay(endpoint, inputs=rows).get(timeout=60),
}
json.dump(said, sys.stdout)
