"""Aliases and tags over HTTP: shows and moves aliases, with the endpoints that follow them; changes tags."""
