"""What somebody asks the audit trail, as SQL."""

import json

from sqlalchemy import ColumnElement, or_, select

from keyturn.decide.auditrow import moment
from keyturn.model.audit import OPEN, Question
from keyturn.store.audit_tables import log


def wanted(question: Question) -> list[ColumnElement[bool]]:
    """What has to hold for a row that is asked for."""
    found = ((log.c.actor, question.actor), (log.c.action, question.action), (log.c.attempt, question.attempt))
    where = [column == text for column, text in found if text]
    if question.object:
        where.append(or_(*_named(question.object)))
    if question.namespace:
        where.append(or_(*(column.contains(f"/{question.namespace}/", autoescape=True) for column in (log.c.subject, log.c.target))))
    if question.key:
        where.append(_about(question.key))
    if question.since:
        where.append(log.c.at >= moment(question.since))
    if question.until:
        where.append(log.c.at < moment(question.until))
    return where + _ended(question)


def _named(name: str) -> list[ColumnElement[bool]]:
    """By its whole name, or by namespace and name alone."""
    told = [log.c.subject == name, log.c.target == name]
    if name.count("/") <= 1:
        told += [column.endswith(f"/{name}", autoescape=True) for column in (log.c.subject, log.c.target)]
    return told


def _about(key: str) -> ColumnElement[bool]:
    """What a pass found to have moved is told by its settlement alone."""
    later, name = log.alias(), json.dumps(key, ensure_ascii=False)
    ended = select(later.c.seq).where(later.c.settles == log.c.event, later.c["keys"].contains(name, autoescape=True))
    return or_(log.c["keys"].contains(name, autoescape=True), ended.exists())


def _ended(question: Question) -> list[ColumnElement[bool]]:
    if question.outcome == OPEN:
        later = log.alias()
        return [log.c.outcome == "", ~select(later.c.seq).where(later.c.settles == log.c.event).exists()]
    where = [log.c.outcome == question.outcome] if question.outcome else []
    where += [log.c.reason == question.reason] if question.reason else []
    return where or ([] if question.every_row else [log.c.settles == ""])
