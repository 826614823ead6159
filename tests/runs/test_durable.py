"""What is written is there whole or not at all, whatever the disk does; and damage is found and named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from t1mini.runs.checkpoint import load_policy, save_policy
from t1mini.runs.settings import UserError
from t1mini.runs.durable import damage, write_text, whole_folder

ROOT = Path(__file__).parents[2]
SFT = ROOT / "data/tiny-sft"


@pytest.fixture
def full_disk(monkeypatch):
    """Makes the named call of `os` fail as on a full disk."""
    def fill(call):
        def full(*_):
            raise OSError(28, "No space left on device")
        monkeypatch.setattr(os, call, full)
    return fill


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_file_keeps_its_old_content_where_the_new_cannot_be_written(tmp_path, full_disk, call):
    write_text(tmp_path / "a", "old")
    full_disk(call)
    with pytest.raises(OSError):
        write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"


def test_a_folder_appears_when_its_block_ends(tmp_path):
    with whole_folder(tmp_path / "f") as part:
        (part / "a").write_text("1")
        assert not (tmp_path / "f").exists()
    assert {path.name for path in (tmp_path / "f").iterdir()} == {"a", "manifest.json"} and damage(tmp_path / "f") == ""
    with pytest.raises(KeyError), whole_folder(tmp_path / "f") as part:
        (part / "a").write_text("2")
        raise KeyError
    assert (tmp_path / "f/a").read_text() == "1"
    with whole_folder(tmp_path / "f") as part:  # over what the last one left
        (part / "b").write_text("3")
    assert {path.name for path in (tmp_path / "f").iterdir()} == {"b", "manifest.json"}


def test_files_of_others_are_not_replaced(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f/mine").write_text("")
    with pytest.raises(FileExistsError), whole_folder(tmp_path / "f"):
        pass
    assert (tmp_path / "f/mine").exists()


@pytest.mark.parametrize("spoil, message", [
    (lambda f: (f / "config.json").write_bytes(b" " + (f / "config.json").read_bytes()), "config.json is damaged"),
    (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-1] + b"\x01"), "model.safetensors is damaged"),
    (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json is missing"),
    (lambda f: (f / "manifest.json").write_text("[1]"), "manifest.json cannot be read"),
    (lambda f: (f / "manifest.json").write_text('{"config.json": 3}'), "manifest.json cannot be read"),
    (lambda f: (f / "manifest.json").write_text('{"../../x": {"bytes": 1, "sha256": ""}}'), "x is missing"),
])
def test_a_checkpoint_that_changed_on_the_way_is_refused(tmp_path, spoil, message):
    policy = load_policy(SFT)
    save_policy(*policy, tmp_path / "f")
    load_policy(tmp_path / "f")
    spoil(tmp_path / "f")
    with pytest.raises(UserError, match=message):
        load_policy(tmp_path / "f")
    (tmp_path / "f/manifest.json").unlink()
    if "manifest" in message:
        load_policy(tmp_path / "f")


SAVE_TWICE = """
import resource, sys
from pathlib import Path
from safetensors import SafetensorError
from t1mini.runs.checkpoint import load_policy, save_policy
folder, limit = Path(sys.argv[1]), int(sys.argv[2])
policy, tokenizer = load_policy("data/tiny-sft")
save_policy(policy, tokenizer, folder / "old")
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    save_policy(policy, tokenizer, folder / "new")
except (OSError, SafetensorError) as error:
    print("refused:", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit")
@pytest.mark.parametrize("limit", [0, 100, 5000, 300_000, 1_000_000])
def test_a_disk_that_takes_only_so_many_bytes(tmp_path, limit):
    """Writes beyond `limit` bytes a file fail as they would on a full disk, wherever in the checkpoint that is."""
    finished = subprocess.run([sys.executable, "-c", SAVE_TWICE, str(tmp_path), str(limit)], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0 and "refused:" in finished.stdout, finished.stderr
    load_policy(tmp_path / "old")
    assert not (tmp_path / "new").exists()
