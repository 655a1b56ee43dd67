"""What a receiver is told: the job as `GET /jobs/<id>` shows it, in the form of Standard Webhooks."""

from __future__ import annotations

from workers import documents, fast_json, jobs

#: Receivers and what stands before them refuse large bodies; whoever wants a large outcome can fetch it.
LARGEST_BODY_BYTES = 65_536


def body(job_id: str, record: bytes) -> bytes:
    """Return the body that tells the end of a job, from its terminal record; the same for the same record."""
    job = jobs.parse(job_id, record)
    data = job.document()
    document = {"type": f"job.{job.state.value}", "timestamp": documents.iso(job.finished_at), "data": data}
    text = fast_json.finite(document)
    if len(text) <= LARGEST_BODY_BYTES:
        return text
    data |= {"outcome": None, "outcome_omitted": True, "url": f"/jobs/{job_id}"}
    return fast_json.strict(document)
