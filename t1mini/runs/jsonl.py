r"""JSON that others wrote: data sets line by line, and the settings of checkpoints.

    {"question": "1 + 1?", "answer": "2"}       an object a line; blank lines, CRLF ends and a byte order mark are passed over

A data set or a checkpoint from the net is not to be trusted, and a long run should not end at what one of its lines says.
So what would hang, fill the memory or surface much later is refused where it is read, in one line that names the file:

    folders, pipes, devices              they block, or never end
    lines of more than LONGEST_LINE bytes, files of more than their reader's limit     never held whole
    numbers of more than MOST_DIGITS characters or beyond float, NaN, Infinity         1e999 would be an answer "inf"
    halves of surrogate pairs ("\ud800")                                               no tokenizer can encode them
    nesting beyond Python's limit, and what is not UTF-8, not JSON, cut off or no object

See each refused: python -m pytest tests/test_jsonl.py
"""

import itertools
import json
import math
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO, Iterator

from t1mini.runs.settings import UserError

LONGEST_LINE = 2**24  # bytes
MOST_DIGITS = 300  # so that float() can hold every whole number
_BOM = b"\xef\xbb\xbf"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_rows(path: str | Path, what: str = "problems") -> Iterator[tuple[int, dict]]:
    """The objects of a .jsonl file with their line numbers. UserError names the file, the line and what is wrong with it."""
    try:
        with open_regular(path) as file:
            for i in itertools.count(1):
                line = file.readline(LONGEST_LINE + 1)
                if not line:
                    return
                if len(line) > LONGEST_LINE:
                    raise UserError(f"{path}, line {i}: longer than {LONGEST_LINE >> 20} MiB; is this a file of {what}, one a line?")
                if line.removeprefix(_BOM).strip():
                    yield i, _parse_line(line, f"{path}, line {i}")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {what} from {path}: {reason(error)}") from None


def _parse_line(line: bytes, place: str) -> dict:
    try:
        return parse_object(line)
    except ValueError as error:
        cut = "" if line.endswith(b"\n") else "the file is cut off here, write it again: "
        raise UserError(f"{place}: {cut}{error}") from None


def read_object(path: str | Path, most: int) -> dict:
    """The object that is a file of at most `most` bytes. UserError names the file and what is wrong with it."""
    try:
        return parse_object(read_bytes(path, most))
    except ValueError as error:
        raise UserError(f"cannot read {path}: {error}") from None


def read_bytes(path: str | Path, most: int) -> bytes:
    """A file of at most `most` bytes. UserError where it is larger, missing or no file."""
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > most:
                raise ValueError(f"it is larger than {most:,} bytes")
            return file.read(most)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from None


def open_regular(path: str | Path) -> BinaryIO:
    """A file opened for reading. OSError where it is missing or no regular file, ValueError where the path can be none."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # asked before it is opened: opening a pipe waits for its writer
        raise OSError("it is not a regular file")
    return open(path, "rb")


def parse_object(text: bytes) -> dict:
    """The JSON object in `text`. ValueError says what else it is.

    >>> parse_object(b'{"a": 1}'), parse_object(b"{}")
    ({'a': 1}, {})
    """
    try:
        decoded = text.removeprefix(_BOM).decode("utf-8")
        content = json.loads(decoded, parse_constant=_refuse, parse_int=_whole, parse_float=_finite)
        if _SURROGATE.search(decoded):
            json.dumps(content, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise ValueError("not JSON: " + str(error).replace(": line 1 column", ": column")) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start + 1}") from None
    except UnicodeEncodeError:
        raise ValueError("a text has half of a surrogate pair, which is no character") from None
    except RecursionError:
        raise ValueError("nested beyond reason") from None
    if not isinstance(content, dict):
        raise ValueError("expected an object in braces")
    return content


def excerpt(text) -> str:
    r"""Of what a file or a library says: no more than a line can show, nothing that a terminal would obey.

    >>> excerpt("norm.weight\x1b[2J")
    'norm.weight\\x1b[2J'
    """
    return repr(str(text)[:200])[1:-1]


def reason(error: Exception) -> str:
    """What went wrong, without the path that the message names already."""
    return excerpt(getattr(error, "strerror", None) or error)


def _refuse(constant: str):
    raise ValueError(f"{constant} is not JSON")


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits) if len(digits) <= MOST_DIGITS else math.inf
    if math.isinf(value):
        raise ValueError(f"the number {digits[:20]} is too large or too long")
    return value
