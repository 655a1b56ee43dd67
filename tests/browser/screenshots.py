"""Writes docs/images/console-*.png: a service with keys, example models, load and what has failed, in a browser.

python tests/browser/screenshots.py          (make screenshots)
"""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import sys
import tempfile
import threading
from pathlib import Path

import httpx
import joblib
from PIL import Image

from registry import examples
from tests.browser import judging
from tests.support.calls import expect
from tests.support.models import Echo, Fussy, Mortal
from tests.support.servers import browser
from tests.support.servers.browser import Page
from tests.support.servers.webhook_receiver import Answer, WebhookReceiver
from tests.support.servers.webhook_receiver import environment as webhook_environment
from tests.support.service.environment import REPOSITORY
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

IMAGES = REPOSITORY / "docs" / "images"
DESKTOP, PHONE = (1440, 560), (390, 844)
#: Those that docs/guides/console.md shows; others can be named: "jobs-phone", "models-dark".
PICTURES = [
    "overview-desktop", "overview-phone", "overview-dark", "deployment-desktop", "deployment-dark", "settings-desktop",
    "change-desktop", "swap-desktop", "move-desktop", "job-desktop", "history-desktop", "models-desktop",
    "try-it-desktop", "try-it-phone", "dead-letter-desktop", "model-desktop", "model-phone",
    "register-desktop", "keys-desktop", "webhook-desktop", "jobs-desktop", "jobs-phone",
    "docs-desktop", "evaluation-desktop", "evaluation-phone", "rollout-desktop", "rollout-dark",
]  # fmt: skip
#: Long enough for a line to be seen.
LOAD_S = int(os.environ.get("LOAD_S", "240"))
#: What a page's fields hold, by their ids, before the picture.
TYPED = {
    "settings": {"hosts": "3", "max_batch_size": "auto"},
    "register": {"name": "churn", "input_example": "[34, 2.5, 0, 1]", "metadata": '{"trained_by": "ml-team"}'},
    "key-made": {"name": "mobile_app"},
}
#: Keys are asked for, and an evaluation finds the jobs that have just ended.
ENVIRONMENT = {"QUEUECAST_AUTH": "on", "QUEUECAST_JOURNAL_INTERVAL_S": "0.2"}
EXAMPLES = {"classifier_prod": [0.5, 0.8, 0.2], "classifier_canary": [0.1, 0.4, 0.9], "quadratic": 2.5}


def main() -> int:
    """Take the pictures."""
    program = browser.program()
    if program is None:
        print("Chromium is needed (Debian: apt-get install chromium)")
        return 1
    stopped = threading.Event()
    with tempfile.TemporaryDirectory() as folder, WebhookReceiver(answer=at_the_second_try) as receiver:
        stack = Stack(Path(folder) / "stack", env={**ENVIRONMENT, **webhook_environment()})
        key = stack.queuecast("keys", "create", "ml-team", "--role", "admin", "--new-registry").stdout.strip()
        with stack, Page(program, Path(folder)) as page:
            stack.api.headers["Authorization"] = f"Bearer {key}"
            addresses = prepare(stack, receiver)
            threading.Thread(target=work, args=(stack.url, key, stopped), daemon=True).start()
            page.size(*DESKTOP)
            log_in(page, stack.url, key)
            page.wait_for(f"performance.now() > {1_000 * LOAD_S}", 2 * LOAD_S + 10)
            take(stack, page, addresses)
            stopped.set()
    return 0


def at_the_second_try(number: int) -> Answer:
    """What a receiver of webhooks answers."""
    return (204, {}) if number else (503, {})


def log_in(page: Page, url: str, key: str) -> None:
    """Log in with a key; come to the overview."""
    page.go(f"{url}/console/login?next=/console")
    page.value(f"(document.getElementById('key').value = {json.dumps(key)}, null)")
    page.leave(lambda: page.value("(document.querySelector('main form button').click(), null)"))


def prepare(stack: Stack, receiver: WebhookReceiver) -> dict[str, str]:
    """Make keys, deploy a few models, and let jobs fail; return the addresses of the jobs' pages by their pictures."""
    for key in (
        {"name": "shop", "role": "client", "endpoint_names": ["classifier_prod"], "rate_limit_per_s": 50},
        {"name": "reports", "role": "client", "endpoint_names": ["quadratic"]},
        {"name": "on-call", "role": "operator"},
    ):
        expect(201, stack.api.post("/keys", json=key))
    stack.register_examples()
    artifact = io.BytesIO()
    joblib.dump(examples.build("binary_classifier").model, artifact)
    about = {"name": "binary_classifier", "runtime": "sklearn", "input_example": EXAMPLES["classifier_prod"]}
    options = {"runtime_options": {"method": "predict_proba"}}
    data = {"metadata": json.dumps({**about, **options})}
    expect(201, stack.api.post("/models", files={"artifact": artifact.getvalue()}, data=data))
    stack.register("defects", Mortal(), input_example="ok")
    stack.register("prices", Fussy(), input_example=[0.4, 0.3])
    stack.start_worker("worker-1")
    catalog(stack)
    stack.deploy("binary_classifier", alias="champion", follow=True, endpoint_name="classifier_prod")
    stack.api.patch("/deployments/classifier_prod", json={"max_batch_size": 32, "hosts": 2})
    stack.wait_for_status("classifier_prod", "active")
    stack.deploy("binary_classifier", version="2", endpoint_name="classifier_canary", max_batch_size=16)
    stack.deploy("quadratic_predictor", endpoint_name="quadratic", hosts=2)
    stack.deploy("defects", endpoint_name="defects", max_attempts=2)
    stack.deploy("digits_classifier", endpoint_name="digits_gpu", worker_group="gpu", wait_s=0)
    stack.register("churn", Echo(), EXAMPLES["classifier_prod"], runtime="sklearn")
    stack.deploy("churn", endpoint_name="shop_churn", wait_s=0)
    letter = stack.submit("defects", "segfault")
    assert stack.job(letter, 60)["status"] == "failed"
    stack.deploy("prices", endpoint_name="prices")
    raised = stack.submit("prices", [1.5, 0.2])
    assert stack.job(raised, 60)["status"] == "failed"
    stack.start_background()
    job = {"input": EXAMPLES["classifier_prod"], "callback_url": receiver.url}
    told = str(expect(202, stack.api.post("/predict/classifier_prod", json=job))["job_id"])
    delivery = f"/webhooks/deliveries/{told}"
    eventually(lambda: stack.api.get(delivery).json().get("status") == "delivered", 30)
    return {
        **judging.prepare(stack),
        "job": f"/console/jobs/{raised}",
        "dead-letter": f"/console/dead-letters/{letter}",
        "webhook": f"/console/webhooks/{told}",
    }


def catalog(stack: Stack) -> None:
    """Name and tag versions."""
    for alias, version in (("champion", "2"), ("champion", "1"), ("challenger", "2")):
        expect(200, stack.api.put(f"/models/binary_classifier/aliases/{alias}", json={"version": version}))
    expect(200, stack.api.patch("/models/binary_classifier/tags", json={"tags": {"owner": "risk", "tier": "1"}}))
    expect(200, stack.api.patch("/models/quadratic_predictor/tags", json={"tags": {"owner": "pricing"}}))
    reviewed = {"tags": {"reviewed": "2026-11-29"}}
    expect(200, stack.api.patch("/models/binary_classifier/versions/2/tags", json=reviewed))


def work(url: str, key: str, stopped: threading.Event) -> None:
    """Send jobs, now more and now fewer."""
    with httpx.Client(base_url=url, timeout=30, headers={"Authorization": f"Bearer {key}"}) as client:
        for step in itertools.count():
            if stopped.wait(0.3):
                return
            for name, row in EXAMPLES.items():
                jobs = 20 + 14 * math.sin(step / 50 + len(name)) if name != "classifier_canary" else 3
                client.post(f"/predict/{name}/bulk", json=[{"input": row}] * round(jobs))


def shown(page: Page, url: str) -> bool:
    """Open a page; tell whether it shows no job that has only just come."""
    page.go(url)
    return page.value("document.querySelector('td .queued, td .running') === null") is True


def take(stack: Stack, page: Page, addresses: dict[str, str]) -> None:
    """Take each picture."""
    pages = {
        "overview": "/console",
        "deployment": "/console/deployments/classifier_prod",
        "swap": "/console/deploy?model_name=binary_classifier&version=2&endpoint_name=classifier_prod",
        "settings": "/console/deployments/classifier_prod/settings",
        "change": "/console/deployments/classifier_prod/settings",
        "undeploy": "/console/deployments/classifier_prod/undeploy",
        "try-it": "/console/try/classifier_prod",
        "jobs": "/console/jobs",
        "models": "/console/models",
        "model": "/console/models/binary_classifier",
        "deploy": "/console/models/binary_classifier/versions/2/deploy",
        "register": "/console/register",
        "keys": "/console/keys",
        "key-made": "/console/keys/new",
        "webhooks": "/console/webhooks",
        "docs": "/console/api",
        "dead-letters": "/console/dead-letters",
        "history": "/console/deployments/classifier_prod/history",
        "rollback": "/console/deployments/classifier_prod/rollback",
        "cancel-queued": "/console/deployments/classifier_prod/cancel-queued",
        "prune": "/console/artifacts/prune",
        "alias": "/console/models/binary_classifier/aliases/champion",
        "move": "/console/models/binary_classifier/move-alias?alias=champion&version=2&expected=1",
        **addresses,
    }
    for picture in sys.argv[1:] or PICTURES:
        name, _, look = picture.rpartition("-")
        page.size(*(PHONE if look == "phone" else DESKTOP), dark=look == "dark")
        eventually(lambda: shown(page, f"{stack.url}{pages[name]}"), 20)  # noqa: B023 - called at once
        fill(stack, page, name)
        page.picture(IMAGES / f"console-{picture}.png")
        shrink(IMAGES / f"console-{picture}.png")


def fill(stack: Stack, page: Page, name: str) -> None:
    """Type what the picture shows, and go on to the page that it is of."""
    for field, typed in TYPED.get("settings" if name == "change" else name, {}).items():
        page.value(f"(document.getElementById({json.dumps(field)}).value = {json.dumps(typed)}, null)")
    if name == "register":
        artifact = Path(tempfile.gettempdir()) / "churn.onnx"
        artifact.touch()
        page.choose("#artifact", artifact)
        page.value("(document.querySelector('details').open = true, null)")
    if name == "docs":
        key = str(stack.api.headers["Authorization"]).removeprefix("Bearer ")
        page.value(f"(sessionStorage.setItem('queuecast-key', {json.dumps(key)}), null)")
        page.go(f"{stack.url}/console/api")
        page.wait_for("document.querySelectorAll('#operations details').length > 10")
        page.value("(document.querySelector('#operations details').open = true, null)")
        page.wait_for("document.querySelector('#operations .send') !== null")
    if name in ("try-it", "change", "key-made"):
        page.leave(lambda: page.value("(document.querySelector('main form button').click(), null)"))


def shrink(path: Path) -> None:
    """Keep 256 colours of a picture, rare ones too, such as a thin line's: it takes half the bytes."""
    with Image.open(path) as picture:
        fewer = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    fewer.save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
