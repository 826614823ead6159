"""Every way in which a file of JSON lines can be wrong is one line that names the file and the line, and nothing hangs or fills the memory."""

import json
import os
from pathlib import Path

import pytest

from t1mini.tasks import countdown
from t1mini.runs import jsonl
from t1mini.runs.settings import UserError
from t1mini.runs.jsonl import excerpt, read_bytes, read_object, read_rows

GOOD = b'{"a": 1}\n'


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.jsonl"


def refusal(path) -> str:
    with pytest.raises(UserError) as error:
        list(read_rows(path))
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


def test_rows_come_with_their_line_numbers_and_blank_lines_are_passed_over(path):
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n \t\n{"a": "\xc3\xa9\\u00e9 \\ud83d\\ude00"}\n\n{"a": null}')
    assert list(read_rows(path)) == [(1, {"a": 1}), (4, {"a": "éé \U0001f600"}), (6, {"a": None})]
    path.write_bytes(b"")
    assert list(read_rows(path)) == []


@pytest.mark.parametrize("line, message", [
    (b'{"a": "\xff"}', "not UTF-8: invalid start byte at byte 8"),
    (b"{not json}", "not JSON: Expecting property name enclosed in double quotes: column 2"),
    (b'{"a": 1} {"a": 2}', "not JSON: Extra data"),
    (b'{"a": NaN}', "NaN is not JSON"),
    (b'{"a": -Infinity}', "-Infinity is not JSON"),
    (b'{"a": 1e999}', "the number 1e999 is too large"),
    (b'{"a": ' + b"1" * 5000 + b"}", "a number of 5000 digits"),
    (b'{"a": 0.' + b"1" * 5000 + b"}", "the number 0.111111111111111111 is too large or too long"),
    (b'{"a":' * 100_000, "nested beyond reason"),
    (b"[" * 100_000, "nested beyond reason"),
    (b"[1, 2]", "expected an object in braces"),
    (b"7", "expected an object in braces"),
    (b'{"a": "\\ud800"}', "a text has half of a surrogate pair"),
    (b'{"\\uDFFF": 1}', "a text has half of a surrogate pair"),
    (b'{"a": "\0"}', "not JSON: Invalid control character"),
    (b"\0\0\0\0", "not JSON"),
], ids=lambda x: str(x)[:30])
def test_a_broken_line_is_named_with_what_is_wrong(path, line, message):
    path.write_bytes(GOOD + line + b"\n" + GOOD)
    assert f"{path}, line 2: {message}" in refusal(path)


@pytest.mark.parametrize("end", [b'{"a": "tw', b'{"a": 1', b'{"a": "\xc3', b"{"])
def test_a_file_that_is_cut_off_says_so(path, end):
    path.write_bytes(GOOD + end)
    assert f"{path}, line 2: the file is cut off here" in refusal(path)


def test_a_line_without_end_is_refused_before_it_is_held(path, monkeypatch):
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 2**20)
    path.write_bytes(GOOD + b'{"a": "' + b"x" * (2**20 - 10) + b'"}')  # the longest there may be
    assert [i for i, _ in read_rows(path)] == [1, 2]
    with path.open("ab") as file:
        file.truncate(2**33)  # 8 GiB of zeros, without a disk block
    assert "line 2: longer than 1 MiB" in refusal(path)


@pytest.mark.parametrize("name", ["missing.jsonl", ".", "a\0b", "\ud800", "x" * 300, "rows.jsonl/inside"], ids=ascii)
def test_what_is_no_file_is_named(path, name):
    path.write_bytes(GOOD)
    with pytest.raises(UserError, match="cannot read problems from"):
        list(read_rows(path.parent / name))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes or devices among this system's files")
def test_a_pipe_and_a_device_are_refused_at_once_and_a_link_is_followed(path):
    os.mkfifo(path)
    assert "it is not a regular file" in refusal(path)
    assert "it is not a regular file" in refusal(Path("/dev/zero"))
    (path.parent / "there.jsonl").write_bytes(GOOD)
    (path.parent / "link.jsonl").symlink_to("there.jsonl")
    assert len(list(read_rows(path.parent / "link.jsonl"))) == 1


def test_countdowns_problems_say_how_to_get_some(path):
    with pytest.raises(UserError, match="there are no problems at .*rows.jsonl; write them with python -m t1mini data"):
        countdown.load_problems(path)
    path.write_bytes(b"\n\n")
    with pytest.raises(UserError, match="holds no problem"):
        countdown.load_problems(path)


def test_a_whole_file_may_not_be_larger_than_its_reader_allows(path):
    path.write_text(json.dumps({"a": "x" * 100}))
    assert read_object(path, 200) == {"a": "x" * 100} and len(read_bytes(path, 200)) == 109
    with pytest.raises(UserError, match="cannot read .*rows.jsonl: it is larger than 50 bytes"):
        read_object(path, 50)
    path.write_text("[]")
    with pytest.raises(UserError, match="cannot read .*rows.jsonl: expected an object"):
        read_object(path, 50)


def test_an_excerpt_is_short_and_has_nothing_a_terminal_would_obey():
    assert excerpt("tensor é") == "tensor é" and excerpt("\x1b[2J\n\ud800\0") == r"\x1b[2J\n\ud800\x00" and len(excerpt("x" * 10**6)) == 200
