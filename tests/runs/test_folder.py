"""What is written is there whole or not at all, whatever the disk does; one run at a time writes a folder."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from t1mini.rl import RLConfig
from t1mini.runs.checkpoint import load_policy, save_policy
from t1mini.runs.folder import RunFolder, Stopping, contents, require_whole, whole_folder, write_text
from t1mini.runs.settings import UserError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_what_was_there_stays_where_the_new_cannot_be_written(tmp_path, monkeypatch, call):
    def full(*_):
        raise OSError(28, "No space left on device")

    write_text(tmp_path / "a", "old")
    with whole_folder(tmp_path / "f") as part:
        write_text(part / "a", "old")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError):
        write_text(tmp_path / "a", "new")
    with pytest.raises(OSError), whole_folder(tmp_path / "f") as part:
        (part / "a").write_text("new")
    monkeypatch.undo()
    assert (tmp_path / "a").read_text() == (tmp_path / "f/a").read_text() == "old"
    require_whole(tmp_path / "f")


def test_a_folder_appears_when_its_block_ends(tmp_path):
    with whole_folder(tmp_path / "f") as part:
        (part / "a").write_text("1")
        assert not (tmp_path / "f").exists()
    with pytest.raises(KeyError), whole_folder(tmp_path / "f") as part:
        raise KeyError
    assert (tmp_path / "f/a").read_text() == "1"
    with whole_folder(tmp_path / "f") as part:  # over what the last one left
        (part / "b").write_text("3")
    assert sorted(os.listdir(tmp_path / "f")) == ["b", "manifest.json"] and os.listdir(tmp_path) == ["f"]
    (tmp_path / "f/manifest.json").unlink()  # files of another program
    with pytest.raises(FileExistsError), whole_folder(tmp_path / "f"):
        pass
    assert (tmp_path / "f/b").exists()


def test_each_file_of_problems_is_known_by_its_content_whatever_it_is_called(tmp_path):
    files = [tmp_path / name for name in ("a/train.jsonl", "a/validation.jsonl", "b/train.jsonl", "task.py")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{file}")
    config, known = SimpleNamespace(data=str(tmp_path / "a"), eval_data=str(files[2]), init="", task=str(files[3])), set()
    for file in files:
        known.add(json.dumps(contents(config)))
        file.write_text("changed")
    assert len(known | {json.dumps(contents(config))}) == 5


@pytest.mark.parametrize("name, content, message", [
    ("a", "1 ", "a is damaged"), ("a", "2", "a is damaged"), ("a", None, "a is damaged or missing"),
    ("manifest.json", "[1]", "cannot read .*manifest.json"), ("manifest.json", '{"a": 3}', "a is damaged"),
    ("manifest.json", '{"../../x": {"bytes": 1, "sha256": ""}}', "x is damaged or missing"),
    ("manifest.json", '{"/dev/zero": 0, "..": 0}', "zero is damaged or missing"),
    ("manifest.json", None, "cannot read .*manifest.json"),
])
def test_damage_is_named(tmp_path, name, content, message):
    with whole_folder(tmp_path / "f") as part:
        (part / "a").write_text("1")
    require_whole(tmp_path / "f")
    (tmp_path / "f" / name).unlink() if content is None else (tmp_path / "f" / name).write_text(content)
    with pytest.raises(UserError, match=message):
        require_whole(tmp_path / "f")


@pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit")
def test_a_disk_that_takes_only_so_many_bytes(tmp_path, pytestconfig):
    """Writes beyond `limit` bytes a file fail as on a full disk, wherever in the checkpoint that is."""
    import resource
    policy = load_policy(ROOT / "data/tiny-sft")
    save_policy(*policy, tmp_path / "old")
    largest = max(path.stat().st_size for path in (tmp_path / "old").iterdir())
    whole = pytestconfig.getoption("whole")
    limits = range(0, largest, 5000) if whole else (0, 100, 5000, 300_000, largest - 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in limits:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(Exception, match="No space|File too large|os error 27"):
                save_policy(*policy, tmp_path / "old")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        load_policy(tmp_path / "old")


def test_logs_are_cut_back_to_a_step_wherever_the_last_line_ends(tmp_path):
    with RunFolder(RLConfig(out=str(tmp_path / "run")), "rl") as folder:
        logs = folder.path / "metrics.csv", folder.path / "samples.txt"

        def grow(*steps):
            for step in steps:
                folder.append_row("metrics.csv", {"step": step, "loss": 0.5})
                folder.append("samples.txt", f"--- step {step}: make 7\n[+1] 3,4\n --- step 99: no\n12,0\n")
            return [path.read_bytes() for path in logs]

        kept, grown = grow(8, 9), grow(10, 11)
        for path, whole, longer in zip(logs, kept, grown):
            for size in range(len(whole), len(longer) + 1):
                path.write_bytes(longer[:size])
                folder.cut_logs(9)
                assert path.read_bytes() == whole, size
        folder.cut_logs(0)
        assert grow(8, 9) == kept


HOLD = """
import sys
from t1mini.rl import RLConfig
from t1mini.runs.folder import RunFolder
with RunFolder(RLConfig(out=sys.argv[1]), "rl"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_run_at_a_time_writes_and_a_killed_one_leaves_no_lock(tmp_path):
    run = tmp_path / "run"
    config = RLConfig(resume=str(run))
    command = [sys.executable, "-c", HOLD, run]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="is in use by another run; wait for it"):
            RunFolder(config, "rl")
        holder.kill()
    with RunFolder(config, "rl"), pytest.raises(UserError, match="is in use by another run"):
        RunFolder(config, "rl")
    RunFolder(RLConfig(out=str(run)), "rl").__exit__(None, None, None)  # there is nothing yet to be lost
    (run / "metrics.csv").touch()
    with RunFolder(config, "rl"), pytest.raises(UserError, match="already holds files; choose another --out .*--res"):
        RunFolder(RLConfig(out=str(run)), "rl")


def test_a_signal_waits_for_the_step_but_a_second_does_not():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Stopping() as stop:
        assert stop.number == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.number == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before
