"""Ranks the workers of a group for one endpoint, in the same order in every process.

Rendezvous hashing, or highest random weight: D. G. Thaler and C. V. Ravishankar, "Using name-based mappings to increase
hit rates", IEEE/ACM Transactions on Networking 6 (1), 1998. Each pair of endpoint and worker has a weight of its own,
so a worker that comes or goes changes the order of no others, and each is first for about as many endpoints.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b


def ranked(endpoint_name: str, worker_names: Iterable[str]) -> list[str]:
    """Return the names of workers, the first that should serve the endpoint first."""
    return sorted(worker_names, key=lambda name: (_weight(endpoint_name, name), name), reverse=True)


def ranked_before(endpoint_name: str, worker_name: str, others: Iterable[str]) -> list[str]:
    """Return those of the other workers that are ranked before this one, the first first."""
    ranks = ranked(endpoint_name, {worker_name, *others})
    return ranks[: ranks.index(worker_name)]


def _weight(endpoint_name: str, worker_name: str) -> bytes:
    # Neither name contains the byte between them.
    return blake2b(f"{endpoint_name}\0{worker_name}".encode(errors="replace"), digest_size=8).digest()
