"""The meaning of each column and tile of the console, which pages show as a tooltip of its heading."""

from __future__ import annotations

import html
import re

from markupsafe import Markup

_OF_15_MIN = "over the last 15 minutes"
#: By heading, as it stands in the page. A heading with a title of its own keeps that.
MEANINGS = {
    "Attempts": "Attempts that were lost with their host or worker",
    "Batch p95": "95th percentile of recent batches, from claim to answer",
    "Created": "When it was made",
    "Dead letters": "Jobs that were given up and are kept",
    "Ended": "Jobs that end each second, with an outcome or an error",
    "Endpoint": "The name under which a version is deployed",
    "Errors": "Share of the jobs ended in the last 5 minutes that failed; without any, of all time",
    "Given up": "When the job was given up",
    "Group": "The worker group",
    "Hosts": "Model hosts that are ready",
    "Job": "The job's id; its first characters",
    "Jobs held": "Jobs that the worker has fetched, running ones included",
    "Jobs/s": "Jobs that end each second now, with an outcome or an error",
    "Last 5 min": "Jobs that ended each second in the last 5 minutes",
    "Last reason": "Why the last attempt was lost",
    "Last report": "How long ago the worker reported last",
    "Latency": f"Whole-job time, from submit to end, {_OF_15_MIN}",
    "Latest": "The version that was registered last",
    "Loaded in": "How long the model took to load",
    "Memory": "Resident memory of the model hosts together",
    "Model": "The model's name",
    "Oldest": "How long the oldest job in the queue has waited",
    "Outcome": "What the model returned, or why the job failed",
    "p50": f"Median of whole-job time {_OF_15_MIN}",
    "p95": f"95th percentile of whole-job time {_OF_15_MIN}",
    "p99": f"99th percentile of whole-job time {_OF_15_MIN}",
    "Queued": "Jobs that wait now, in the queue or in a worker",
    "Registered": "When it was registered",
    "Rows a batch": "Median rows of recent batches, of the most at once",
    "Runs for": "How long ago the worker started",
    "Runtime": "How the artifact is loaded",
    "Serves": "The endpoints that the worker has",
    "Since": "When it was made",
    "State": "Loading, ready, failed or stopping",
    "Status": "The state of the deployment, or of the job",
    "Submitted": "When the job was submitted",
    "Takes": "What an input looks like",
    "Their memory": "Resident memory of the model hosts together",
    "Took": "Whole-job time, from submit to end",
    "Version": "The model's version",
    "Versions": "How many versions the model has",
    "Worker": "The worker's name",
    "Workers": "Workers that report",
}
_HEADING = re.compile(r"<(th|dt)((?: (?!title=)[a-z-]+=\"[^\"]*\")*)>([^<]+)</\1>")


def explained(page: str) -> Markup:
    """Give the headings of a page's tables and tiles their tooltips."""
    return Markup(_HEADING.sub(_with_title, page))  # noqa: S704 - a page that was escaped already


def _with_title(found: re.Match[str]) -> str:
    tag, attributes, heading = found.groups()
    meaning = MEANINGS.get(html.unescape(heading).strip())
    if meaning is None:
        return found.group(0)
    return f'<{tag}{attributes} title="{html.escape(meaning)}">{heading}</{tag}>'
