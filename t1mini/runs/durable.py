"""Durable writing: a file or a folder is there whole, or not at all.

    file      write NAME.part, wait until the disk has it, rename it to NAME
    folder    write NAME.part/, then in it manifest.json (every file's size and SHA-256), wait for the disk, rename it to NAME/

A rename is one step for every system, so a killed process or a full disk leaves what was there before, and at worst a .part
beside it. The manifest tells later whether a disk or a copy has changed a byte.

See disks that fill: python -m pytest tests/test_durable.py
"""

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Iterator

from t1mini.runs.settings import UserError
from t1mini.runs.jsonl import read_object

MANIFEST, LARGEST_MANIFEST = "manifest.json", 2**24  # bytes


def write_bytes(path: str | Path, content: bytes) -> None:
    """`content` in place of what `path` held."""
    part = Path(f"{path}.part")
    part.write_bytes(content)
    replace(part, Path(path))


def write_text(path: str | Path, text: str) -> None:
    write_bytes(path, text.encode())


def replace(part: Path, path: Path) -> None:
    """Renames `part`, once the disk has it, to `path`."""
    flush(part)
    os.replace(part, path)
    flush(path.parent)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """An empty folder to write to, which takes the name `path` at the end of the block.

    FileExistsError where `path` holds files that no such block has written.
    """
    if path.is_dir() and any(path.iterdir()) and not (path / MANIFEST).exists():
        raise FileExistsError(f"{path} already holds files")
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed here
    part.mkdir(parents=True)
    yield part
    files = sorted(part.iterdir())
    for file in files:
        flush(file)
    write_text(part / MANIFEST, json.dumps({file.name: {"bytes": file.stat().st_size, "sha256": _digest(file)} for file in files}, indent=1))
    if path.exists():
        shutil.rmtree(path)
    replace(part, path)


def damage(folder: Path) -> str:
    """What is wrong with a folder that has a manifest: "" where every file is as it was written."""
    try:
        files = read_object(folder / MANIFEST, LARGEST_MANIFEST)
        for name, file in files.items():
            path = folder / Path(name).name
            if not path.is_file() or path.stat().st_size != file["bytes"] or _digest(path) != file["sha256"]:
                return f"{name} is {'damaged' if path.exists() else 'missing'}"
    except (UserError, OSError, ValueError, TypeError, KeyError) as error:
        return f"{MANIFEST} cannot be read: {error}"
    return ""


def require_whole(folder: Path) -> None:
    """UserError where a folder with a manifest is not what was written; one without a manifest was made by another program."""
    if (folder / MANIFEST).exists() and (wrong := damage(folder)):
        raise UserError(f"{folder}: {wrong}; copy it again, or remove its {MANIFEST} if you changed it yourself")


def flush(path: Path) -> None:
    """Waits until the disk has the file, or the names in the folder where the system can say so."""
    if path.is_dir() and os.name == "nt":
        return
    file = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
