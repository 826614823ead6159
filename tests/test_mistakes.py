"""Every mistake is one line that names what is wrong, exit code 2, and nothing is written."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from t1mini.__main__ import STAGES, main

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests/golden/qwen2-tiny"
QUESTION = '{"question": "3 + 4?", "answer": "#### 7"}\n'
PROBLEM = '{"numbers": [3, 4, 11], "target": 77}\n'
MATH = ["--task", "math", "--init", str(GOLDEN)]

MISTAKES = {
    # the command line
    "no stage": ([], "STAGE"),
    "an unknown stage": (["reinforce"], "invalid choice: 'reinforce'"),
    "an unknown flag": (["rl", "--kk", "4"], "unrecognized arguments: --kk 4; see python -m t1mini rl --help"),
    "an abbreviated flag": (["rl", "--step", "4"], "unrecognized arguments: --step 4"),
    "a flag of another stage": (["evaluate", "--steps", "4"], "unrecognized arguments: --steps 4"),
    "a flag without its value": (["rl", "--k"], "argument --k: expected one argument"),
    "a switch with a value": (["rl", "--penalties", "yes"], "unrecognized arguments: yes"),
    "an unknown preset": (["train", "--preset", "huge"], "--preset huge: choose one of tiny, gpu"),
    "words for a number": (["rl", "--k", "many"], "argument --k: invalid int value: 'many'"),
    "half an update": (["rl", "--steps", "1.5"], "argument --steps: invalid int value: '1.5'"),
    "an unknown precision": (["rl", "--precision", "float16"], "--precision float16: choose one of float32, bfloat16"),
    "an unknown task": (["rl", "--task", "chess"], "--task chess: choose one of countdown, math"),
    "an unknown split": (["evaluate", "--split", "dev"], "--split dev: choose one of"),
    # ranges
    "one response a prompt": (["rl", "--k", "1"], "--k 1: must be at least 2"),
    "no prompts": (["rl", "--prompts", "0"], "--prompts 0: must be at least 1"),
    "no updates": (["rl", "--steps", "0"], "--steps 0: must be at least 1"),
    "no tokens": (["rl", "--max-new-tokens", "0"], "--max-new-tokens 0: must be at least 1"),
    "no room for tokens": (["rl", "--micro-batch-tokens", "0"], "--micro-batch-tokens 0: must be at least 1"),
    "no room to sample": (["evaluate", "--max-batch-tokens", "-5"], "--max-batch-tokens -5: must be at least 1"),
    "a negative temperature": (["rl", "--temperature", "-1"], "--temperature -1.0: must be at least 0.001"),
    "a temperature that is no number": (["rl", "--temperature", "nan"], "--temperature nan: must be at least 0.001"),
    "a temperature without end": (["rl", "--temperature", "inf"], "--temperature inf: must be at least 0.001 and at most 100"),
    "a temperature next to nothing": (["sample", "--temperature", "1e-40"], "--temperature 1e-40: must be 0, or at least 0.001"),
    "min-p above one": (["rl", "--min-p", "1.5"], "--min-p 1.5: must be at least 0 and at most 1"),
    "top-p of nothing": (["rl", "--top-p", "0"], "--top-p 0.0: must be above 0 and at most 1"),
    "a negative top-k": (["rl", "--top-k", "-1"], "--top-k -1: must be at least 0"),
    "no learning": (["rl", "--lr", "0"], "--lr 0.0: must be above 0 and at most 1"),
    "a learning rate that is no number": (["sft", "--lr", "nan"], "--lr nan: must be above 0"),
    "a learning rate beyond reason": (["sft", "--lr", "3"], "--lr 3.0: must be above 0 and at most 1"),
    "a negative warm-up": (["rl", "--warmup", "-1"], "--warmup -1: must be at least 0"),
    "a negative decay": (["sft", "--weight-decay", "-0.1"], "--weight-decay -0.1: must be at least 0"),
    "gradients clipped to nothing": (["rl", "--clip", "0"], "--clip 0.0: must be above 0"),
    "a reference that overtakes": (["rl", "--ema-decay", "1.01"], "--ema-decay 1.01: must be at least 0 and at most 1"),
    "a negative KL": (["rl", "--kl-coef", "-1"], "--kl-coef -1.0: must be at least 0"),
    "a negative entropy bonus": (["rl", "--entropy-coef", "-0.1"], "--entropy-coef -0.1: must be at least 0"),
    "no repetition at all": (["rl", "--repeat-limit", "0"], "--repeat-limit 0: must be at least 1"),
    "a negative seed": (["train", "--seed", "-1"], "--seed -1: must be at least 0"),
    "a seed too long": (["train", "--seed", "99999999999"], "--seed 99999999999: must be at least 0 and at most"),
    "negative threads": (["train", "--threads", "-2"], "--threads -2: must be at least 0"),
    "no workers": (["rl", "--workers", "0"], "--workers 0: must be at least 1"),
    "no state kept": (["rl", "--keep-last", "0"], "--keep-last 0: must be at least 1"),
    "states without end": (["sft", "--state-every", "0"], "--state-every 0: must be at least 1"),
    "checkpoints without end": (["rl", "--checkpoint-every", "0"], "--checkpoint-every 0: must be at least 1"),
    "no epochs": (["sft", "--epochs", "0"], "--epochs 0: must be at least 1"),
    "no traces": (["sft", "--traces", "0"], "--traces 0: must be at least 1"),
    "a teacher that slips more than always": (["sft", "--slip", "1.5"], "--slip 1.5: must be at least 0 and at most 1"),
    "a teacher without spread": (["sft", "--spread", "0"], "--spread 0.0: must be above 0"),
    "heads that do not divide": (["sft", "--hidden", "97"], "--hidden 97 over --heads 3 must give an even head size"),
    "one problem to train's evaluation": (["train", "--problems", "1"], "--problems 1: an interval over problems"),
    "one problem": (["evaluate", "--problems", "1"], "--problems 1 of the 672 in data: an interval needs at least 2"),
    "a budget no response reaches": (["scale", "--budgets", "20", "500"], "--budgets 500: no response is longer"),
    "a negative budget": (["scale", "--budgets", "20", "-3"], "--budgets -3: must be at least 0"),
    "no checkpoints to scale": (["scale", "--init"], "argument --init: expected at least one argument"),
    "more tokens than positions": (["sample", "--file", "{tmp}/line.txt", "--max-new-tokens", "5000"], "the model was made for 4096"),
    "nothing known to bench": (["bench", "everything"], " everything: choose one of rollout"),
    "a study there is not": (["study", "everything"], " everything: choose one of all, thinking-budget"),
    "a variant there is not": (["study", "start", "--variants", "dirty"], "--variants dirty: these studies have 'trial and error, SFT'"),
    "a study of one problem": (["study", "start", "--problems", "1"], "--problems 1: an interval over problems"),
    "a study with a checkpoint's preset": (["study", "--preset", "qwen3-0.6b", "--device", "cpu"], "studies are of Countdown"),
    "a run as text": (["plot", "runs/x", "--text"], "--text: runs/x is no study"),
    "a study without rows": (["plot", "start", "--studies", "{tmp}"], "cannot read {tmp}/start.csv"),
    "train with a checkpoint's preset": (["train", "--preset", "qwen3-0.6b", "--device", "cpu"], "train is for Countdown"),
    "a device there is not": (["rl", "--device", "cuda:77"], "--device cuda:77: torch cannot use it here"),
    "a device nobody has": (["rl", "--device", "abacus"], "--device abacus: t1mini runs on cpu and cuda"),
    # checkpoints
    "a missing checkpoint": (["rl", "--init", "{tmp}/nowhere"], "there is no checkpoint folder {tmp}/nowhere"),
    "a file for a checkpoint": (["evaluate", "--init", "{tmp}/file"], "there is no checkpoint folder {tmp}/file"),
    "a folder without a checkpoint": (["evaluate", "--init", "{tmp}/broken"], "cannot read {tmp}/broken/tokenizer.json"),
    "no checkpoint to collect with": (["collect", "--data", "{tmp}/maths.jsonl"], "--init: which checkpoint folder?"),
    "no checkpoint to teach mathematics": (["sft", "--task", "math", "--data", "{tmp}/maths.jsonl"], "--init: --task math needs a checkpoint"),
    "a truncated checkpoint": (["rl", "--init", "{tmp}/truncated"], "cannot read weights from {tmp}/truncated/model.safetensors"),
    "a checkpoint that a copy has damaged": (["evaluate", "--init", "{tmp}/damaged"], "{tmp}/damaged: model.safetensors is damaged; copy it again"),
    "an impossible shape": (["evaluate", "--init", "{tmp}/impossible"], "4 attention heads cannot share 3"),
    "another kind of model": (["evaluate", "--init", "{tmp}/llama"], "model_type is 'llama'; t1mini reads qwen2 and qwen3"),
    "a model beyond reason": (["evaluate", "--init", "{tmp}/giant"], "{tmp}/giant"),
    "a config that is no JSON": (["evaluate", "--init", "{tmp}/noconfig"], "cannot read {tmp}/noconfig/config.json"),
    "an index out of its folder": (["evaluate", "--init", "{tmp}/escape"], "must name files of this folder"),
    "no tokenizer": (["rl", "--init", "{tmp}/mute"], "cannot read {tmp}/mute/tokenizer.json"),
    "a broken tokenizer": (["rl", "--init", "{tmp}/babel"], "{tmp}/babel/tokenizer.json is not a tokenizer"),
    "weights out of all proportion": (["sample", "--init", "{tmp}/huge", "--file", "{tmp}/line.txt"], "logits are not finite"),
    "another tokenizer": (["rl", "--init", str(GOLDEN)], "its tokenizer is not Countdown's"),
    "another tokenizer, to sft": (["sft", "--init", str(GOLDEN)], "its tokenizer is not Countdown's"),
    "no chat model": (["rl", "--task", "math", "--init", "data/tiny-sft", "--data", "{tmp}/maths.jsonl"], "no <|im_start|>"),
    # files of problems
    "no problems": (["rl", "--data", "{tmp}"], "there are no problems at {tmp}/train.jsonl; write them with"),
    "a broken problem": (["evaluate", "--data", "{tmp}/broken"], "{tmp}/broken/test.jsonl, line 2"),
    "an empty file": (["evaluate", "--data", "{tmp}/empty.jsonl"], "{tmp}/empty.jsonl holds no problem"),
    "a file of one problem": (["evaluate", "--data", "{tmp}/single.jsonl"], "--problems 0 of the 1 in {tmp}/single.jsonl"),
    "a file that is no text": (["evaluate", "--data", "{tmp}/binary.jsonl"], "{tmp}/binary.jsonl, line 2"),
    "a file cut off": (["evaluate", "--data", "{tmp}/cut.jsonl"], "{tmp}/cut.jsonl, line 2"),
    "a line without end": (["evaluate", "--data", "{tmp}/long.jsonl"], "{tmp}/long.jsonl, line 1"),
    "words for numbers": (["evaluate", "--data", "{tmp}/words.jsonl"], '{tmp}/words.jsonl, line 1: want {{"numbers": [3, 4, 11], "target": 77}}'),
    "mathematics for Countdown": (["evaluate", "--data", "{tmp}/maths.jsonl"], "{tmp}/maths.jsonl, line 1"),
    "Countdown for mathematics": (["evaluate", *MATH, "--data", "{tmp}/single.jsonl"], 'line 1: no text under "question" or "problem"'),
    "a question without an answer": (["evaluate", *MATH, "--data", "{tmp}/open.jsonl"], "{tmp}/open.jsonl, line 1: no final answer"),
    "problems where traces should be": (["sft", *MATH, "--data", "{tmp}/maths.jsonl"], "maths.jsonl, line 1: want"),
    "no data for a checkpoint": (["rl", "--preset", "qwen2.5-0.5b", "--device", "cpu"], "cannot read problems from"),
    "files of problems there are not": (["data", "--files", "{tmp}/nowhere.jsonl"], "{tmp}/nowhere.jsonl"),
    "a broken line to sample": (["sample", "--file", "{tmp}/lines.txt"], "{tmp}/lines.txt, line 2"),
    "no file to sample": (["sample", "--file", "{tmp}/nowhere.txt"], "--file {tmp}/nowhere.txt: cannot be read"),
    # run folders
    "a folder that cannot be written": (["rl", "--out", "{tmp}/file/run"], "cannot write to {tmp}/file/run"),
    "a folder that holds a run": (["rl", "--out", "{tmp}/taken"], "{tmp}/taken already holds a run; go on with it by --resume"),
    "a folder with files in it": (["rl", "--out", "{tmp}/broken"], "{tmp}/broken already holds files"),
    "a name too long": (["rl", "--out", "{tmp}/" + "a" * 300], "File name too long"),
    "a run there is not, to plot": (["plot", "{tmp}/nowhere"], "{tmp}/nowhere"),
    "a run there is not, to go on with": (["rl", "--resume", "{tmp}/nowhere", "--out", ""], "cannot go on with {tmp}/nowhere"),
    "a collect there is not": (["collect", "--resume", "{tmp}/nowhere", "--out", ""], "cannot go on with {tmp}/nowhere"),
    "nothing to go on with": (["rl", "--resume", ""], "--resume: which folder?"),
    "a file to go on with": (["rl", "--resume", "{tmp}/plain/config.json", "--out", ""], "--resume takes a run's folder, not a file"),
    "a checkpoint to go on with": (["rl", "--resume", "data/tiny-sft", "--out", ""], "data/tiny-sft: it is a checkpoint; --resume takes the run's folder"),
    "a run begun elsewhere": (["rl", "--resume", "{tmp}/far", "--out", ""], "its --init models/mine is not there; was it begun in another folder?"),
    "a peer nobody knows": (["bench", "rollout", "--peer", "foo"], "--peer foo: choose one of transformers, trl"),
    "an empty file to sample": (["sample", "--file", "{tmp}/empty.jsonl"], "--file {tmp}/empty.jsonl: it holds no problem"),
    "a file for a study's folder": (["study", "start", "--out", "{tmp}/file"], "cannot write to {tmp}/file"),
    "a run of another stage": (["rl", "--resume", "{tmp}/sft-run", "--out", ""], "epochs 3 in its config.json is no setting of rl; if another stage began it"),
    "settings that are no settings": (["rl", "--resume", "{tmp}/twisted", "--out", ""], "k many in its config.json is no setting"),
    "settings out of range": (["rl", "--resume", "{tmp}/wild", "--out", ""], "--k 1: must be at least 2"),
    "settings that are no JSON": (["train", "--resume", "{tmp}/torn", "--out", ""], "cannot go on with {tmp}/torn"),
    "another setting for a run": (["rl", "--resume", "{tmp}/plain", "--k", "8", "--out", ""], "--k 8: {tmp}/plain was begun with 4"),
    "a run that goes on elsewhere": (["rl", "--resume", "{tmp}/plain"], "a run that is resumed goes on where it is"),
}


def checkpoint(folder: Path, source: Path = GOLDEN, **files):
    """A copy of a checkpoint with some files replaced: by text or bytes, by a dict of changes to JSON, or by nothing."""
    shutil.copytree(source, folder)
    for name, content in files.items():
        path = folder / {"config": "config.json", "weights": "model.safetensors", "tokenizer": "tokenizer.json", "manifest": "manifest.json",
                         "index": "model.safetensors.index.json"}[name]
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
    checkpoint(tmp / "llama", config={"model_type": "llama"})
    checkpoint(tmp / "giant", config={"num_hidden_layers": 4000, "hidden_size": 2**20, "intermediate_size": 2**22})
    checkpoint(tmp / "noconfig", config='{"model_type": "qwen2", ')
    checkpoint(tmp / "escape", index={"weight_map": {"model.norm.weight": "../../secret.safetensors"}})
    checkpoint(tmp / "mute", tokenizer=None)
    checkpoint(tmp / "babel", tokenizer='{"version": "1.0", "model": "none"}')
    checkpoint(tmp / "huge", ROOT / "data/tiny-sft")
    save_file({name: w * 1e30 for name, w in load_file(tmp / "huge/model.safetensors").items()}, tmp / "huge/model.safetensors")
    for name in ("taken", "broken", "sft-run", "twisted", "wild", "torn", "plain", "far"):
        (tmp / name).mkdir()
    for name, settings in {"taken": "{}", "sft-run": '{"epochs": 3}', "twisted": '{"k": "many"}', "wild": '{"k": 1}', "torn": '{"k": ',
                           "plain": '{"k": 4}', "far": '{"init": "models/mine"}'}.items():
        (tmp / name / "config.json").write_text(settings)
    for name, content in {
            "broken/test.jsonl": PROBLEM + '{"numbers": [3, 4], "target": 77}\n', "single.jsonl": PROBLEM, "cut.jsonl": PROBLEM + PROBLEM[:20],
            "empty.jsonl": "", "long.jsonl": '{"numbers": "' + "3" * 2**25 + '"}\n', "words.jsonl": '{"numbers": ["three", 4, 11], "target": 77}\n',
            "maths.jsonl": QUESTION, "open.jsonl": '{"question": "What is truth?"}\n', "file": "", "line.txt": "3 4 11 77\n",
            "lines.txt": "3 4 11 77\n3 4 11\n"}.items():
        (tmp / name).write_text(content)
    (tmp / "binary.jsonl").write_bytes(PROBLEM.encode() + b"\xff\xfe\x00\n")
    return tmp


def everything(*folders: Path) -> list:
    return [(path, path.stat().st_size, path.stat().st_mtime_ns) for folder in folders for path in sorted(folder.rglob("*"))]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_exit_code_2_and_nothing_written(name, mishaps, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    words, message = MISTAKES[name]
    if "--out" not in words and words and words[0] in STAGES:
        words = [*words, "--out", "{tmp}/out"]
    words = [word.format(tmp=mishaps) for word in words]
    if "--out" in words and words[-1] == "":
        words = words[:-2]
    before = everything(mishaps), sorted(ROOT.iterdir()), sorted((ROOT / "data").rglob("*"))
    assert main(words) == 2
    printed = capsys.readouterr()
    assert message.format(tmp=mishaps) in printed.err
    assert printed.err.startswith("t1mini: ") and printed.err.count("\n") == 1 and "Traceback" not in printed.err
    assert (everything(mishaps), sorted(ROOT.iterdir()), sorted((ROOT / "data").rglob("*"))) == before


def test_there_are_many():
    assert len(MISTAKES) >= 60 and len({tuple(words) for words, _ in MISTAKES.values()}) == len(MISTAKES)
    assert sys.version_info >= (3, 11)
