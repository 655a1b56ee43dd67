"""Tags: short texts that a model or a version carries, and that can be changed, unlike a version itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete as delete_from
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from registry import names, versions
from registry.database.tables import ModelRow, TagRow
from registry.errors import TagsInvalid

#: The most tags of one model, or of one version.
MAX_TAGS = 100
MAX_VALUE_LENGTH = 1_000
#: What stands in place of a version in the tags of a model itself.
MODEL = ""

Tags = dict[str, str]


def change(session: Session, model_name: str, changes: Mapping[str, str | None], *, version: str | None = None) -> Tags:
    """Set tags of a version, or of a model; None removes one. Return all its tags.

    Raises:
        ModelNotFound, VersionNotFound: there is none.
        NameInvalid: a tag can't have this name.
        TagsInvalid: a value is too long, or there would be too many tags.
    """
    _check(changes)
    if version is None:
        versions.get_model(session, model_name)
        _hold(session, model_name)
    else:
        versions.hold(session, model_name, version)
    named = version or MODEL
    mine = (TagRow.model_name == model_name, TagRow.version == named)
    session.execute(delete_from(TagRow).where(*mine, TagRow.name.in_(list(changes))))
    session.add_all(
        TagRow(model_name=model_name, version=named, name=name, value=value)
        for name, value in changes.items()
        if value is not None
    )
    session.flush()
    if (session.scalar(select(func.count()).select_from(TagRow).where(*mine)) or 0) > MAX_TAGS:
        raise TagsInvalid(f"There would be more than {MAX_TAGS} tags.")
    return of_models(session, [model_name]).get((model_name, named), {})


def of_models(session: Session, model_names: Sequence[str]) -> dict[tuple[str, str], Tags]:
    """Return the tags of these models and of their versions, by model and version (`MODEL`: of the model itself)."""
    query = select(TagRow).where(TagRow.model_name.in_(model_names)).order_by(TagRow.model_name, TagRow.name)
    found: dict[tuple[str, str], Tags] = {}
    for row in session.scalars(query.execution_options(populate_existing=True)):
        found.setdefault((row.model_name, row.version), {})[row.name] = row.value
    return found


def _hold(session: Session, model_name: str) -> None:
    """Lock a model until the caller commits, so that changes of its tags come one after the other."""
    # An update that changes nothing is the lock that both databases know.
    session.execute(
        update(ModelRow)
        .where(ModelRow.name == model_name)
        .values(last_number=ModelRow.last_number)
        .execution_options(synchronize_session=False)
    )


def _check(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        names.check_tag_name(name)
        if value is not None and len(value) > MAX_VALUE_LENGTH:
            raise TagsInvalid(f"The value of tag {name!r} is longer than {MAX_VALUE_LENGTH} characters.")
