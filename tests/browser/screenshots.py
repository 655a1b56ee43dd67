"""Writes docs/images/console-*.png: a service with example models, some load and a dead letter, seen in a browser.

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
from tests.support import browser
from tests.support.browser import Page
from tests.support.calls import expect
from tests.support.environment import REPOSITORY
from tests.support.models import Mortal
from tests.support.stack import Stack
from tests.support.waiting import eventually

IMAGES = REPOSITORY / "docs" / "images"
DESKTOP, PHONE = (1280, 800), (390, 844)
#: Those that docs/guides/console.md shows; others can be named: "jobs-phone", "models-dark".
PICTURES = [
    "overview-desktop", "overview-phone", "overview-dark", "deployment-desktop", "swap-desktop", "try-it-desktop",
    "try-it-phone", "dead-letter-desktop",
]  # fmt: skip
#: Long enough for a line to be seen.
LOAD_S = int(os.environ.get("LOAD_S", "240"))
EXAMPLES = {"classifier_prod": [0.5, 0.8, 0.2], "classifier_canary": [0.1, 0.4, 0.9], "quadratic": 2.5}


def main() -> int:
    """Take the pictures."""
    program = browser.program()
    if program is None:
        print("Chromium is needed (Debian: apt-get install chromium)")
        return 1
    stopped = threading.Event()
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack") as stack:
        letter = prepare(stack)
        threading.Thread(target=work, args=(stack.url, stopped), daemon=True).start()
        with Page(program, Path(folder)) as page:
            page.open(f"{stack.url}/console")
            page.size(*DESKTOP)
            page.wait_for(f"performance.now() > {1_000 * LOAD_S}", 2 * LOAD_S + 10)
            take(stack, page, letter)
            stopped.set()
    return 0


def prepare(stack: Stack) -> str:
    """Deploy a few models, and lose a job; return its id."""
    stack.register_examples()
    artifact = io.BytesIO()
    joblib.dump(examples.build("binary_classifier").model, artifact)
    about = {"name": "binary_classifier", "runtime": "sklearn", "input_example": EXAMPLES["classifier_prod"]}
    options = {"runtime_options": {"method": "predict_proba"}}
    data = {"metadata": json.dumps({**about, **options})}
    expect(201, stack.api.post("/models", files={"artifact": artifact.getvalue()}, data=data))
    stack.register("defects", Mortal(), input_example="ok")
    stack.start_worker("worker-1")
    stack.deploy("binary_classifier", version="1", endpoint_name="classifier_prod")
    stack.deploy("binary_classifier", version="2", endpoint_name="classifier_canary", max_batch_size=16)
    stack.deploy("quadratic_predictor", endpoint_name="quadratic", hosts=2)
    stack.deploy("defects", endpoint_name="defects", max_attempts=2)
    stack.deploy("digits_classifier", endpoint_name="digits_gpu", worker_group="gpu", wait_s=0)
    letter = stack.submit("defects", "segfault")
    assert stack.job(letter, 60)["status"] == "failed"
    return letter


def work(url: str, stopped: threading.Event) -> None:
    """Send jobs, now more and now fewer."""
    with httpx.Client(base_url=url, timeout=30) as client:
        for step in itertools.count():
            if stopped.wait(0.3):
                return
            for name, row in EXAMPLES.items():
                jobs = 20 + 14 * math.sin(step / 50 + len(name)) if name != "classifier_canary" else 3
                client.post(f"/predict/{name}/bulk", json=[{"input": row}] * round(jobs))


def shown(page: Page, url: str) -> bool:
    """Open a page; tell whether it shows no job that has only just come."""
    page.go(url)
    return page.value("document.querySelector('.queued, .running') === null") is True


def take(stack: Stack, page: Page, letter: str) -> None:
    """Take each picture."""
    pages = {
        "overview": "/console",
        "deployment": "/console/deployments/classifier_prod",
        "swap": "/console/deploy?model_name=binary_classifier&version=2&endpoint_name=classifier_prod",
        "undeploy": "/console/deployments/classifier_prod/undeploy",
        "try-it": "/console/try/classifier_prod",
        "jobs": "/console/jobs",
        "models": "/console/models",
        "model": "/console/models/binary_classifier",
        "deploy": "/console/models/binary_classifier/versions/2/deploy",
        "dead-letters": "/console/dead-letters",
        "dead-letter": f"/console/dead-letters/{letter}",
    }
    for picture in sys.argv[1:] or PICTURES:
        name, _, look = picture.rpartition("-")
        page.size(*(PHONE if look == "phone" else DESKTOP), dark=look == "dark")
        eventually(lambda: shown(page, f"{stack.url}{pages[name]}"), 20)  # noqa: B023 - called at once
        if name == "try-it":
            page.leave(lambda: page.value("(document.querySelector('main form button').click(), null)"))
        page.picture(IMAGES / f"console-{picture}.png")
        shrink(IMAGES / f"console-{picture}.png")


def shrink(path: Path) -> None:
    """Keep a picture's 256 commonest colours: a page has no more that anybody sees, and it takes half the bytes."""
    with Image.open(path) as picture:
        fewer = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    fewer.save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
