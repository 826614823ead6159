"""Every way in which a file of JSON can be wrong is one line that names it; nothing hangs or fills memory."""

import bz2
import gzip
import json
import lzma
import os

import pytest

from t1mini.runs import jsonl
from t1mini.runs.jsonl import excerpt, read_bytes, read_object, read_rows
from t1mini.runs.settings import UserError

GOOD = b'{"a": 1}\n'


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.jsonl"


def refusal(path) -> str:
    with pytest.raises(UserError) as error:
        list(read_rows(path))
    assert str(path) in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 400
    return str(error.value)


def test_rows_come_with_their_line_numbers_and_blank_lines_are_passed_over(path):
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n \t\n{"a": "\xc3\xa9\\u00e9 \\ud83d\\ude00"}\n{"a": null}')
    assert list(read_rows(path)) == [(1, {"a": 1}), (4, {"a": "éé \U0001f600"}), (5, {"a": None})]
    path.write_bytes(b"")
    assert list(read_rows(path)) == []


@pytest.mark.parametrize("line, message", [
    (b'{"a": "\xff"}', "not JSON: 'utf-8' codec can't decode byte 0xff in position 7"),
    (b"{not json}", "not JSON: Expecting property name enclosed in double quotes: column 2"),
    (b'{"a": 1} {"a": 2}', "not JSON: Extra data"), (b'{"a": "\0"}', "not JSON: Invalid control character"),
    (b'{"a": NaN}', "NaN is not finite"), (b'{"a": -Infinity}', "-Infinity is not finite"),
    (b'{"a": 1e999}', "the number 1e999 is not finite"), (b'{"a": ' + b"1" * 5000 + b"}", "or too long"),
    (b'{"a": 0.' + b"1" * 5000 + b"}", "the number 0.111111111111111111 is not finite, or too long"),
    (b'{"a":' * 100_000, "recursion"), (b"[" * 100_000, "recursion"), (b"\0\0\0\0", "not JSON"),
    (b"[1, 2]", "expected an object in braces"), (b"7", "expected an object in braces"),
    (b'{"a": "tw', "not JSON"), (b"{", "not JSON"), (b'{"a": "\\ud800"}', "surrogates not allowed"), (b'{"\\uDFFF": 1}', "surrogates not allowed"),
], ids=lambda x: str(x)[:30])
def test_a_broken_line_is_named_with_what_is_wrong(path, line, message):
    path.write_bytes(GOOD + line + b"\n" + GOOD)
    assert f"{path}, line 2: " in refusal(path) and message in refusal(path)


def test_a_line_without_end_is_refused_before_it_is_held(path, monkeypatch):
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 2**20)
    path.write_bytes(GOOD + b'{"a": "' + b"x" * (2**20 - 10) + b'"}')  # the longest there may be
    assert [i for i, _ in read_rows(path)] == [1, 2]
    with path.open("ab") as file:
        file.truncate(2**33)  # 8 GiB of zeros, without a disk block
    assert "line 2: longer than 1,048,576 bytes" in refusal(path)


NO_FILES = "missing", ".", "a\0b", "\ud800", "x" * 300, "rows.jsonl/inside", "/dev/zero", "pipe"


@pytest.mark.parametrize("name", NO_FILES, ids=ascii)
def test_what_is_no_file_is_named_at_once_and_a_link_is_followed(path, name):
    if hasattr(os, "mkfifo"):
        os.mkfifo(path.parent / "pipe")
    path.write_bytes(GOOD)
    for read in (lambda path: list(read_rows(path)), lambda path: read_object(path, 9)):
        with pytest.raises(UserError, match="cannot read"):
            read(path.parent / name)
    (path.parent / "link.jsonl").symlink_to(path)
    assert len(list(read_rows(path.parent / "link.jsonl"))) == 1


def test_a_whole_file_may_not_be_larger_than_its_reader_allows(path):
    path.write_text(json.dumps({"a": "x" * 100}))
    assert read_object(path, 109) == {"a": "x" * 100} and len(read_bytes(path, 109)) == 109
    with pytest.raises(UserError, match="cannot read .*rows.jsonl: it is larger than 108 bytes"):
        read_object(path, 108)
    path.write_text("[]")
    with pytest.raises(UserError, match="cannot read .*rows.jsonl: expected an object"):
        read_object(path, 50)


def test_an_excerpt_is_short_and_has_nothing_a_terminal_would_obey():
    assert excerpt("tensor é") == "tensor é" and len(excerpt("x" * 10**6)) == 200
    assert excerpt("\x1b[2J\n\ud800\0") == r"\x1b[2J\n\ud800\x00"


def test_all_bad_lines_are_named_once_and_at_most_ten_of_them(path):
    path.write_bytes(GOOD + b"{\n" + GOOD + b"[1]\n" + GOOD)
    text = refusal(path)
    assert [text.count(f"line {i}: ") for i in range(1, 6)] == [0, 1, 0, 1, 0] and text.endswith("; 2 bad lines in all")
    path.write_bytes(GOOD + b"7\n" * 500)
    with pytest.raises(UserError) as error:
        read_rows(path)
    assert f"{error.value}".count(": expected an object") == 10 and f"{error.value}".endswith("; 500 bad lines in all")


def test_what_a_row_is_made_into_is_refused_in_the_same_message(path):
    def parse(row, place):
        if row["a"] > 1:
            raise UserError(f"{place}: too large")
        return row["a"]

    path.write_bytes(GOOD + b'\n{"a": 0}\n')
    assert read_rows(path, parse=parse) == [(1, 1), (3, 0)]
    path.write_bytes(b'{"a": 2}\n{"a": 0}\n7\n{"a": 3}\n')
    with pytest.raises(UserError, match="rows.jsonl, line 1: too large; line 3: expected an object in braces; line 4: too large; 3 bad"):
        read_rows(path, parse=parse)


ROWS = json.dumps([{"a": 1}, {"a": 2}])


@pytest.mark.parametrize("content, kind", [
    (ROWS.encode(), "one JSON array: jq -c"), (b"\xef\xbb\xbf\n " + ROWS.encode(), "one JSON array"), (b'[\n {"a": 1}\n]', "one JSON array"),
    (b'{\n "a": 1\n}\n', "JSON over several lines"), (b'{\r\n "a": 1\r\n}\r\n', "JSON over several lines"), (b'{"a": 1}\r{"a": 2}\r', "end in CR alone"),
    (gzip.compress(GOOD), "compressed: unpack it"), (bz2.compress(GOOD), "compressed"), (lzma.compress(GOOD), "compressed"), (b"PK\3\4..", "compressed"),
    (b"\x28\xb5\x2f\xfd..", "compressed"), (b"PAR1\x15\x04\nPAR1", "parquet"), (b"ARROW1\0\0", "Arrow"), ("{}\n".encode("utf-16"), "UTF-16"),
    ("{}\n".encode("utf-16-le"), "UTF-16"), ("{}\n".encode("utf-16-be"), "UTF-16"), ("{}\n".encode("utf-32"), "UTF-16"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"), (b"<!DOCTYPE html>\n", "a web page"),
], ids=lambda x: str(x)[:30])
def test_another_kind_of_file_is_refused_for_what_it_is(path, content, kind):
    path.write_bytes(content)
    assert kind in refusal(path)


def test_lines_of_any_ending_are_read(path):
    for end in (b"\n", b"\r\n", b"\n\n", b" \n"):
        path.write_bytes(end.join([b'{"a": 1}', b'{"a":\r 2}', b""]))
        assert [row for _, row in read_rows(path)] == [{"a": 1}, {"a": 2}]
