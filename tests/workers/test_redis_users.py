"""The users of docs/redis-users.acl may run every command that stands in our scripts."""

from __future__ import annotations

import re

import pytest

from tests.support.environment import REPOSITORY
from tests.support.secured_redis import USERS_FILE

#: Scripts of the engine are the worker's; the others are the API's, and some of them the worker's too.
SCRIPTS = {
    "queuecast-worker": [
        *(REPOSITORY / "workers" / "engine").glob("*.py"),
        REPOSITORY / "workers" / "webhooks" / "outbox.py",
        REPOSITORY / "workers" / "webhooks" / "attempts.py",
        REPOSITORY / "workers" / "webhooks" / "unnoted.py",
        REPOSITORY / "workers" / "records.py",
    ],
    "queuecast-api": [
        *[path for path in (REPOSITORY / "workers").glob("*.py") if path.name != "reports.py"],
        REPOSITORY / "workers" / "webhooks" / "outbox.py",
        REPOSITORY / "workers" / "webhooks" / "deliveries.py",
    ],
    "queuecast-program": [REPOSITORY / "workers" / "submission.py"],
}


def commands(user: str) -> set[str]:
    """What the file allows a user."""
    [line] = [line for line in USERS_FILE.read_text().splitlines() if line.startswith(f"user {user} ")]
    return set(re.findall(r"\+([a-z|]+)", line))


@pytest.mark.parametrize("user", SCRIPTS)
def test_every_command_of_our_scripts_is_allowed_to_the_user_that_runs_them(user: str) -> None:
    text = "".join(path.read_text() for path in SCRIPTS[user])
    used = {name.lower() for name in re.findall(r"redis\.call\('(\w+)'", text)}
    assert len(used) >= 10
    assert used <= commands(user), f"docs/redis-users.acl lacks of {user}: {sorted(used - commands(user))}"


def test_nobody_but_who_administers_may_do_everything() -> None:
    lines = [line for line in USERS_FILE.read_text().splitlines() if line.startswith("user ")]
    assert len(lines) == 6
    assert all("resetchannels" in line and "-@all" in line and "~* " not in line for line in lines[1:])
