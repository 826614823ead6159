r"""JSON that others wrote: data sets line by line, and the settings of checkpoints.

    {"question": "1 + 1?", "answer": "2"}       an object a line; blank lines, CRLF and a byte order mark pass

A data set or a checkpoint from the net is not to be trusted, and a long run should not end at what one of its
lines says. What would hang, fill the memory or surface much later is refused where it is read, in one line:

    folders, pipes, devices                                 they block, or never end
    lines over LONGEST_LINE, files over a reader's limit    never held whole
    numbers over MOST_DIGITS or beyond float, NaN           1e999 would be an answer "inf"
    halves of surrogate pairs ("\ud800")                    no tokenizer can encode them
    nesting beyond Python's limit, and what is not UTF-8, not JSON, cut off or no object
    other kinds of file, compressed ones, arrays, parquet   said by their name, with what to do

Of a file with several bad lines, one message names all (the first ten, and how many there are).

See each refused: python -m pytest tests/runs/test_jsonl.py
"""

import codecs
import contextlib
import json
import math
import os
import re
import stat
from pathlib import Path

from safetensors import SafetensorError

from t1mini.runs.settings import UserError

LONGEST_LINE = 2**24  # bytes
MOST_DIGITS = 300  # so that float() can hold every whole number
MOST_NAMED = 10  # lines in one message
OTHER_KINDS = [line.split(maxsplit=1) for line in r"""
    \[                                      one JSON array: jq -c '.[]' OLD > NEW takes it apart
    \{\s*$                                  JSON over several lines: jq -c . OLD > NEW joins them
    .*\}[^\S\r\n]*\r\s*\{                      a file of lines that end in CR alone: tr '\r' '\n' < OLD > NEW
    \x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|PK   compressed: unpack it first
    PAR1|ARROW1|ORC|Obj\x01                 a table in binary form (parquet, Arrow): export it as JSON lines
    \xff\xfe|\xfe\xff|\{?\0                 UTF-16, or binary: write it as UTF-8
    version\shttps://git-lfs                a pointer of Git LFS: git lfs pull fetches the file
    <                                       a web page: download the file itself
    """.strip().splitlines()]  # how files begin that are taken for JSON lines, and what to do


def read_rows(path: str | Path, what: str = "problems", parse=lambda row, place: row):
    """[(line number, parse(row, place))] of a .jsonl file's objects. One UserError names all bad lines."""
    rows, faults = [], []
    with open_regular(path, f"{what} from {path}") as file:
        for i, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), 1):
            place = f"line {i}"
            if not rows and not faults:
                require_json_lines(line, f"{path}, {place}")
            if len(line) > LONGEST_LINE:
                raise UserError(f"{path}, {place}: longer than {LONGEST_LINE:,} bytes; are these {what}, "
                                "one a line?")
            if line.strip(b" \t\r\n" + codecs.BOM_UTF8):
                try:
                    rows.append((i, parse(parse_object(line, place), place)))
                except UserError as error:
                    faults.append(f"{error}" if len(faults) < MOST_NAMED else "")
    if faults:
        total = f"; {len(faults)} bad lines in all" if faults[1:] else ""
        raise UserError(f"{path}, {'; '.join(faults[:MOST_NAMED])}{total}")
    return rows


def require_json_lines(first: bytes, place):
    """UserError where a file's first line shows what else it is."""
    for beginning, kind in OTHER_KINDS:
        if re.match(beginning.encode(), first.removeprefix(codecs.BOM_UTF8).lstrip(), re.DOTALL):
            raise UserError(f"{place}: want a JSON object a line, but this is {kind}")


def read_object(path: str | Path, most: int = LONGEST_LINE):
    """The object that is a file of at most `most` bytes. UserError names the file and what is wrong."""
    return parse_object(read_bytes(path, most), f"cannot read {path}")


def read_bytes(path: str | Path, most: int):
    """A file of at most `most` bytes. UserError where it is larger, missing or no file."""
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UserError(f"cannot read {path}: it is larger than {most:,} bytes")
    return content


@contextlib.contextmanager
def open_regular(path, what=""):
    """A file to read. UserError, which speaks of `what`, where it is missing, not regular or damaged."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # asked first: opening a pipe waits for its writer
            raise OSError("it is not a regular file")
        with open(path, "rb") as file:
            yield file
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"cannot read {what or path}: {reason(error)}") from None


def parse_object(text: bytes, place: str):
    """The JSON object in `text`. UserError names the place and says what is there instead.

    >>> parse_object(b'{"a": 1}', "line 1")
    {'a': 1}
    """
    try:
        content = json.loads(text.decode("utf-8-sig"), parse_int=number, parse_float=number,
                             parse_constant=number)
        json.dumps(content, ensure_ascii=False).encode()  # no halves of characters, which loads lets pass
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: not JSON: {error}".replace(": line 1 column", ": column")) from None
    if not isinstance(content, dict):
        raise UserError(f"{place}: expected an object in braces")
    return content


def number(digits):
    """The number that a text is. ValueError where it is one that would hurt later."""
    if len(digits) > MOST_DIGITS or not math.isfinite(float(digits)):
        raise ValueError(f"the number {digits[:20]} is not finite, or too long")
    return int(digits) if digits.lstrip("-").isdigit() else float(digits)


def excerpt(text):
    r"""Of what a file or a library says: no more than a line can show, nothing that a terminal would obey.

    >>> excerpt("norm.weight\x1b[2J")
    'norm.weight\\x1b[2J'
    """
    return repr(str(text)[:200])[1:-1]


def reason(error):
    """What went wrong, without the path that the message names already."""
    return excerpt(getattr(error, "strerror", None) or error)
