"""The meaning of each column of the tables, which `--help` shows below the options of a command."""

from __future__ import annotations

import click

#: docs/reference/fields.md has the same texts.
MEANINGS = {
    "ACCURACY": "Share of right labels, by feedback and its weights",
    "ABOUT": "What the page is for",
    "ACTION": "What was done: deploy, swap, configure, undeploy, rollback, or what a shadow or rollout did",
    "ALIAS": "The alias, a movable name for a version",
    "ALIASES": "The aliases of the model, or of the version",
    "ARTIFACT": "The artifact's digest, or the name of what an upload left",
    "ATTEMPTS": "Attempts that were lost (dead letters), or to deliver (webhooks)",
    "BATCH P95 MS": "95th percentile of recent batches (ms), from claim to answer",
    "BUDGET MB": "Memory that the worker's hosts may use together, in MB of a million bytes",
    "BY": "The name of the API key; anonymous without one",
    "CALLBACK URL": "Where the webhook goes",
    "CHANGES": "What differs from before: field, old value, new value",
    "CANDIDATE": "The version that is evaluated",
    "COLD P50 MS": "Median of the worker's last cold starts: from a job's arrival until a host had the model (ms)",
    "COLD P95 MS": "95th percentile of the worker's last cold starts (ms)",
    "COLD STARTS": "Loads for waiting jobs of asleep deployments, since the worker started",
    "CREATED": "When the key, the evaluation or the subscription was made",
    "DAY": "The UTC day on which the jobs ended; all: the whole time",
    "ENDED": "When the job ended",
    "ENDPOINT": "The endpoint",
    "ENDPOINTS": "The only endpoints that the key may use, or whose events are sent",
    "ERROR": "Why the job failed",
    "EVALUATION": "The evaluation's id",
    "EVENT": "What happened to the rollout; the kind of event that the webhook is of",
    "EVENTS": "The kinds of events that are sent",
    "EVICTIONS": "Deployments put to sleep because others needed memory, since the worker started",
    "FAILED": "Jobs that ended with an error",
    "FEEDBACK": "Jobs with feedback",
    "FIELD": "The path of a field of the input, or of the answer",
    "FOLLOWED BY": "The endpoints that swap when the alias moves",
    "FROM": "When the step begins (`stats`); the version before (`aliases history`)",
    "GIVEN UP": "When the job was given up",
    "GPU": "A GPU of the worker: its id, and its name",
    "GPU MEMORY MB": "Memory of the GPU, in MB of a million bytes",
    "GPU USED MB": "What all processes use of the GPU's memory, in MB of a million bytes",
    "GPUS": "The GPUs that the model hosts have",
    "HOSTS": "Ready model hosts, of the configured number",
    "INDEX": "Population stability index; `-` if there is too little to compare",
    "JOB": "The job's id; of the webhook of an event, its own id",
    "JOBS": "Jobs that have ended: since the endpoint's first job (`deployments`, `status`), or in the step (`stats`)",
    "KEY": "The first characters of the key's text",
    "LAST ERROR": "Why the last attempt failed",
    "LAST REASON": "Why the last attempt was lost",
    "LAST USED": "When the key was used last",
    "LATEST": "The version that was registered last",
    "LOAD MS": "How long the model took to load",
    "MAE": "Mean absolute error of numbers, by feedback and its weights",
    "MEAN 15M": "Mean whole-job time (ms) over the last 15 minutes",
    "MEMORY MB": "Resident memory of the hosts together, in MB of a million bytes",
    "MODEL": "The model's name",
    "MOST OF A STEP": "The largest value of one step, which is the highest character of the chart",
    "MOVED": "When the alias was moved last",
    "NAME": "The name of the key's user",
    "NEXT": "When the webhook is tried next",
    "NOISE": "About what the index is without any change, by chance alone",
    "OUTCOME": "What came of it: active, failed, undeployed, parked, superseded by the next; or pending",
    "OVER TIME": "One character for each step, the newest on the right; a dot where there is no value",
    "PAGE": "The name of the page",
    "P50 MS": "Median of whole-job time (ms) in the step",
    "P95 15M": "95th percentile of whole-job time (ms) over the last 15 minutes",
    "P95 MS": "95th percentile of whole-job time (ms) in the step",
    "PIDS": "Process ids of the hosts, on the worker's machine",
    "PREDICT P95": "95th percentile of the model host's time for the job's batch (ms) in the step",
    "QUEUE DEPTH": "The most jobs that waited in the step; `-` if no worker was there to look",
    "QUEUED": "Jobs that wait now, in the queue or in a worker",
    "QUEUED P95": "95th percentile of the time from submit to the start of the batch (ms) in the step",
    "RATE": "The most requests a second of the key",
    "REPLAYED": "Jobs that were replayed and compared, of how many",
    "REASON": "Why it happened",
    "REGISTERED": "When the model, or the version, was registered",
    "REVISION": "A number that each change of the deployment raises",
    "REVOKED": "When the key was revoked",
    "RMSE": "Root mean squared error of numbers, by feedback and its weights",
    "ROLE": "What the key may do",
    "ROWS": "How many rows were copied",
    "RUNTIME": "How the artifact is loaded",
    "SHA256": "The beginning of the artifact's digest",
    "SHARE": "The sum of the shares that hosts have of the GPU",
    "SIZE": "The artifact's size",
    "STATE": "loading, ready, failed, stopping, asleep or not placed (hosts); the state of the evaluation",
    "STATUS": "The status of the deployment, job or webhook",
    "SUBMITTED": "When the job was submitted",
    "SUBSCRIPTION": "The id of the subscription to events",
    "TABLE": "The table of the registry",
    "TAGS": "Short texts that the model, or the version, carries",
    "TO": "The version since then",
    "TOGETHER": "The value of the whole time",
    "TOOK": "From submit to end",
    "VERDICT": "same, differs, inconclusive, better or worse",
    "USED MB": "Memory that the worker's hosts use, and that is kept for them, in MB of a million bytes",
    "VERSION": "The model's version",
    "VERSIONS": "How many versions the model has",
    "WHEN": "When it was done",
    "WHY": "Why nothing needs it",
    "WITHDRAWN": "Jobs that were cancelled or expired",
    "WORKER": "The worker's name",
    "WORKERS": "Workers that have it loaded or load it",
}
#: The columns of each command that doesn't explain them itself.
_COLUMNS = {
    "status": ("ENDPOINT", "MODEL", "VERSION", "STATUS", "WORKERS", "JOBS", "QUEUED", "MEAN 15M", "P95 15M"),
    "jobs list": ("JOB", "ENDPOINT", "STATUS", "SUBMITTED", "TOOK", "ERROR"),
    "rollout start": ("WHEN", "BY", "EVENT", "REASON"),
    "rollout show": ("WHEN", "BY", "EVENT", "REASON"),
    "docs": ("PAGE", "ABOUT"),
    "history": ("REVISION", "WHEN", "BY", "ACTION", "OUTCOME", "CHANGES"),
    "aliases list": ("ALIAS", "VERSION", "MOVED", "FOLLOWED BY"),
    "aliases history": ("WHEN", "BY", "FROM", "TO"),
    "evaluations list": ("EVALUATION", "ENDPOINT", "CANDIDATE", "STATE", "VERDICT", "REPLAYED", "CREATED"),
    "artifacts prune": ("ARTIFACT", "SIZE", "WHY"),
    "drift": ("FIELD", "INDEX", "NOISE"),
    "quality": ("DAY", "VERSION", "FEEDBACK", "ACCURACY", "MAE", "RMSE"),
    "models list": ("MODEL", "LATEST", "VERSIONS", "REGISTERED", "ALIASES", "TAGS"),
    "models show": ("VERSION", "RUNTIME", "SIZE", "SHA256", "REGISTERED", "ALIASES", "TAGS"),
    "dead-letters list": ("JOB", "ENDPOINT", "GIVEN UP", "ATTEMPTS", "LAST REASON"),
    "webhooks list": ("JOB", "EVENT", "ENDPOINT", "STATUS", "CALLBACK URL", "ENDED", "ATTEMPTS", "NEXT", "LAST ERROR"),
    "webhooks subscriptions": ("SUBSCRIPTION", "CALLBACK URL", "EVENTS", "ENDPOINTS", "CREATED", "BY"),
    "keys list": ("KEY", "NAME", "ROLE", "ENDPOINTS", "RATE", "CREATED", "LAST USED", "REVOKED"),
}


def explain(name: str, command: click.Command) -> None:
    """Add the meanings of their columns to the help of a command, and of the commands of a group."""
    for path, columns in _COLUMNS.items():
        first, *rest = path.split()
        if first != name:
            continue
        shown = command
        for each in rest:
            assert isinstance(shown, click.Group)  # noqa: S101 - the paths above are those of commands
            shown = shown.commands[each]
        shown.epilog = "\n\n".join(filter(None, [shown.epilog, described(columns)]))


def described(columns: tuple[str, ...]) -> str:
    """Return the columns and their meanings, a line each."""
    width = max(map(len, columns))
    return "\b\nColumns:\n" + "\n".join(f"  {column:<{width}}  {MEANINGS[column]}" for column in columns)
