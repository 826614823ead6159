"""Every mistake of mistakes.txt is one line that names what is wrong, exit code 2, and nothing is written."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from t1mini.__main__ import STAGES, main

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests/golden/qwen2-tiny"
PROBLEM = '{"numbers": [3, 4, 11], "target": 77}\n'
TABLE = (ROOT / "tests/mistakes.txt").read_text().splitlines()
LINES = [line for line in TABLE if line and line[0] != "#"]
MISTAKES = dict(zip(LINES[::2], LINES[1::2], strict=True))
assert len(MISTAKES) > 130
TEXTS = {
    "broken/test.jsonl": PROBLEM + '{"numbers": [3, 4], "target": 77}\n',
    "single.jsonl": PROBLEM,
    "cut.jsonl": PROBLEM + PROBLEM[:20],
    "empty.jsonl": "",
    "long.jsonl": '{"numbers": "' + "3" * 2**25 + '"}\n',
    "words.jsonl": '{"numbers": ["three", 4, 11], "target": 77}\n',
    "maths.jsonl": '{"question": "3 + 4?", "answer": "#### 7"}\n',
    "open.jsonl": '{"question": "What is truth?"}\n',
    "file": "",
    "line.txt": "3 4 11 77\n",
    "lines.txt": "3 4 11 77\n3 4 11\n",
    "trained/rl/final/config.json": "{}", "trained/sft/final/config.json": "{}", "reinforced/final/config.json": "{}",
    "stopped/rl/step-0035/config.json": "{}", "stopped/rl/step-0070/config.json": "{}", "stopped/sft/final/config.json": "{}",
    "tuned/sft/final/config.json": "{}", "taken/notes.txt": "",
}
RUNS = {"taken": "{}", "sft-run": '{"epochs": 3}', "twisted": '{"k": "many"}', "wild": '{"k": 1}',
        "torn": '{"k": ', "listed": '["k", 4]', "plain": '{"k": 4}', "far": '{"init": "models/mine"}'}


def checkpoint(folder: Path, source: Path = GOLDEN, **files):
    """A copy of a checkpoint with some files replaced: by text, by changes to its JSON, or by nothing."""
    shutil.copytree(source, folder)
    names = {"weights": "model.safetensors", "index": "model.safetensors.index.json"}
    for name, content in files.items():
        path = folder / names.get(name, name + ".json")
        if content is None:
            path.unlink()
        elif isinstance(content, dict):
            path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | content))
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture(scope="module")
def mishaps(tmp_path_factory):
    tmp = tmp_path_factory.mktemp("mishaps")
    weights = (GOLDEN / "model.safetensors").read_bytes()
    checkpoint(tmp / "truncated", weights=weights[:5000])
    checkpoint(tmp / "damaged", manifest={"model.safetensors": {"bytes": len(weights), "sha256": "0" * 64}})
    checkpoint(tmp / "impossible", config={"num_key_value_heads": 3})
    checkpoint(tmp / "mistral", config={"model_type": "mistral"})
    checkpoint(tmp / "scaled", config={"rope_scaling": {"type": "yarn", "factor": 4}})
    checkpoint(tmp / "giant", config={"num_hidden_layers": 4000, "hidden_size": 2**20})
    checkpoint(tmp / "noconfig", config='{"model_type": "qwen2", ')
    checkpoint(tmp / "escape", index={"weight_map": {"model.norm.weight": "../../secret.safetensors"}})
    checkpoint(tmp / "mute", tokenizer=None)
    checkpoint(tmp / "babel", tokenizer='{"version": "1.0", "model": "none"}')
    checkpoint(tmp / "huge", ROOT / "data/tiny-sft")
    huge = tmp / "huge/model.safetensors"
    save_file({name: w * 1e30 for name, w in load_file(huge).items()}, huge)
    for name, content in (TEXTS | {f"{run}/config.json": text for run, text in RUNS.items()}).items():
        (tmp / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp / name).write_text(content)
    (tmp / "binary.jsonl").write_bytes(PROBLEM.encode() + b"\xff\xfe\x00\n")
    return tmp


def everything(tmp: Path) -> list:
    files = *tmp.rglob("*"), *(ROOT / "data").rglob("*"), *ROOT.glob("[!.]*")
    return sorted((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files)


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line_exit_code_2_and_nothing_written(line, mishaps, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    fill = lambda text: text.replace("{tmp}", str(mishaps)).replace("{long}", "a" * 300)
    words = [fill(word) for word in shlex.split(line) if word or "--resume" in line]
    if words and words[0] in STAGES and not {"--out", "--resume"} & set(words):
        words += ["--out", str(mishaps / "out")]
    before = everything(mishaps)
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert fill(MISTAKES[line].strip()) in printed
    assert printed.startswith("t1mini: ") and printed.count("\n") == 1 and "Traceback" not in printed
    assert everything(mishaps) == before
