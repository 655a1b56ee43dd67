"""Decides how many hosts the endpoints of a worker have: none while they are idle, more while jobs wait."""
