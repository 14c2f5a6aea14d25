"""``keyturn get`` and ``keyturn set``: one secret of the default provider, read or written. Values are in no argument and no message."""

import asyncio
import logging
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from keyturn.audit_log import LOGGER, AuditLines, LogAudit
from keyturn.decide.defaults import PROVIDER
from keyturn.decide.select import Work, extract
from keyturn.default import Given, opened, take
from keyturn.flow.audit import audited
from keyturn.model.audit import AuditEntry
from keyturn.model.errors import KeyturnError, NotFound, ProviderError, Rejected
from keyturn.model.material import Cap, SourceRef, Value
from keyturn.model.order import Access, Entry, EnvConfig
from keyturn.model.sensitive import Sensitive
from keyturn.ports import Provider, Writer

WRITABLE: Final = ("database", "file", "hashicorp_vault")

LARGEST: Final = 4 << 20
"""Bytes that are read from standard input; what a provider takes of them it says itself."""


class SecretMissing(KeyturnError):
    """There is no such secret at the default provider."""

    reason = "SourceNotFound"


class ProviderReadOnly(KeyturnError):
    """The default provider takes no values; the message names those that do."""


class NoValue(KeyturnError):
    """Nothing came on standard input, or too much."""


class CallFailed(KeyturnError):
    """The default provider did not do it; the message says why."""

    reason = "ProviderUnavailable"


class Name(click.ParamType[str]):
    """What a secret is called at the provider."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not text.strip() or not text.isprintable():
            self.fail("is empty, or has signs that cannot be printed", param, ctx)
        return text


@click.command()
@click.argument("name", type=Name())
@click.option("--version", default="", help="This version or stage, where the provider has them.")
@click.option("--property", "path", default="", help="This member of a JSON value, as a dotted path.")
def get(name: str, version: str, path: str) -> None:
    """Print a secret of the default provider, exactly as it is.

    Which provider that is, SECRETS_PROVIDER says. A newline is added on a terminal only.
    """
    given = _given()
    with _told(f"cannot get {name} from {_default(given)}"):
        value = asyncio.run(_get(given, SourceRef(name, version), path))
    _print(value)


@click.command("set")
@click.argument("name", type=Name())
@click.option("--expect", default=None, help="Only if this version is the current one; '' if there must be none.")
def put(name: str, expect: str | None) -> None:
    """Store a value from standard input, or from a prompt that shows nothing, at the default provider.

    Which provider that is, SECRETS_PROVIDER says. The bytes are taken as they are, a newline in the end too:
    printf %s "$VALUE" | keyturn set NAME
    """
    given = _given()
    data = _typed(name) if sys.stdin and sys.stdin.isatty() else _piped()
    with _told(f"cannot set {name} at {_default(given)}"):
        version = asyncio.run(_put(given, name, data, expect))
    ending = "; it ends in a newline" if data.reveal().endswith(b"\n") else ""
    click.echo(f"{name} is stored{f' as version {version}' if version else ''}{ending}", err=True)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Says of a provider's error what it was that failed."""
    problem = ""
    try:
        yield
    except ProviderError as error:
        problem = f"{what}: {error}"
    if problem:
        raise CallFailed(problem)


def _given() -> Given:
    given = take(os.environ)
    logger = logging.getLogger(LOGGER)
    # Whoever sits at a terminal knows what they do; everywhere else the lines go where errors go.
    if sys.stderr and not sys.stderr.isatty() and not logger.handlers:
        lines = logging.StreamHandler(sys.stderr)
        lines.setFormatter(AuditLines())
        logger.addHandler(lines)
        logger.propagate = False
    logger.setLevel(logging.INFO)
    return given


def _print(value: Sensitive) -> None:
    problem = "standard output is closed"
    if sys.stdout:
        try:
            sys.stdout.buffer.write(value.reveal() + (b"\n" if sys.stdout.isatty() else b""))
            sys.stdout.buffer.flush()
        except OSError as error:
            problem = f"standard output takes no value: {os.strerror(error.errno or 0)}"
        else:
            return
    raise CallFailed(problem)


def _typed(name: str) -> Sensitive:
    try:
        return Sensitive.of(click.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True, err=True))
    except UnicodeError:
        problem = "what was typed is not in the terminal's encoding; give the value on standard input"
    raise NoValue(problem)


def _piped() -> Sensitive:
    data = sys.stdin.buffer.read(LARGEST + 1) if sys.stdin else b""
    if not data:
        raise NoValue('no value came on standard input; write printf %s "$VALUE" | keyturn set NAME')
    if len(data) > LARGEST:
        raise NoValue(f"the value on standard input has more than {LARGEST >> 20} MiB, and no provider takes that")
    return Sensitive(data)


async def _get(given: Given, ref: SourceRef, path: str) -> Sensitive:
    async with opened(given) as provider, audited(LogAudit(), _entry(given, "secret.read", ref.key, version=ref.version)):
        answer = await _answer(provider, ref)
        if isinstance(answer, NotFound):
            raise _missing(given, ref, answer)
        if isinstance(answer, ProviderError):
            raise answer
        try:
            return extract(answer, Entry(ref.key, None, ref, property=path, field=ref.key), Work())
        except Rejected:
            problem = f"--property {path!r} is no path; part members with dots"
        raise Rejected(problem)


async def _answer(provider: Provider, ref: SourceRef) -> Value | ProviderError:
    return (await provider.get_many([ref]))[ref]


def _missing(given: Given, ref: SourceRef, answer: NotFound) -> SecretMissing:
    if isinstance(given.default.config, EnvConfig):
        remedy = f"set that variable, or {PROVIDER} to where the secret is"
    elif ref.version:
        remedy = "name another version, or none for the current one"
    else:
        remedy = f"store it with keyturn set {ref.key}, or set {PROVIDER} to where the secret is"
    return SecretMissing(f"there is no {ref} at {_default(given)}: {answer}; {remedy}")


def _default(given: Given) -> str:
    return f"the default provider ({PROVIDER}={given.default.word})"


async def _put(given: Given, name: str, data: Sensitive, expect: str | None) -> str:
    async with opened(given, Access.READ_WRITE) as provider:
        if not isinstance(provider, Writer) or Cap.PUT not in provider.caps:
            raise ProviderReadOnly(f"{_default(given)} only gives values; set {PROVIDER} to one of {', '.join(WRITABLE)}")
        if expect is not None and Cap.CAS not in provider.caps:
            raise ProviderReadOnly(f"{_default(given)} has no versions to compare; leave --expect out")
        expected = "" if expect is None else expect or "none"
        async with audited(LogAudit(), _entry(given, "secret.write", name, expect=expected)):
            return await provider.put(name, data, token=secrets.token_hex(24), expect=expect)


def _entry(given: Given, action: str, name: str, **details: str) -> AuditEntry:
    told = {key: text for key, text in details.items() if text}
    return AuditEntry(action, f"user {os.getuid()}", f"default {given.default.word}", "cli", (name,), told)
