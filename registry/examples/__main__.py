"""`python -m registry.examples`: register the example models, and deploy two of them if asked."""

from __future__ import annotations

import argparse
import sys

from sqlalchemy.orm import Session

from registry import deployments, examples, history, versions
from registry.database import default_database
from registry.errors import RegistryError
from registry.registration import register

#: The endpoints of the first calls in the README.
DEPLOYED = ("binary_classifier", "quadratic_predictor")


def register_all(session: Session, *, deploy: bool = False) -> list[str]:
    """Register a version of every example, and deploy `DEPLOYED`; return a line about each; the caller commits."""
    lines = []
    # Built before the first write, which blocks other writers until the commit.
    for example in [examples.build(name) for name in examples.NAMES]:
        version = register(
            session,
            example.name,
            example.model,
            input_example=example.input_example,
            runtime=example.runtime,
            runtime_options=example.runtime_options,
            metadata=example.metadata,
        )
        lines.append(f"Registered {version.model_name}, version {version.version}.")
        if deploy and example.name in DEPLOYED:
            deployment = deployments.deploy(
                session,
                version.model_name,
                version=version.version,
                # All of it, so that a second version can be judged on the jobs of the first.
                settings={"journal": 1.0},
                actor=history.COMMAND_LINE,
            )
            lines.append(f"Deployed it as {deployment.endpoint_name}.")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m registry.examples", description="Register the example models.")
    parser.add_argument("--if-empty", action="store_true", help="do nothing if any model is registered")
    parser.add_argument("--deploy", action="store_true", help=f"also deploy {' and '.join(DEPLOYED)}")
    chosen = parser.parse_args(arguments)
    try:
        with default_database().session() as session:
            if chosen.if_empty and versions.list_models(session):
                print("The registry has models already; nothing to do.")  # noqa: T201 - a command's output
                return 0
            lines = register_all(session, deploy=chosen.deploy)
            session.commit()
    except RegistryError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    print("\n".join(lines))  # noqa: T201 - a command's output
    return 0


if __name__ == "__main__":
    sys.exit(main())
