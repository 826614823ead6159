"""Lessons as data: their Markdown cut into prose, code that runs, quotes of the library, and commands.

```python                 runs, in order, in one namespace a lesson
```python t1mini/x.py     quotes that file: these lines stand there, one below the other
```                       commands to type
"""

import re
import sys
from code import InteractiveConsole
from pathlib import Path
from typing import Iterator, NamedTuple

TUTORIALS = Path(__file__).resolve().parent.parent
ROOT = TUTORIALS.parent
LESSONS = sorted(TUTORIALS.glob("[0-9][0-9]_*.md"))
PAGES = [ROOT / "README.md", ROOT / "data/README.md", *sorted(TUTORIALS.glob("**/*.md"))]
_INLINE = re.compile(r"`(python [^`]+)`")
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """`kind` is prose, code, quote, or commands; `of` names the quoted file."""

    kind: str
    text: str
    of: str = ""


def blocks(path: Path) -> Iterator[Block]:
    """The page from top to bottom."""
    text, end = path.read_text(encoding="utf-8"), 0
    for m in _FENCE.finditer(text):
        if text[end : m.start()].strip():
            yield Block("prose", text[end : m.start()].strip())
        language, _, of = m[1].strip().partition(" ")
        yield Block("code" if language == "python" and not of else "quote" if language == "python"
                    else "commands",
                    m[2].rstrip("\n"), of)
        end = m.end()
    if text[end:].strip():
        yield Block("prose", text[end:].strip())


def commands(path: Path) -> list[str]:
    """The command lines of a page, without their comments, and those within its prose."""
    lines = []
    for block in blocks(path):
        if block.kind == "commands":
            lines += [line.partition("  #")[0] for line in block.text.splitlines()]
        elif block.kind == "prose":
            lines += _INLINE.findall(block.text)
    return [" ".join(line.split()) for line in lines if line.startswith("python ")]


class Interpreter(InteractiveConsole):
    """Python's own, line by line, but that an error ends it."""

    def showtraceback(self) -> None:
        raise

    def showsyntaxerror(self, *names, **more) -> None:
        raise


def run(path: Path) -> None:
    """Pastes a lesson's code, fence by fence, into an interpreter that imports from where `python` in the
    project's folder does, and from nowhere else."""
    interpreter, before = Interpreter({"__name__": "__lesson__"}), sys.path[:]
    sys.path[:] = [str(ROOT), *(place for place in before if not Path(place).is_relative_to(ROOT))]
    try:
        for i, block in enumerate((block for block in blocks(path) if block.kind == "code"), 1):
            interpreter.filename = f"{path.name}, fence {i}"
            more = [interpreter.push(line) for line in [*block.text.splitlines(), ""]]
            if more[-1]:
                raise SyntaxError(f"{interpreter.filename} does not end")
    finally:
        sys.path[:] = before
