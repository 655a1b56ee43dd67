"""The app for a WSGI server: `api.wsgi:create_app()`, made in each server process."""

from __future__ import annotations

from api.app import create_app

__all__ = ["create_app"]
