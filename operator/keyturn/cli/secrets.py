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

from keyturn.audit_log import LOGGER, AuditLines
from keyturn.cli.kept_keys import kept_keys
from keyturn.cli.needs import NoDatabase
from keyturn.cli.trail import about_actor, recorded
from keyturn.decide.defaults import FILE_FORMAT, FILE_PATH, PROVIDER
from keyturn.decide.select import Work, extract
from keyturn.default import Given, opened, take
from keyturn.flow.audit import audited
from keyturn.model.audit import AuditEntry
from keyturn.model.errors import KeyturnError, NotFound, ProviderError, Rejected
from keyturn.model.material import Cap, SourceRef, Value
from keyturn.model.order import Access, Entry, EnvConfig, FileConfig, FileFormat
from keyturn.model.sensitive import Sensitive
from keyturn.model.vault import VaultConfig
from keyturn.ports import Provider, Writer

WRITABLE: Final = ("database", "file", "hashicorp_vault", "aws_secrets_manager", "azure_key_vault", "google_secret_manager")

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
@click.option("--show-version", is_flag=True, help="Tell the version on standard error, as it is told on a terminal.")
def get(*, name: str, version: str, path: str, show_version: bool) -> None:
    """Print a secret of the default provider, exactly as it is.

    Which provider that is, SECRETS_PROVIDER says. A newline is added on a terminal only. Standard error tells the version,
    as `keyturn set --expect` takes it.
    """
    given = _given()
    # SQLite would make it, and a name with a slip in it would seem to be a database without secrets.
    if missing := given.databases.missing_file:
        raise NoDatabase(f"the file {missing} that DATABASE_URL names is not there; keyturn set makes one")
    with _told(f"cannot get {name} from {_default(given)}"):
        value, read = asyncio.run(_get(given, SourceRef(name, version), path))
    _print(value)
    if show_version or (read and sys.stderr and sys.stderr.isatty()):
        click.echo(f"{name} is at version {read}" if read else f"{name} has no version", err=True)


@click.command("set")
@click.argument("name", type=Name())
@click.option("--expect", default=None, help="Only if this version is the current one; '' if there must be none.")
@click.option("--allow-empty", is_flag=True, help="Take a value of no bytes, which otherwise is a mistake.")
def put(*, name: str, expect: str | None, allow_empty: bool) -> None:
    """Store a value from standard input, or from a prompt that shows nothing, at the default provider.

    Which provider that is, SECRETS_PROVIDER says. The bytes are taken as they are, a newline in the end too:
    printf %s "$VALUE" | keyturn set NAME
    """
    given = _given()
    data = _typed(name, allow_empty=allow_empty) if sys.stdin and sys.stdin.isatty() else _piped(allow_empty=allow_empty)
    with _telling_of_a_new_file(given), _told(f"cannot set {name} at {_default(given)}"):
        version = asyncio.run(_put(given, name, data, expect))
    ending = "; it ends in a newline" if data.reveal().endswith(b"\n") else ""
    click.echo(f"{name} is stored{f' as version {version}' if version else ''}{ending}", err=True)


@contextmanager
def _telling_of_a_new_file(given: Given) -> Iterator[None]:
    """Says that there was no database yet, however it ends: the file may not be the one that is meant."""
    missing = given.databases.missing_file
    try:
        yield
    finally:
        if missing and missing.is_file():
            click.echo(f"made a new database in {missing}", err=True)


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
    given.databases.keep_keys(kept_keys)
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


def _typed(name: str, *, allow_empty: bool) -> Sensitive:
    none = "" if allow_empty else None
    try:
        typed = click.prompt(f"Value of {name}", default=none, show_default=False, hide_input=True, confirmation_prompt=True, err=True)
        return Sensitive.of(typed)
    except UnicodeError:
        problem = "what was typed is not in the terminal's encoding; give the value on standard input"
    raise NoValue(problem)


def _piped(*, allow_empty: bool) -> Sensitive:
    data = sys.stdin.buffer.read(LARGEST + 1) if sys.stdin else b""
    if not data and not allow_empty:
        raise NoValue('no value came on standard input; write printf %s "$VALUE" | keyturn set NAME, or --allow-empty if it shall be empty')
    if len(data) > LARGEST:
        raise NoValue(f"the value on standard input has more than {LARGEST >> 20} MiB, and no provider takes that")
    return Sensitive(data)


async def _get(given: Given, ref: SourceRef, path: str) -> tuple[Sensitive, str]:
    """The value, and the version that it is."""
    # Versions of files have names, and are read, only by who could write them; a read of what is current writes nothing all the same.
    access = Access.READ_WRITE if isinstance(given.default.config, FileConfig) else Access.READ_ONLY
    entry = _entry(given, "secret.read", ref.key, version=ref.version)
    async with opened(given, access) as provider, recorded(given) as log, audited(log, entry) as result:
        answer = await _answer(provider, ref)
        if isinstance(answer, NotFound):
            raise _missing(given, ref, answer)
        if isinstance(answer, ProviderError):
            raise answer
        result.details = _versioned(answer.version)
        try:
            return extract(answer, Entry(ref.key, None, ref, property=path, field=ref.key), Work()), answer.version
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
    elif _is_document(given):
        remedy = f"add it to that file, or set {PROVIDER} to where the secret is"
    else:
        remedy = f"store it with keyturn set {ref.key}, or set {PROVIDER} to where the secret is"
    return SecretMissing(f"there is no {ref} at {_default(given)}: {answer}; {remedy}")


def _is_document(given: Given) -> bool:
    config = given.default.config
    return isinstance(config, FileConfig) and config.format is not FileFormat.DIRECTORY


def _otherwise(given: Given) -> str:
    """What takes values instead of a default provider that does not."""
    config, others = given.default.config, [word for word in WRITABLE if word != given.default.word]
    here = ""
    if _is_document(given):
        here = f" of a document; set {FILE_FORMAT} to {FileFormat.DIRECTORY} and {FILE_PATH} to a folder, or"
    elif isinstance(config, VaultConfig):
        here = " of version 1 of the engine; use version 2, or"
    return f"{here or ';'} set {PROVIDER} to one of {', '.join(others)}"


def _default(given: Given) -> str:
    return f"the default provider ({PROVIDER}={given.default.word})"


async def _put(given: Given, name: str, data: Sensitive, expect: str | None) -> str:
    async with opened(given, Access.READ_WRITE) as provider:
        if not isinstance(provider, Writer) or Cap.PUT not in provider.caps:
            raise ProviderReadOnly(f"{_default(given)} only gives values{_otherwise(given)}")
        if expect is not None and Cap.CAS not in provider.caps:
            raise ProviderReadOnly(f"{_default(given)} cannot write on a condition (it has no check-and-set); leave --expect out")
        expected = "" if expect is None else expect or "none"
        async with recorded(given) as log, audited(log, _entry(given, "secret.write", name, expect=expected)) as result:
            made = await provider.put(name, data, token=secrets.token_hex(24), expect=expect)
            result.details = _versioned(made)
            return made


def _versioned(version: str) -> dict[str, str]:
    return {"version": version} if version else {}


def _entry(given: Given, action: str, name: str, **details: str) -> AuditEntry:
    told = {key: text for key, text in {**about_actor(), **details}.items() if text}
    return AuditEntry(action, f"user {os.getuid()}", f"default {given.default.word}", "cli", (name,), told)
