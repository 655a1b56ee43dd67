"""The users of docs/redis-users.acl may run every command in the scripts."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest

from tests.support.servers.secured_redis import USERS_FILE
from tests.support.service.environment import REPOSITORY
from workers import keys
from workers.platform.lua import Lua

#: Scripts that workers run and no API.
_OF_WORKERS = {
    *("claim", "claim_again", "requeue", "finish", "delay", "release", "take_due", "mark_released", "refresh_lost"),
    *("keep_dead_letter", "keep_inputs", "keep_journal", "keep_successors", "end_unborn", "write_report"),
}


def scripts(*rooms: str) -> set[Lua]:
    """All scripts of these rooms."""
    return {
        Lua(f"workers.{room}", path.stem)
        for room in rooms
        for path in (REPOSITORY / "workers" / room.replace(".", "/") / "lua").glob("*.lua")
    }


SHARED = scripts("broker", "jobs", "measures", "platform", "queues")
SCRIPTS = {
    "queuecast-worker": {
        *scripts("endpoints", "pipelines", "engine.intake", "engine.upkeep", "journal", "successors"),
        *(Lua("workers.webhooks", name) for name in ("take", "begin", "end", "backfill")),
        *(Lua("workers.jobs", name) for name in ("accept", "withdraw", *_OF_WORKERS - {"write_report"})),
        Lua("workers.measures", "write_report"),
    },
    "queuecast-api": {
        *(each for each in SHARED if each.name not in {*_OF_WORKERS, "leases", "message_to_send"}),
        *scripts("journal", "pipelines"),
        Lua("workers.webhooks", "overdue"),
        Lua("workers.webhooks", "redeliver"),
    },
    "queuecast-program": {Lua("workers.jobs", "accept")},
}


def commands(user: str) -> set[str]:
    """Return the commands that a user may run."""
    [line] = [line for line in USERS_FILE.read_text().splitlines() if line.startswith(f"user {user} ")]
    return set(re.findall(r"\+([a-z|]+)", line))


@pytest.mark.parametrize("user", SCRIPTS)
def test_every_command_of_our_scripts_is_allowed_to_the_user_that_runs_them(user: str) -> None:
    text = "".join(each.text for each in SCRIPTS[user])
    used = {name.lower() for name in re.findall(r"(?:redis\.p?call|try_call)\('(\w+)'", text)}
    assert len(used) >= 10
    assert used <= commands(user), f"docs/redis-users.acl lacks of {user}: {sorted(used - commands(user))}"


#: What each function of `keys` names, with something in the place of its argument.
NAMES = {
    value("x", 1) if name in {"latencies", "minute"} else value("x") if callable(value) else value
    for name, value in vars(keys).items()
    if getattr(value, "__module__", None) == keys.__name__ or str(value).startswith("queuecast:")
}
CHANNELS = {value for name, value in vars(keys).items() if name.endswith("_CHANNEL")}
#: Of console and API alone, and of the engine alone.
NOT_OF_WORKERS = {
    *(keys.session("x"), keys.ticket("x"), keys.rate("x"), keys.idempotency("x"), keys.sending("x"), keys.seed("x")),
    keys.jobs_of_complete("x"),
}
NOT_OF_THE_API = {
    *(keys.LEASES, keys.LEASED, keys.HOLDERS, keys.READING, keys.TURNS, keys.HEADS, keys.MALFORMED, keys.SWEPT),
    *(keys.PACKED, keys.PAIRS, keys.version_facts("x")),
    *(keys.TAKING_JOBS_ASKED, keys.UNKNOWN_ENDPOINTS, keys.UNKNOWN_ENDPOINTS_SEEN),
}


@pytest.mark.parametrize(("user", "others"), [("queuecast-worker", NOT_OF_WORKERS), ("queuecast-api", NOT_OF_THE_API)])
def test_every_key_is_of_the_user_whose_it_is(user: str, others: set[str]) -> None:
    [line] = [line for line in USERS_FILE.read_text().splitlines() if line.startswith(f"user {user} ")]
    root = line.partition(" (")[0]
    patterns = re.findall(r"[ R]~(\S+)", root)
    mine = {name for name in NAMES - CHANNELS if any(fnmatchcase(name, each) for each in patterns)}
    assert NAMES - CHANNELS - mine == others
    assert {name for name in CHANNELS if f" &{name} " in root} == CHANNELS


def test_nobody_but_who_administers_may_do_everything() -> None:
    lines = [line for line in USERS_FILE.read_text().splitlines() if line.startswith("user ")]
    assert len(lines) == 6
    assert all("resetchannels" in line and "-@all" in line for line in lines[1:])
    assert not any("~* " in line or "+@" in line for line in lines[1:])
    # A script may name any key, as each of its commands is checked: nothing else may.
    assert all(set(re.findall(r"\(([^()]*) ~\*\)", line)) <= {"+evalsha"} for line in lines[1:])
