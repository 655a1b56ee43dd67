"""Flask routes in front of the loop: LPUSH, and if asked to, look until the answer is there; GET."""

from __future__ import annotations

import json
import os
import time
import uuid
from typing import Any

import redis
from flask import Flask, jsonify, request

from bench.floor import keys

web = Flask(__name__)
_client = redis.Redis.from_url(os.environ["FLOOR_REDIS_URL"], socket_timeout=None)
_FIRST_LOOK_S, _LAST_LOOK_S, _SLOWER = 0.001, 0.02, 1.3


@web.post("/<int:batch>/predict/<name>")
def submit(batch: int, name: str) -> Any:
    """Submit a prediction; with `?wait=N`, wait for it."""
    body = request.get_json()
    job_id = str(uuid.uuid4())
    rows = body["inputs"] if "inputs" in body else [body["input"]]
    _client.lpush(keys.queue(batch, name), json.dumps({"id": job_id, "rows": rows}))
    ends_at, pause_s = time.monotonic() + request.args.get("wait", 0.0, type=float), _FIRST_LOOK_S
    while time.monotonic() < ends_at:
        answer = _client.get(keys.answer(job_id))
        if answer is not None:
            return jsonify(job_id=job_id, predictions=json.loads(answer))
        time.sleep(pause_s)
        pause_s = min(pause_s * _SLOWER, _LAST_LOOK_S)
    return jsonify(job_id=job_id), 202


@web.get("/jobs/<job_id>")
def job(job_id: str) -> Any:
    """Tell whether the answer is there."""
    answer = _client.get(keys.answer(job_id))
    if answer is None:
        return jsonify(job_id=job_id, status="PENDING")
    return jsonify(job_id=job_id, status="SUCCESS", predictions=json.loads(answer))
