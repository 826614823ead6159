"""One run at a time writes to a folder, and a crash leaves no lock that lasts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from t1mini.__main__ import main
from t1mini.runs.settings import UserError
from t1mini.runs.lock import FolderLock

ROOT = Path(__file__).parents[2]
HOLD = "import sys, time; from pathlib import Path; from t1mini.runs.lock import FolderLock; lock = FolderLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_one_is_refused_by_name_until_the_first_is_gone(tmp_path, holder):
    with pytest.raises(UserError, match=f"in use by process {holder.pid} on"):
        FolderLock(tmp_path)
    holder.kill()  # no chance to tidy up
    holder.wait()
    lock = FolderLock(tmp_path)
    with pytest.raises(UserError, match=f"in use by process {os.getpid()}"):
        FolderLock(tmp_path)
    lock.release()
    FolderLock(tmp_path).release()


def test_a_second_run_in_the_same_folder_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    words = ["rl", "--steps", "1", "--prompts", "2", "--k", "2", "--max-new-tokens", "9", "--threads", "1"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    lock = FolderLock(tmp_path / "run")
    capsys.readouterr()
    assert main(["rl", "--resume", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert "is in use by process" in printed and printed.count("\n") == 1
    lock.release()
    assert main(["rl", "--resume", str(tmp_path / "run")]) == 0
