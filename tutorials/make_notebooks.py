"""Writes the lessons as notebooks, tutorials/notebooks/NN_name.ipynb, for Jupyter and Colab. The Markdown is
the source: do not edit them. After a lesson's exercise come two cells, one to write an answer in and one that
checks it.

Run it: python tutorials/make_notebooks.py [FOLDER]
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from checking.lessons import LESSONS, ROOT, blocks  # noqa: E402
from checking.report import exercise_file  # noqa: E402

REPOSITORY = "t1mini"
SETUP = f"""\
# Finds t1mini: run this first. In Colab, upload or clone the project so that a folder {REPOSITORY!r} with
# requirements.txt is beside this notebook.
import os, sys
from pathlib import Path

places = [Path.cwd(), *Path.cwd().parents, Path.cwd() / {REPOSITORY!r}]
places = [place for place in places if (place / "t1mini/rl.py").exists()]
assert places, "t1mini is not here: clone the project, then run this again from within it"
os.chdir(places[0])
sys.path[:0] = [str(places[0])]
os.makedirs("runs", exist_ok=True)
"""
CHECK = "!{{sys.executable}} tutorials/check.py {number} --submission runs/{name}"
AFTER_IT = "## The lines"  # the heading that follows the exercise


def notebook(path: Path) -> dict:
    """A lesson as nbformat 4: prose and quotes as Markdown cells, code as code cells."""
    cells = [("code", SETUP)]
    for block in blocks(path):
        before, heading, after = block.text.partition(AFTER_IT)
        if block.kind == "code":
            cells.append(("code", block.text))
        elif block.kind != "prose":
            cells.append(("markdown", f"```{'python' if block.kind == 'quote' else ''}\n{block.text}\n```"))
        elif heading:
            cells += [prose(before), *answer_cells(path.stem[:2]), prose(heading + after)]
        else:
            cells.append(prose(block.text))
    return {"cells": [cell(kind, text, i) for i, (kind, text) in enumerate(cells) if text.strip()],
            "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                         "language_info": {"name": "python"}},
            "nbformat": 4, "nbformat_minor": 5}


def prose(text: str) -> tuple[str, str]:
    """Markdown whose links lead out of the notebooks' folder."""
    return "markdown", re.sub(r"\]\((?!https?:|#)", "](../", text.strip())


def answer_cells(number: str) -> list[tuple[str, str]]:
    """The exercise's stub, to be filled in: running it writes a file, which the second cell checks."""
    stub = exercise_file(number)
    return [("code", f"%%writefile runs/{stub.name}\n{stub.read_text(encoding='utf-8').strip()}"),
            ("code", CHECK.format(number=number, name=stub.name))]


def cell(kind: str, text: str, number: int) -> dict:
    content = {"cell_type": kind, "id": f"cell-{number}", "metadata": {},
               "source": text.splitlines(keepends=True)}
    return content | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def main(folder: str | Path = HERE / "notebooks") -> int:
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for path in LESSONS:
            target = Path(folder) / f"{path.stem}.ipynb"
            target.write_text(json.dumps(notebook(path), indent=1), encoding="utf-8")
            print(f"wrote {target.relative_to(ROOT) if target.is_relative_to(ROOT) else target}")
    except OSError as error:
        print(f"{folder}: {error.strerror}: name a folder that can be written to", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
