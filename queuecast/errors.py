"""What `predict`, the results of its jobs, and `register` raise.

    from queuecast import errors, predict

    try:
        outcome = predict.delay("classifier", [0.5, 0.8, 0.2]).get(timeout=10)
    except errors.PredictionFailed as failed: ...
    except errors.JobFailed as failed: ...          # any other reason; failed.code is that of GET /jobs/<id>

Records of failed jobs name this module (`workers.errors.JOB_ERRORS_MODULE`), so that Celery finds the classes here in a
clone as well as installed. `Client` raises errors of its own, which are in `queuecast.client`.
"""

from __future__ import annotations

from registry.errors import *  # noqa: F403 - what `register` raises
from workers.errors import *  # type: ignore[assignment]  # noqa: F403 - why jobs fail, and what their submit raises
