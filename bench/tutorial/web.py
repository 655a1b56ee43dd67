"""A Flask app in front of it: submit with `delay`, look and wait with `AsyncResult`."""

from __future__ import annotations

from typing import Any

from celery.exceptions import TimeoutError as WaitedTooLong
from celery.result import AsyncResult
from flask import Flask, jsonify, request, url_for

from bench.tutorial.tasks import app as celery_app
from bench.tutorial.tasks import predict

web = Flask(__name__)


@web.post("/predict/<name>")
def submit(name: str) -> Any:
    """Submit a prediction; with `?wait=N`, wait for it."""
    body = request.get_json()
    rows = body["inputs"] if "inputs" in body else [body["input"]]
    result = predict.delay(name, rows)
    wait_s = request.args.get("wait", type=float)
    if wait_s:
        try:
            return jsonify(job_id=result.id, status="SUCCESS", predictions=result.get(timeout=wait_s))
        except WaitedTooLong:
            pass
    return jsonify(job_id=result.id), 202, {"Location": url_for("job", job_id=result.id)}


@web.get("/jobs/<job_id>")
def job(job_id: str) -> Any:
    """Tell where a job stands."""
    result = AsyncResult(job_id, app=celery_app)
    return jsonify(job_id=job_id, status=result.status, predictions=result.result if result.successful() else None)
