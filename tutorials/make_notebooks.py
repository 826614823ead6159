"""Writes the lessons as notebooks, tutorials/notebooks/NN_name.ipynb, for Jupyter and Colab. The Markdown is
the source: do not edit them.

Run it: python tutorials/make_notebooks.py [FOLDER]
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]

from checking.lessons import LESSONS, ROOT, blocks  # noqa: E402

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
"""


def notebook(path: Path) -> dict:
    """A lesson as nbformat 4: prose and quotes as Markdown cells, code as code cells."""
    cells = [cell("code", SETUP, 0)]
    for i, block in enumerate(blocks(path), 1):
        if block.kind == "code":
            cells.append(cell("code", block.text, i))
        elif block.kind == "prose":
            cells.append(cell("markdown", re.sub(r"\]\((?!https?:|#)", "](../", block.text), i))
        else:
            cells.append(cell("markdown",
                              f"```{'python' if block.kind == 'quote' else ''}\n{block.text}\n```", i))
    return {"cells": cells,
            "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                         "language_info": {"name": "python"}},
            "nbformat": 4, "nbformat_minor": 5}


def cell(kind: str, text: str, number: int) -> dict:
    content = {"cell_type": kind, "id": f"cell-{number}", "metadata": {},
               "source": text.splitlines(keepends=True)}
    return content | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def main(folder: str | Path = HERE / "notebooks") -> int:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path in LESSONS:
        target = Path(folder) / f"{path.stem}.ipynb"
        target.write_text(json.dumps(notebook(path), indent=1), encoding="utf-8")
        print(f"wrote {target.relative_to(ROOT) if target.is_relative_to(ROOT) else target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
