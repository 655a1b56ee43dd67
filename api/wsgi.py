"""The app for a WSGI server: `api.wsgi:create_app()`, made in each server process."""

from __future__ import annotations

from flask import Flask

from api import app
from workers.platform.redis.start_check import refuse_wrong_redis


def create_app() -> Flask:
    """Make the app.

    Raises:
        SettingsWrong: an environment variable has a value that can't be used, or its Redis can't.
    """
    refuse_wrong_redis()
    return app.create_app()
