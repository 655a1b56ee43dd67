"""Makes wheel and sdist of this project: one package `queuecast` with the packages of a clone inside of it.

The one part of the repository that is not installed. It needs setuptools and nothing of the packages themselves.
"""
