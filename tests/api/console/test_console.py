"""The console's pages as they are sent: what they show, ask, do and refuse; tests/browser shows how they behave."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from registry import deployments
from registry.database import default_database
from tests.api.conftest import Client, View
from tests.api.console.pages import confirm, fields, page, text_of
from tests.api.stand_in_worker import NAME, StandInWorker
from workers.measures.reports import HostsState

EVIL = "<script>alert('x')</script>\"'&"


def test_the_overview_shows_deployments_and_workers_as_they_are(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    assert "deploying" in page(client, "")
    worker.report(adding)
    worker.succeed(client.submit(), "adding", 3)
    worker.fail(client.submit(), "adding", "no")
    client.submit()
    shown = page(client, "")
    assert "adding adder, version 1 active" in shown
    assert "Queued 3 jobs " in shown
    assert "2 1 failed" in shown
    assert f"{NAME} default adding 0 1 50 MB" in shown
    worker.report(adding, HostsState.FAILED, error="no such file")
    assert "no such file" in page(client, "")
    assert "http://localhost:5555" in client.get("/console").text


def test_empty_pages_teach_the_next_command(client: Client) -> None:
    assert "queuecast models register" in page(client, "")
    assert "No worker runs" in page(client, "")
    assert "queuecast models register" in page(client, "/models")
    assert "queuecast deploy MODEL" in page(client, "/try")
    assert "queuecast predict" in page(client, "/jobs")
    assert "None. That is how it should be." in page(client, "/dead-letters")
    client.register()
    assert "queuecast deploy adder" in page(client, "")


def test_a_deployment_is_shown_with_its_settings_versions_workers_and_jobs(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    client.register(version="2")
    worker.report(adding)
    job_id = client.submit()
    shown = page(client, "/deployments/adding")
    for each in (
        "adding active",
        "revision 1",
        f"{NAME} ready 1 1 of 1 50 MB 12 ms",
        job_id[:8],
        "Swap to version 2 1",
    ):
        assert each in shown
    assert "Max batch size no limit or default" in shown
    assert "Nothing is deployed as 'none'" in page(client, "/deployments/none", 404)


def test_the_gpus_of_workers_and_hosts_are_shown_where_there_are_any(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    worker.report(adding)
    assert "GPUs" not in client.get("/console/").text + client.get("/console/deployments/adding").text
    worker.gpus = [
        {"id": "0", "name": "NVIDIA L4", "memory_bytes": 24 << 30, "used_bytes": 3 << 30, "share": 0.75},
        {"id": "MIG-1", "name": None, "memory_bytes": None, "used_bytes": None, "share": 0.0},
    ]
    worker.report(adding, gpus=["0"])
    overview = client.get("/console/").text
    assert "0: 0.75 of 1" in overview
    assert "3.2 GB of 26 GB" in overview
    assert "MIG-1: 0 of 1" in overview
    assert '<td data-label="GPUs">0</td>' in client.get("/console/deployments/adding").text
    [shown] = client.get("/deployments").json["workers"]
    assert shown["gpus"] == worker.gpus


def test_a_deployment_shows_warnings_and_the_step_of_building_its_environment(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    worker.report(adding, warnings=["made with scikit-learn 1.5.2"])
    assert client.get("/deployments/adding").json["warnings"] == ["made with scikit-learn 1.5.2"]
    assert "made with scikit-learn 1.5.2" in page(client, "/deployments/adding")
    worker.report(adding, HostsState.BUILDING, building="installing 6 packages")
    shown = page(client, "/deployments/adding")
    assert "adding building environment" in shown
    assert "is being built: installing 6 packages." in shown
    assert f"{NAME} building environment installing 6 packages" in shown


def test_models_are_shown_with_their_versions_and_what_serves_them(client: Client, adding: View) -> None:
    client.register("text", input_example={"words": ["a", "b"], "length": 3}, metadata={"by": EVIL})
    assert "adder 1 1" in page(client, "/models")
    shown = page(client, "/models/adder")
    assert re.search(r"1 latest python float\[2\] 5 B (just now|[\d.]+ s ago) adding Deploy… Delete…", shown)
    assert "an object with words: str[2], length: float" in page(client, "/models/text")
    page(client, "/models/none", 404)


def test_a_swap_says_what_will_happen_and_is_done_once_confirmed(client: Client, adding: View) -> None:
    client.register(version="2")
    client.submit()
    asked = "/deploy?model_name=adder&version=2&endpoint_name=adding&max_batch_size=auto"
    shown = page(client, asked)
    assert "Swap adding?" in shown
    assert "adder version 2 replaces adder version 1 (deploying)" in shown
    assert "1 job waits now." in shown
    assert "Max batch size: auto." in shown
    answer = confirm(client, asked, "/deploy")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/deployments/adding?done=deploy")
    view = client.get("/deployments/adding").json
    assert (view["version"], view["revision"], view["settings"]["max_batch_size"]) == ("2", 2, "auto")
    assert "Accepted: the workers load it now." in page(client, "/deployments/adding?done=deploy")


def test_the_history_shows_each_change_and_leads_back_once_confirmed(client: Client, adding: View) -> None:
    client.register(version="2")
    client.deploy("adding", version="2", hosts=2)
    assert "/console/deployments/adding/history" in client.get("/console/deployments/adding").text
    shown = page(client, "/deployments/adding/history")
    assert "2 pending" in shown
    assert "Swap: Version 1 → 2, Hosts 1 → 2" in shown
    assert "Deploy: Model name adder, Version 1" in shown
    asked = "/deployments/adding/rollback"
    shown = page(client, asked)
    assert "adder version 1 serves again, with the settings and the group of revision 1." in shown
    assert "What changes: Version 2 → 1, Hosts 2 → 1." in shown
    form = fields(client.get(f"/console{asked}?to_revision=1"))
    answer = confirm(client, asked)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/deployments/adding?done=deploy")
    assert client.get("/deployments/adding").json["version"] == "1"
    assert client.post(f"/console{asked}", data=form).status_code == 409
    assert "rollback to 1" in page(client, "/deployments/adding/history").lower()
    page(client, "/deployments/none/history", 404)
    assert "has no revision 9" in page(client, f"{asked}?to_revision=9", 404)


def test_a_change_that_somebody_else_was_faster_with_is_refused(client: Client, adding: View) -> None:
    client.register(version="2")
    swap = fields(client.get("/console/deploy?model_name=adder&version=2&endpoint_name=adding"))
    undeploy = fields(client.get("/console/deployments/adding/undeploy"))
    new = fields(client.get("/console/deploy?model_name=adder&version=2&endpoint_name=new"))
    client.deploy("adding", version="2")
    client.deploy("new")
    for address, form in (
        ("/deploy", swap),
        ("/deployments/adding/undeploy", {**undeploy, "backlog": "reject"}),
        ("/deploy", new),
    ):
        answer = client.post(f"/console{address}", data=form)
        assert answer.status_code == 409, answer.text
        assert "was changed in the meantime" in text_of(answer)
        assert "/console/deployments/" in answer.text
    views = client.get("/deployments").json["deployments"]
    assert {each["endpoint_name"]: each["version"] for each in views} == {"adding": "2", "new": "2"}
    assert all(each["status"] == "deploying" for each in views)


def test_a_deploy_form_shows_what_is_wrong_at_its_fields_and_keeps_what_was_typed(client: Client) -> None:
    client.register()
    page(client, "/models/adder/versions/1/deploy")
    query = "model_name=adder&version=1&endpoint_name=mine&hosts=many&max_batch_size=0&timeout_s=5"
    answer = client.get(f"/console/deploy?{query}")
    assert answer.status_code == 422
    assert 'id="problem-hosts" role="alert">should be a whole number' in answer.text
    assert 'id="problem-max_batch_size"' in answer.text
    assert 'value="mine"' in answer.text
    assert 'value="many"' in answer.text
    with default_database().session() as session:
        assert deployments.desired(session) == []


def test_a_callback_that_is_refused_is_said_at_its_field_before_anybody_confirms(client: Client) -> None:
    client.register()
    answer = client.get("/console/deploy?model_name=adder&version=1&callback_url=https://shop.example/ended")
    assert (
        answer.status_code
        == client.post(
            "/deployments/deploy", json={"model_name": "adder", "callback_url": "https://shop.example/ended"}
        ).status_code
    )
    assert 'id="problem-callback_url"' in answer.text
    assert 'value="https://shop.example/ended"' in answer.text


def test_a_new_endpoint_is_deployed_with_the_settings_that_were_typed(client: Client) -> None:
    client.register()
    asked = "/deploy?model_name=adder&version=1&endpoint_name=&worker_group=gpu&hosts=2&expires_in_s=1.5&result_ttl_s="
    assert "Deploy adder-v1?" in page(client, asked)
    assert confirm(client, asked, "/deploy").status_code == 303
    view = client.get("/deployments/adder-v1").json
    assert (view["worker_group"], view["settings"]["hosts"], view["settings"]["expires_in_s"]) == ("gpu", 2, 1.5)


@pytest.mark.parametrize("backlog", ["drain", "reject", "park"])
def test_an_undeploy_explains_its_ways_and_takes_the_chosen_one(client: Client, adding: View, backlog: str) -> None:
    client.submit()
    shown = page(client, "/deployments/adding/undeploy")
    assert "1 job waits now. What becomes of those that wait?" in shown
    answer = confirm(client, "/deployments/adding/undeploy", backlog=backlog)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console?done=undeploy")
    with default_database().session() as session:
        [row] = deployments.desired(session)
    assert row.intent.value == backlog
    assert "Deploy version" in page(client, "/deployments/adding")


def test_trying_is_filled_with_the_example_and_shows_the_outcome_in_place(
    client: Client, adding: View, worker: StandInWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.console.trying.WAIT_S", 0.05)
    answer = client.get("/console/try/adding")
    assert ">\n[1.0, 2.0]</textarea>" in answer.text
    answer = client.post("/console/try/adding", data={**fields(answer), "input": "[3, 4]", "priority": "high"})
    assert answer.status_code == 200
    assert "[3, 4]</textarea>" in answer.text
    [job] = client.get("/jobs").json["jobs"]
    assert f'data-live="/console/jobs/{job["job_id"]}"' in answer.text
    worker.succeed(job["job_id"], "adding", {"sum": 7})
    shown = page(client, f"/jobs/{job['job_id']}")
    assert "succeeded" in shown
    assert '{"sum": 7}' in shown


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("[1, 2", "The body is not JSON"),
        ("", "The body is empty"),
        ("[1]", "input must be a list of 2"),
        ('[1, "x"]', "input[1] must be a finite number"),
    ],
)
def test_an_input_that_does_not_fit_is_said_at_its_field(client: Client, adding: View, typed: str, said: str) -> None:
    form = {**fields(client.get("/console/try/adding")), "input": typed, "priority": "normal"}
    answer = client.post("/console/try/adding", data=form)
    assert answer.status_code in (400, 422)
    [problem] = re.findall(r'id="problem-input" role="alert">([^<]*)<', answer.text)
    assert html.unescape(problem).startswith(said)
    assert "aria-invalid" in answer.text
    assert html.escape(typed, quote=False) in answer.text.replace("&#34;", '"')
    assert client.get("/jobs").json["jobs"] == []


def test_what_takes_no_jobs_cannot_be_tried(client: Client, adding: View) -> None:
    client.post("/deployments/undeploy", json={"endpoint_name": "adding", "backlog": "park"})
    assert "is parked" in page(client, "/try/adding", 404)


def test_jobs_are_listed_filtered_and_cancelled(client: Client, adding: View, worker: StandInWorker) -> None:
    failed, queued = client.submit(), client.submit()
    assert "1 job goes first (no ready worker)." in page(client, f"/jobs/{queued}")
    worker.report(adding)
    assert "1 job goes first: begins in about" in page(client, f"/jobs/{queued}")
    worker.fail(failed, "adding", "not liked")
    assert "not liked" in page(client, "/jobs?status=failed&endpoint_name=adding")
    assert queued[:8] not in page(client, "/jobs?status=failed")
    assert "Request invalid" in page(client, "/jobs?status=asleep", 422)
    assert "It waits for adding, and will never run." in page(client, f"/jobs/{queued}/cancel")
    assert confirm(client, f"/jobs/{queued}/cancel").status_code == 303
    assert client.get(f"/jobs/{queued}").json["status"] == "cancelled"
    assert "there is nothing to cancel" in page(client, f"/jobs/{failed}/cancel")
    page(client, "/jobs/unknown", 404)


def test_an_address_that_leads_nowhere_has_a_page_too(client: Client) -> None:
    assert "The console has no page at 'elsewhere/<b>'." in page(client, "/elsewhere/<b>", 404)
    assert "The console has no page at 'logout'." in page(client, "/logout", 404)
    assert client.get("/console/elsewhere").headers["X-Frame-Options"] == "DENY"


def test_a_job_that_begins_before_its_cancel_is_confirmed_goes_on(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    job_id = client.submit()
    form = fields(client.get(f"/console/jobs/{job_id}/cancel"))
    worker.start(job_id, "adding")
    answer = client.post(f"/console/jobs/{job_id}/cancel", data=form)
    assert answer.status_code == 409
    assert client.get(f"/jobs/{job_id}").json["status"] == "running"
    assert "Its model host is stopped" in page(client, f"/jobs/{job_id}/cancel")
    assert confirm(client, f"/jobs/{job_id}/cancel").status_code == 303
    assert client.get(f"/jobs/{job_id}").json["status"] == "cancelled"


def test_a_dead_letter_shows_why_and_is_replayed_to_another_endpoint(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    job_id = client.submit()
    worker.give_up(job_id, "adding", "killed by signal 9")
    assert "Dead letters 1" in page(client, "").replace("Dead letters Try", "")
    assert "killed by signal 9" in page(client, "/dead-letters")
    assert job_id[:8] not in page(client, "/dead-letters?endpoint_name=other")
    assert f'href="/console/dead-letters/{job_id}"' in client.get(f"/console/jobs/{job_id}").text
    shown = page(client, f"/dead-letters/{job_id}")
    assert "attempt 1 on stand-in@here" in shown
    assert "[1, 2]" in shown
    client.register("text", input_example="words")
    client.deploy("texts", "text")
    answer = confirm(client, f"/dead-letters/{job_id}/replay", endpoint_name="texts")
    assert answer.status_code == 422
    assert "input must be a string" in text_of(answer)
    client.deploy("other")
    answer = confirm(client, f"/dead-letters/{job_id}/replay", endpoint_name="other")
    assert answer.status_code == 303
    assert "Sent again" in text_of(client.get(answer.headers["Location"]))
    assert [job["endpoint_name"] for job in client.get("/jobs?status=queued").json["jobs"]] == ["other"]
    page(client, f"/dead-letters/{job_id}", 404)


def test_a_failed_job_shows_its_traceback_and_its_input_and_is_run_again(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    job_id = client.submit(input=[1, 2])
    worker.fail(job_id, "adding", "too red", traceback=f'File "model.py", in predict{EVIL}', keeps_input=True)
    shown = client.get(f"/console/jobs/{job_id}")
    assert 'File "model.py", in predict<script>' in html.unescape(shown.text)
    assert EVIL not in shown.text
    assert "[1, 2]</textarea>" in shown.text
    answer = client.post(f"/console/jobs/{job_id}/retry", data={**fields(shown), "input": "[3, 4]"})
    assert answer.status_code == 303, answer.text
    again = answer.headers["Location"].removeprefix("/console/jobs/").removesuffix("?done=retry")
    worker.fail(again, "adding", "no", keeps_input=True)
    assert client.get(f"/jobs/{again}/input").json == {"input": [3, 4]}
    assert "this is the new job" in page(client, f"/jobs/{again}?done=retry")


def test_a_job_with_several_inputs_is_run_again_with_all_of_them(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    job_id = client.submit(inputs=[[1, 2], [3, 4]])
    worker.fail(job_id, "adding", "too red", keeps_input=True)
    answer = confirm(client, f"/jobs/{job_id}", f"/jobs/{job_id}/retry", input="[[5, 6]]")
    again = answer.headers["Location"].removeprefix("/console/jobs/").removesuffix("?done=retry")
    worker.fail(again, "adding", "no", keeps_input=True)
    assert client.get(f"/jobs/{again}/input").json == {"inputs": [[5, 6]]}


@pytest.mark.parametrize(
    ("typed", "status", "said"), [("[1,", 400, "JSON"), ('"words"', 422, "input"), ("", 409, "is not kept")]
)
def test_what_can_not_be_run_again_is_said_beside_what_was_typed(
    client: Client, adding: View, worker: StandInWorker, typed: str, status: int, said: str
) -> None:
    job_id = client.submit(input=[1, 2])
    worker.fail(job_id, "adding", "too red")
    assert "It is not kept" in page(client, f"/jobs/{job_id}")
    answer = confirm(client, f"/jobs/{job_id}", f"/jobs/{job_id}/retry", input=typed)
    assert answer.status_code == status
    assert said in text_of(answer)
    assert f"{html.escape(typed)}</textarea>".replace("&quot;", "&#34;") in answer.text


def test_a_deployment_shows_how_much_the_journal_keeps(client: Client, adding: View) -> None:
    assert "It keeps" not in page(client, "/deployments/adding")
    client.deploy(journal=1)
    shown = page(client, "/deployments/adding")
    assert "Journal It keeps 100 % of the jobs for 30 days: 0 jobs" in shown
    assert "queuecast journal export adding" in shown


def test_the_queued_jobs_of_a_deployment_are_cancelled_after_a_question(client: Client, adding: View) -> None:
    ids = [client.submit() for _ in range(3)]
    assert "Cancel queued jobs" in page(client, "/deployments/adding")
    assert "3 jobs wait in the queue" in page(client, "/deployments/adding/cancel-queued")
    answer = confirm(client, "/deployments/adding/cancel-queued", older_than_min="5")
    assert answer.status_code == 303
    assert {client.get(f"/jobs/{job_id}").json["status"] for job_id in ids} == {"queued"}
    answer = confirm(client, "/deployments/adding/cancel-queued")
    assert answer.headers["Location"] == "/console/deployments/adding?done=emptied"
    assert {client.get(f"/jobs/{job_id}").json["status"] for job_id in ids} == {"cancelled"}
    assert "are cancelled" in page(client, "/deployments/adding?done=emptied")


def test_a_dead_letter_is_discarded_after_a_question(client: Client, adding: View, worker: StandInWorker) -> None:
    job_id = client.submit()
    worker.give_up(job_id, "adding", "gone")
    assert "Discard it for good?" in page(client, f"/dead-letters/{job_id}/discard")
    answer = confirm(client, f"/dead-letters/{job_id}/discard")
    assert answer.headers["Location"] == "/console/dead-letters?done=discard"
    assert client.get("/dead-letters").json["dead_letters"] == []


def test_what_strangers_write_is_shown_as_text(client: Client, worker: StandInWorker) -> None:
    client.register("text", input_example=EVIL, metadata={EVIL: EVIL})
    view = client.deploy("texts", "text")
    failed, lost = client.submit("texts", input=EVIL), client.submit("texts", input=EVIL)
    worker.report(view, HostsState.FAILED, error=EVIL)
    worker.fail(failed, "texts", EVIL)
    worker.give_up(lost, "texts", EVIL)
    for address in (
        "", "/deployments/texts", "/models/text", "/jobs", f"/jobs/{failed}", f"/jobs/{lost}", "/dead-letters",
        f"/dead-letters/{lost}", "/try/texts", f"/jobs?endpoint_name={EVIL}", f"?done={EVIL}", f"/login?next={EVIL}",
    ):  # fmt: skip
        answer = client.get(f"/console{address}")
        assert answer.status_code == 200, address
        assert "<script>" not in answer.text
    assert "alert('x')" in page(client, f"/jobs/{failed}")
    form = fields(client.get("/console/try/texts"))
    assert "<script>" not in client.post("/console/try/texts", data={**form, "input": f"[{EVIL}"}).text


@pytest.mark.parametrize(
    ("form", "headers"),
    [({}, {}), ({"form_mark": "0" * 64}, {}), ({"form_mark": "é"}, {}), (None, {"Origin": "null"})],
)
def test_a_form_that_was_not_made_for_this_browser_does_nothing(
    client: Client, adding: View, form: Any, headers: dict[str, str]
) -> None:
    own = fields(client.get("/console/deployments/adding/undeploy"))
    sent = {**own, "backlog": "reject", **(form or {})}
    if form == {}:
        del sent["form_mark"]
    answer = client.post("/console/deployments/adding/undeploy", data=sent, headers=headers)
    assert answer.status_code == 403, answer.text
    assert client.get("/deployments/adding").json["status"] == "deploying"


def test_the_files_are_ours_alone_and_are_asked_for_again(client: Client) -> None:
    for name in ("console.css", "console.js", "icon.svg"):
        answer = client.get(f"/console/static/{name}")
        assert answer.status_code == 200
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", answer.text)
        again = client.get(f"/console/static/{name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status_code == 304
    assert client.get("/console/static/../blueprint.py").status_code == 404
    assert client.get("/console/static/nothing.js").status_code == 404


def test_a_service_that_is_away_is_said_on_a_page(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.service.ports import free_port
    from workers.platform.redis.client import connect

    away = connect(f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setattr("workers.deployments.status.records_client", lambda: away)
    shown = page(client, "", 503)
    assert "Queue unavailable" in shown


def test_a_pipeline_is_shown_with_its_steps_and_cancelled(client: Client, adding: View, worker: StandInWorker) -> None:
    client.deploy("more")
    job_id = client.submit(input=[1, 2], then=["more"])
    first = f"{job_id}.1"
    shown = page(client, f"/jobs/{job_id}")
    assert "Pipeline from adding" in shown
    assert f"queued adding {first}" in shown
    assert "waiting more" in shown
    worker.succeed(first, "adding", [30, 40])
    assert "30" in page(client, f"/jobs/{job_id}")
    assert f"A step of the pipeline {job_id}" in page(client, f"/jobs/{first}")
    assert "no later one begins" in page(client, f"/jobs/{job_id}/cancel")
    assert confirm(client, f"/jobs/{job_id}/cancel").status_code == 303
    assert client.get(f"/jobs/{job_id}").json["status"] == "cancelled"
    assert "skipped more" in page(client, f"/jobs/{job_id}")
