"""The file provider's documents: text in, one text for each top-level member out.

JSON and YAML members that hold others become compact JSON, so that ``property`` can go deeper.
Two members of one name are an error, never a silent winner. Errors say what and in which line,
never a word of the text. Opens nothing.
"""

import re
from collections.abc import Mapping

from keyturn.decide import jsontext
from keyturn.model.errors import Invalid
from keyturn.model.order import FileFormat
from keyturn.model.sensitive import Sensitive

_SURROGATE = re.compile("[\ud800-\udfff]")

_END = r"[ \t]*(?:\n|\Z)"
_COMMENT = r"[ \t]+#[^\n]*(?:\n|\Z)"
_NOTHING = re.compile(rf"(?:[ \t]*#[^\n]*(?:\n|\Z)|{_END})")
_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=")
_QUOTED = re.compile(r"""[ \t]*+(?:'([^']*+)'|"([^"\\]*+(?:\\.[^"\\]*+)*+)")""", re.DOTALL)
_QUOTE = re.compile(r"""[ \t]*['"]""")
_AFTER_QUOTE = re.compile(f"(?:{_COMMENT}|{_END})")
_BARE = re.compile(r"[^\n]*+\n?")
_BARE_COMMENT = re.compile(r"[ \t]#")
_ESCAPE = re.compile(r'\\([nrt"\\$])')
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def parse(document: bytes, file_format: FileFormat) -> Mapping[str, Sensitive]:
    """Reads a document; raises `Invalid`.

    An empty one is invalid too: more likely it is about to be written than meant to hold nothing,
    and "nothing" could delete Secrets.
    """
    try:
        text = document.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise Invalid("the file is no UTF-8 text")
    if not text.strip():
        raise Invalid("the file is empty")
    members = _members(text, file_format)
    if any(_SURROGATE.search(member) for member in members.values()):
        raise Invalid("a member holds half a character (a lone surrogate)")
    return {name: Sensitive.of(member) for name, member in members.items()}


def _members(text: str, file_format: FileFormat) -> Mapping[str, str]:
    match file_format:
        case FileFormat.JSON:
            return parse_json(text)
        case FileFormat.YAML:
            from keyturn.providers.file_yaml import parse_yaml  # the parser's weight only for who uses it

            return parse_yaml(text)
        case FileFormat.DOTENV:
            return parse_dotenv(text)
        case FileFormat.DIRECTORY:
            raise AssertionError("a folder is no document")


def parse_json(text: str) -> Mapping[str, str]:
    """The members of a JSON object: a string's own text, the JSON of anything else."""
    document = jsontext.parse(text)
    if not isinstance(document, dict):
        raise Invalid("the JSON is no object, so it has no keys")
    return {name: jsontext.text_of(member) for name, member in document.items()}


def parse_dotenv(text: str) -> Mapping[str, str]:
    r"""``NAME=value`` lines, with comments and ``export``. A dollar sign means itself.

    'single quotes' take all as it is, "double quotes" know ``\n \r \t \" \\ \$``, and both may span lines.
    A bare value ends before white space and ``#``.
    """
    text = text.replace("\r\n", "\n")
    members: dict[str, str] = {}
    at = 0
    while at < len(text):
        if nothing := _NOTHING.match(text, at):
            at = nothing.end()
            continue
        assignment = _ASSIGNMENT.match(text, at)
        if assignment is None:
            raise _in_line("no NAME=value", text, at)
        if assignment[1] in members:
            raise _in_line("a name that was there before", text, at)
        members[assignment[1]], at = _dotenv_value(text, assignment.end())
    if not members:
        raise Invalid("the file holds comments only")
    return members


def _dotenv_value(text: str, at: int) -> tuple[str, int]:
    """The value that starts here, and where the next line starts."""
    if quoted := _QUOTED.match(text, at):
        end = _AFTER_QUOTE.match(text, quoted.end())
        if end is None:
            raise _in_line("text after a closing quote", text, quoted.end())
        literal, escaped = quoted.groups()
        return literal if escaped is None else _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), escaped), end.end()
    if _QUOTE.match(text, at):
        raise _in_line("a quote without end", text, at)
    bare = _BARE.match(text, at)
    assert bare is not None, "matches anything"
    return _BARE_COMMENT.split(bare[0], maxsplit=1)[0].strip(" \t\r\n"), bare.end()


def _in_line(problem: str, text: str, at: int) -> Invalid:
    return Invalid(f"{problem} (line {text.count(chr(10), 0, at) + 1})")
