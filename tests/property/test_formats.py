"""The file provider's parsers: total, faithful, and silent about what they read."""

import json
import string

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from contract.files import all_that_hangs_on
from keyturn.decide import jsontext, paths
from keyturn.model.errors import Invalid, Rejected
from keyturn.model.order import FileFormat
from keyturn.providers.file_formats import parse

JSON, YAML, DOTENV = FileFormat.JSON, FileFormat.YAML, FileFormat.DOTENV
DOCUMENTS = [JSON, YAML, DOTENV]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
names = st.text(string.ascii_letters + "_", min_size=1)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=20)
# Text near the formats' own marks finds more than any text does.
near_texts = st.lists(st.sampled_from([*"{}[]:,\"'\\#&*!|>-?%@`$= \t\n\r\0ax0", "- ", ": ", "<<", "---\n", "null", "\ufeff", "\x85"])).map(
    "".join
)


def read(document: str, file_format: FileFormat) -> dict[str, str]:
    return {name: member.reveal().decode() for name, member in parse(document.encode(), file_format).items()}


@pytest.mark.parametrize("file_format", DOCUMENTS)
@given(document=st.binary() | near_texts.map(str.encode) | texts.map(str.encode) | trees.map(json.dumps).map(str.encode))
def test_any_bytes_are_read_or_invalid(file_format: FileFormat, document: bytes):
    try:
        members = parse(document, file_format)
    except Invalid:
        return
    assert all(isinstance(name, str) for name in members)


MARK = "kt-canary-format"


@pytest.mark.parametrize("file_format", DOCUMENTS)
@given(before=near_texts, after=near_texts)
def test_no_error_repeats_a_piece_of_the_document(file_format: FileFormat, before: str, after: str):
    problem: Invalid | None = None
    try:
        parse(f"{before}{MARK}{after}".encode(), file_format)
    except Invalid as error:
        problem = error
    assert MARK not in all_that_hangs_on(problem)


@given(st.dictionaries(texts, trees, max_size=5))
def test_json_members_come_back_as_their_text_or_their_json(members: dict[str, object]):
    found = read(json.dumps(members), JSON)
    assert set(found) == set(members)
    for name, member in members.items():
        assert found[name] == member if isinstance(member, str) else json.loads(found[name]) == member


@given(trees)
def test_json_is_written_as_it_was_read(tree: object):
    compact = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
    assert jsontext.write(jsontext.parse(json.dumps(tree, indent=1))) == compact


@given(st.from_regex(r"\A-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,5})?\Z"))
def test_json_numbers_keep_every_digit(number: str):
    assert read(f'{{"n": {number}, "in": [{number}]}}', JSON) == {"n": number, "in": f"[{number}]"}


@given(st.dictionaries(names, texts, min_size=1, max_size=5), st.sampled_from(["'", '"', "|"]))
def test_yaml_strings_come_back_as_they_were_written(members: dict[str, str], style: str):
    members = {name: "".join(char for char in text if char.isprintable() or char == "\n") for name, text in members.items()}
    assert read(yaml.safe_dump(members, default_style=style, allow_unicode=True).replace("!!str ", ""), YAML) == members


@given(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.+:/-]{0,20}[A-Za-z0-9]\Z"))
def test_yaml_plain_scalars_keep_their_text_whatever_they_look_like(scalar: str):
    assert read(f"key: {scalar}\nlist: [{scalar}]\n", YAML) == {"key": scalar, "list": f'["{scalar}"]'}


@pytest.mark.parametrize(
    "scalar", ["no", "Yes", "on", "0123", "0x1F", "1.10", "1e3", "~", "null", "2026-01-01", "12:30:45", ".inf", "1_000", "="]
)
def test_yaml_makes_nothing_of_what_looks_like_something(scalar: str):
    assert read(f"key: {scalar}", YAML) == {"key": scalar}


def quoted(text: str) -> str:
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("$", "\\$")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


@given(st.dictionaries(names, texts, min_size=1, max_size=5))
def test_dotenv_values_in_double_quotes_come_back(members: dict[str, str]):
    assert read("".join(f"{name}={quoted(text)}\n" for name, text in members.items()), DOTENV) == members


@given(st.dictionaries(names, texts.map(lambda text: text.replace("'", "").replace("\r", "")), min_size=1, max_size=5))
def test_dotenv_values_in_single_quotes_are_taken_as_they_are(members: dict[str, str]):
    assert read("# comment\n" + "".join(f"export {name} = '{text}' # comment\n" for name, text in members.items()), DOTENV) == members


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("a=x", "x"), ("a = x y ", "x y"), ("a=", ""), ("a= # c", ""), ("a=#x", "#x"), ("a=x#y", "x#y"), ("a=x #y", "x"),
        ("a=$HOME", "$HOME"),
        ("a=${HOME}", "${HOME}"), ('a="$HOME"', "$HOME"), ("a='x'", "x"), ("a='x\ny'", "x\ny"), (r'a="x\ny"', "x\ny"), (r"a=x\ny", r"x\ny"),
        (r'a="\q"', r"\q"), ("a=x=y", "x=y"), ("\texport a=x", "x"), ("a=x'y", "x'y"), ("a=x\r\n", "x"), ("a=\xa0x", "\xa0x"),
    ],
)  # fmt: skip
def test_dotenv_lines_mean_what_the_documentation_says(line: str, value: str):
    assert read(line, DOTENV) == {"a": value}


@pytest.mark.parametrize(
    ("document", "file_format", "problem"),
    [
        ("a=1\na=2", DOTENV, "was there before (line 2)"),
        ("a=1\nb", DOTENV, "no NAME=value (line 2)"),
        ("a='x", DOTENV, "a quote without end (line 1)"),
        ("a='x'y", DOTENV, "text after a closing quote (line 1)"),
        ("a='x'#y", DOTENV, "text after a closing quote (line 1)"),
        ("# only", DOTENV, "comments only"),
        ("a: 1\na: 2", YAML, "was there before (line 2)"),
        ("x:\n  a: 1\n  a: 2", YAML, "was there before (line 3)"),
        ("a: !!python/object/apply:os.system [x]", YAML, "a tag"),
        ("a: !!str 1", YAML, "a tag"),
        ("a: &x [*x]", YAML, "an alias without its anchor"),
        ("a: &x {k: v}\nb:\n  <<: *x", YAML, "a merge key (<<)"),
        ("[a]: b", YAML, "a key that is no scalar"),
        ("a: 1\n---\nb: 2", YAML, "more than one YAML document"),
        ("- a", YAML, "no mapping"),
        ("# only", YAML, "comments only"),
        ("a: [", YAML, "no YAML (line"),
        ("a: \x01", YAML, "does not allow"),
        ("[1]", JSON, "no object"),
        ('{"a": 1, "a": 2}', JSON, "two members of one name"),
        ('{"a": NaN}', JSON, "NaN"),
        ('{"a": "\\ud800"}', JSON, "half a character"),
        ("{'a': 1}", JSON, "no JSON (line 1)"),
        ('{"a": 1,}', JSON, "no JSON (line 1)"),
    ],
)
def test_what_a_document_may_not_hold_is_named(document: str, file_format: FileFormat, problem: str):
    with pytest.raises(Invalid) as caught:
        parse(document.encode(), file_format)
    assert problem in str(caught.value)


def test_yaml_anchors_repeat_a_value_and_quoted_merge_keys_are_names():
    assert read('a: &x {k: v}\nb: *x\nc: &y text\nd: *y\n"<<": x', YAML) == {
        "a": '{"k":"v"}',
        "b": '{"k":"v"}',
        "c": "text",
        "d": "text",
        "<<": "x",
    }


LAUGHS = "a0: &a0 [" + ",".join(["lol"] * 10) + "]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("document", "file_format"),
    [
        pytest.param(LAUGHS, YAML, id="a billion laughs"),
        pytest.param("a: &a " + "x" * 500_000 + "\n" + "".join(f"k{n}: *a\n" for n in range(50_000)), YAML, id="one long text many times"),
        pytest.param("a: " + "[" * 900_000, YAML, id="deep YAML lists"),
        pytest.param("a: " + "{" * 900_000, YAML, id="deep YAML mappings"),
        pytest.param("a:\n" + "- " * 400_000, YAML, id="deep YAML blocks"),
        pytest.param("? " * 400_000, YAML, id="deep YAML keys"),
        pytest.param('{"a":' + "[" * 900_000, JSON, id="deep JSON lists"),
        pytest.param('{"a":' * 200_000, JSON, id="deep JSON objects"),
        pytest.param("[" * 200 + '"' + '\\"' * 400_000, JSON, id="a JSON string without end"),
        pytest.param("a='" + "x\n" * 400_000, DOTENV, id="a quote without end"),
        pytest.param('a="' + "\\" * 900_001, DOTENV, id="backslashes without end"),
        pytest.param(" " * 900_000 + "x", DOTENV, id="white space"),
        pytest.param("a=" + " " * 900_000 + "'x", DOTENV, id="white space before a quote"),
    ],
)
def test_a_bomb_is_invalid_and_soon(document: str, file_format: FileFormat):
    with pytest.raises(Invalid):
        parse(document.encode(), file_format)


@given(texts)
def test_any_path_is_cut_or_rejected_and_names_can_be_escaped(text: str):
    try:
        paths.split(text)
    except Rejected:
        assert text.endswith("\\")
    assert paths.split(text.replace("\\", "\\\\").replace(".", "\\.")) == (text,)
