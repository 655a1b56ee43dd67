"""Webhooks of a whole service: a receiver hears of every end, whatever dies on the way."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.client import Client
from tests.support.calls import expect
from tests.support.documentation import documented_file
from tests.support.models import Mortal
from tests.support.servers.webhook_receiver import SECRET, WebhookReceiver, environment
from tests.support.service.ports import free_port
from tests.support.service.processes import Child
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

NAME = "telling"
QUICK = {"QUEUECAST_SWEEP_INTERVAL_S": "0.3", "QUEUECAST_WEBHOOK_TIMEOUT_S": "1"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as running:
        yield running


@pytest.fixture
def held() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as running:
        yield running


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A service of its own, whose Redis and background process are restarted; with one endpoint."""
    env = environment(retries_s="0.3 0.3 0.3 0.3 0.3 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1") | QUICK
    with Stack(tmp_path_factory.mktemp("webhooks"), env=env) as running:
        running.start_worker()
        running.register(NAME, Mortal("first"))
        running.deploy(NAME, endpoint_name=NAME, max_batch_size=1)
        yield running


@pytest.fixture(scope="module")
def background(telling: Stack) -> list[Child]:
    """The one that runs is the last."""
    return [telling.start_background()]


def submit(telling: Stack, row: str, url: str, **more: object) -> str:
    answer = telling.api.post(f"/predict/{NAME}", json={"input": row, "callback_url": url, **more})
    return str(expect(202, answer)["job_id"])


def refuses(url: str) -> bool:
    try:
        return httpx.post(url, content=b"{}").status_code == 401
    except httpx.TransportError:
        return False


def test_every_end_is_told_once_to_whoever_asked(
    telling: Stack, background: list[Child], receiver: WebhookReceiver, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    first = submit(telling, str(gate), receiver.url)
    telling.wait_until_running([first])
    failed, cancelled = (submit(telling, row, receiver.url) for row in ("raise", "b"))
    expired = submit(telling, "c", receiver.url, expires_in_s=0.1)
    quiet = telling.submit(NAME, "d")
    rows = [{"input": row, "callback_url": receiver.url} for row in "ef"]
    many = expect(202, telling.api.post(f"/predict/{NAME}/bulk", json=rows))["job_ids"]
    telling.api.delete(f"/jobs/{cancelled}")
    call = f"predict.apply_async(({NAME!r}, 'g'), callback_url={receiver.url!r})"
    program = f"from workers.tasks import predict; print({call}.id)"
    celery = telling.run("-c", program).stdout.strip()
    eventually(lambda: expired in receiver.jobs)
    gate.touch()
    ends = dict.fromkeys([first, *many, celery], "succeeded")
    ends |= {failed: "failed", cancelled: "cancelled", expired: "expired"}
    eventually(lambda: len(receiver.got) >= len(ends), 20)
    telling.ended([quiet])
    assert {each["data"]["job_id"]: each["data"]["status"] for each in receiver.got} == ends
    assert len(receiver.got) == len(receiver.ids) == len(ends)
    for each in receiver.got:
        assert each["type"] == f"job.{each['data']['status']}"
        job = telling.job(each["data"]["job_id"])
        if job["error"] is not None:
            job["error"].pop("traceback", None)  # for the owner of the job alone, who asks with a key
        assert each["data"] == job
    delivery = telling.api.get(f"/webhooks/deliveries/{first}").json()
    assert (delivery["status"], len(delivery["attempts"])) == ("delivered", 1)


def test_a_deployment_tells_of_the_jobs_of_bare_celery_programs_and_of_dead_letters(
    telling: Stack, background: list[Child], receiver: WebhookReceiver
) -> None:
    with WebhookReceiver() as own:
        telling.deploy(NAME, endpoint_name=NAME, callback_url=receiver.url, max_attempts=1)
        bare = telling.celery.send_task("predict", args=[NAME, "x"], queue=f"predict.{NAME}").id
        poison = telling.submit(NAME, "exit")
        mine = submit(telling, "y", own.url)
        eventually(lambda: {bare, poison} <= set(receiver.jobs) and own.jobs == [mine], 20)
        assert mine not in receiver.jobs
        told = next(each for each in receiver.got if each["data"]["job_id"] == poison)
        assert told["data"]["error"]["code"] == "poison_job"
        telling.deploy(NAME, endpoint_name=NAME, callback_url=None)


def test_nothing_is_lost_with_a_receiver_a_background_process_or_a_redis_that_dies(
    telling: Stack, background: list[Child], held: WebhookReceiver
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    ids = [submit(telling, str(number), url) for number in range(5)]
    telling.ended(ids)
    eventually(lambda: telling.api.get(f"/webhooks/deliveries/{ids[0]}").json()["attempts"])
    held.answer = lambda number: (held.let_go.wait(0 if number else 20), (204, {}))[1]
    killed = submit(telling, "killed", held.url)
    eventually(lambda: held.ids)
    background[-1].kill()
    held.let_go.set()
    ids += [submit(telling, "while nobody tells", url)]
    telling.ended(ids)
    eventually(lambda: telling.api.get("/metrics").status_code == 200)
    background.append(telling.start_background())
    telling.redis.stop()
    telling.redis.start()
    with WebhookReceiver(port) as back:
        eventually(lambda: set(back.jobs) == set(ids), 30, message="all ends are told")
        telling.queuecast("webhooks", "redeliver", ids[0], "--json")
        eventually(lambda: back.ids.count(f"msg_{ids[0]}") >= 2, message="it is sent again")
    eventually(lambda: held.ids.count(f"msg_{killed}") >= 2, message="what a killed process was sending is sent again")
    listed = telling.queuecast("webhooks", "list", "--endpoint", NAME).stdout
    assert all(job_id in listed for job_id in ids)
    background[-1].send(signal.SIGTERM)
    assert background[-1].wait() == 0


def test_the_documented_receiver_checks_and_says_what_it_hears(telling: Stack, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    program, port = tmp_path / "receiver.py", free_port()
    program.write_text(documented_file("webhooks.md", "receiver.py"))
    background, env = telling.start_background(), {**telling.env, "PORT": str(port)}
    log_path = tmp_path / "receiver.log"
    with Child(["python", str(program), str(tmp_path / "secret")], env=env, log_path=log_path) as documented:
        url = f"http://127.0.0.1:{port}/"
        eventually(lambda: refuses(url), message="it answers, and believes nobody")
        done = telling.queuecast("predict", NAME, '"row"', "--callback-url", url, "--json")
        job_id = json.loads(done.stdout)["job_id"]
        documented.wait_for_log(f"job.succeeded {job_id} {{'prediction': ['first', 'row']")
    with Client(telling.url) as client, WebhookReceiver() as receiver:
        job = client.submit(NAME, "row", callback_url=receiver.url)
        eventually(lambda: receiver.jobs == [job.job_id])
    assert background.running
