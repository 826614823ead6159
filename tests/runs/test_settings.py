"""Settings: flags come from the dataclass, presets fill in, what is out of range is named before any work
starts, and a run's config.json is checked like flags."""

import json
from dataclasses import dataclass

import pytest

from t1mini.runs.settings import (
    Parser, StageConfig, UserError, add_flags, default_out, from_flags, setting
)


@dataclass(frozen=True)
class Example(StageConfig):
    resume: str = setting("", "folder")
    k: int = setting(16, "responses", "2 or more", gpu=64, qwen=32)
    lr: float = setting(0.1, "rate", "above 0, to 1")
    heat: float = setting(1.0, "heat", "0, or 0.5 to 2")
    budgets: tuple = setting((1, 2), "budgets", "0 or more")
    shuffle: bool = setting(True, "whether")
    kind: str = setting("a", "which", choices=("a", "b"))
    data: str = setting("data", "file")
    workers: int = setting(2, "processes")
    names: tuple = setting((), "names", positional=True, choices=("x", "y"))


def read(*words):
    parser = Parser("t1mini", "")
    add_flags(parser, Example)
    return from_flags(Example, vars(parser.parse_args([*map(str, words)])))


def test_flags_override_presets_and_presets_override_defaults():
    assert (read().k, read("--preset", "gpu").k, read("--preset", "gpu", "--k", 3).k) == (16, 64, 3)
    assert read("--preset", "qwen3-0.6b").k == 32 and read("--preset", "qwen3-0.6b").device == "cuda"
    assert read("--budgets", 5, 6, 7).budgets == (5, 6, 7) and read("x", "y").names == ("x", "y")
    assert read("--no-shuffle").shuffle is False and read().shuffle is True


@pytest.mark.parametrize("words, message", [
    ("--lr nan", "--lr nan: must be above 0, to 1"),
    ("--heat 0.1", "--heat 0.1: must be 0, or 0.5 to 2"),
    ("--budgets 3 -1", "--budgets -1: must be 0 or more"),
    ("--kind c", "--kind c: must be one of a, b"),
    ("x z", "--names z: must be one of x, y"),
    ("--see=3", "unrecognized arguments: --see=3"),
])
def test_a_value_out_of_range_is_named_with_its_range(words, message):
    with pytest.raises(UserError, match=message):
        read(*words.split())


def test_a_run_is_resumed_with_the_settings_it_saved(tmp_path):
    words = "--k 3 --heat 0 --no-shuffle --budgets 7 --out there --lr 1e-05 --kind b --preset gpu --data= x y"
    begun = read(*words.split())
    (tmp_path / "config.json").write_text(json.dumps(begun.to_dict() | {"made_by": {"torch": "2"}}))
    again = read("--resume", tmp_path, "--workers", 5, "--k", 3)
    assert again.to_dict() == begun.to_dict() | {"out": str(tmp_path), "resume": str(tmp_path), "workers": 5}
    for config in (begun, again):
        assert read("--settings", json.dumps(config.to_dict())).to_dict() == config.to_dict()  # as a worker reads them
    with pytest.raises(UserError, match=f"--k 4: {tmp_path} was begun with 3, and keeps it"):
        read("--resume", tmp_path, "--k", 4)
    with pytest.raises(UserError, match="--names .'y',.: .* was begun with .'x', 'y'."):
        read("--resume", tmp_path, "--", "y")


@pytest.mark.parametrize("content", [
    *(b"", b"[", b"[3]", b"7", b'"k"', b"null", b"[" * 10**5, b"\xff", b'{"k": 1' + b"0" * 5000 + b"}"),
    *(b'{"k": 1}', b'{"k": null}', b'{"k": [3, 4]}', b'{"k": true}', b'{"k": {"k": 3}}', b'{"k": "--help"}'),
    *(b'{"help": true}', b'{"lr": NaN}', b'{"": 3}', b'{"kk": 3}', b'{"budgets": 0.5}', b'{"shuffle": 1}'),
    *(b'{"preset": []}', b'{"names": ["z"]}', b'{"lr": 1}', b'{"names": {}}', b'{"names": "xy"}', b'{"kind": "c"}'),
], ids=lambda content: repr(content[:20]))
def test_a_config_from_elsewhere_is_checked(content, tmp_path):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=f"cannot go on with {tmp_path}: ") as error:
        read("--resume", tmp_path)
    assert len(str(error.value)) < 500


def test_a_run_gets_the_first_name_that_is_free(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("rl-tiny-0", "rl-tiny-0-2", "rl-tiny-0-3"):
        path = default_out(read(), "rl")
        assert path.name == name
        path.mkdir(parents=True)
    assert str(default_out(read("--out", "mine"), "rl")) == "mine"
