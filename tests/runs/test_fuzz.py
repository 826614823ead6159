"""Whatever the input: nothing comes out but what is documented, within a second and without filling memory.

Each input follows from its component's name and its index, which a failure names beside the input. More:

    python -m pytest tests/runs/test_fuzz.py --fuzz 50000 -k verifier -s
"""

import contextlib
import json
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from fuzz_inputs import answer, json_with_faults, response, weights_with_faults, with_faults
from safetensors.torch import load_file, save_file

from t1mini import sft
from t1mini.penalties import judge
from t1mini.rl import RLConfig
from t1mini.runs import jsonl
from t1mini.runs.checkpoint import load_model, read_config
from t1mini.runs.settings import UserError, from_flags
from t1mini.runs.tokenizer import Tokenizer
from t1mini.tasks import countdown, maths
from t1mini.verifier import answers_equal, extract_answer, verify

GOLDEN = Path(__file__).parents[1] / "golden/qwen2-tiny"
HALVES, INDEX = ("half-1.safetensors", "half-2.safetensors"), "model.safetensors.index.json"
LONGEST_SECONDS, MOST_GROWTH = 1.0, 300  # of one input, of its own processor time; MB over all of them
ROWS = ({"numbers": [3, 4, 11], "target": 77}, {"problem": "x", "answer": 5}, {"question": "", "answer": 2},
        {"problem": "é?", "solution": "\\boxed{2}"}, {"question": "1?", "response": "<think>1</think> 1"})
CONFIGS = [json.loads(path.read_text()) for path in sorted(GOLDEN.parent.glob("*/config.json"))]
TOKENIZER = Tokenizer.from_dir(GOLDEN)
READERS = (lambda path: list(jsonl.read_rows(path)), countdown.load_problems, maths.load_problems,
           lambda path: sft.read_examples(path, TOKENIZER))


# --- components: each yields its input, then runs on it

def verifier(rng: random.Random, folder: Path):
    pair = answer(rng), answer(rng)
    pair = (pair[0], with_faults(pair[0], rng)) if rng.random() < 0.3 else pair
    text = response(rng)
    yield text, *pair
    assert isinstance(extract_answer(text), str | None)
    assert {type(verify(text, gold)) for gold in pair} == {bool}
    assert answers_equal(pair[0], pair[0]) and answers_equal(*pair) is answers_equal(*pair[::-1])


def judge_both(rng: random.Random, folder: Path):
    text, ids, finished = response(rng), rng.choices(range(9), k=rng.choice((0, 1, 40))), rng.random() < 0.7
    problem = maths.Problem("?", answer(rng))
    yield text, ids, finished, problem
    for task, given in ((countdown, countdown.Problem((3, 4, 11), 77)), (maths, problem)):
        verdict = judge(task, given, text, ids, finished=finished, max_new_tokens=40, repeat_limit=4)
        assert verdict.reward in (-1.0, 0.0, 1.0)


def rows(rng: random.Random, folder: Path):
    kind = rng.choice(ROWS)
    whole = json.dumps(kind).encode()
    lines = [rng.choice((json_with_faults(kind, rng), whole)) for _ in range(rng.randrange(4))]
    ends, marks = (b"\n", b"\n", b"\r\n", b"\n\n", b"\r"), (b"", b"", b"", b"\xef\xbb\xbf", b"\xff\xfe")
    content = rng.choice(ends).join([*lines, rng.choice((b"", b"", b'{"a'))])
    yield write(folder / "rows.jsonl", rng.choice(marks) + content)
    for read in READERS:
        refused(read, folder / "rows.jsonl")


def config(rng: random.Random, folder: Path):
    yield write(folder / "config.json", json_with_faults(rng.choice(CONFIGS), rng))
    refused(read_config, folder / "config.json")


def settings(rng: random.Random, folder: Path):
    kind = rng.choice((RLConfig, sft.SFTConfig))
    yield kind, write(folder / "config.json", json_with_faults(kind().to_dict(), rng))
    with contextlib.suppress(UserError):
        from_flags(kind, {"resume": str(folder)})


def checkpoint(rng: random.Random, folder: Path):
    yield from spoiled(rng, folder, ("model.safetensors",), load_model)


def shards(rng: random.Random, folder: Path):
    if (folder / "model.safetensors").exists():  # into two files and an index
        tensors = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        index = {name: HALVES[i % 2] for i, name in enumerate(tensors)}
        for file in HALVES:
            save_file({name: x for name, x in tensors.items() if index[name] == file}, folder / file)
        write(folder / INDEX, json.dumps({"metadata": {}, "weight_map": index}).encode())
        load_model(folder)
    yield from spoiled(rng, folder, (*HALVES, INDEX), load_model)


def tokenizer(rng: random.Random, folder: Path):
    yield from spoiled(rng, folder, ("tokenizer.json", "tokenizer_config.json", "config.json"), Tokenizer.from_dir)


def spoiled(rng: random.Random, folder: Path, names, read):
    """One of the files of `folder` with faults, while `read` reads them."""
    path = folder / rng.choice(names)
    whole = path.read_bytes()
    is_json = path.suffix == ".json"
    content = json_with_faults(json.loads(whole), rng) if is_json else weights_with_faults(whole, rng)
    yield path.name, write(path, content)
    refused(read, folder)
    path.write_bytes(whole)


def write(path: Path, content: bytes) -> bytes:
    path.write_bytes(content)
    return content[:2000]


def refused(read, path) -> None:
    """Reads; a UserError must be one line of reasonable length that names the file or its folder."""
    try:
        read(path)
    except UserError as error:
        text = str(error)
        assert str(path) in text and len(text) < len(str(path)) * 2 + 700 and "\n" not in text, text


COMPONENTS = verifier, judge_both, rows, config, settings, checkpoint, shards, tokenizer


class Hang(BaseException):
    """No Exception, which a reader might take for its own."""


def give_up(*_):
    raise Hang


@pytest.mark.skipif(sys.platform == "win32", reason="needs the clock of a process and its peak of memory")
@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.__name__)
def test_whatever_the_input_nothing_undocumented_comes_out(component, tmp_path, pytestconfig):
    import resource
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    load_model(shutil.copytree(GOLDEN, tmp_path, dirs_exist_ok=True))  # what torch loads is not the input's
    before, slowest, count = peak(), (0.0, 0), pytestconfig.getoption("fuzz")
    handler = signal.signal(signal.SIGVTALRM, give_up)
    for i in range(count):
        run = component(random.Random(f"{component.__name__} {i}"), tmp_path)
        given, begun = next(run), time.thread_time()
        place = f"{component.__name__}, index {i}: {given!r}"
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, 30)  # of this process's own seconds
            next(run, None)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic in Rust is no Exception
            raise AssertionError(f"{type(error).__name__}: {error}; {place}") from error
        slowest = max(slowest, (time.thread_time() - begun, i))
        assert slowest[0] < LONGEST_SECONDS, f"{slowest[0]:.1f} s; {place}"
    signal.signal(signal.SIGVTALRM, handler)
    print(f"{count} inputs, slowest {slowest[0]:.3f} s ({slowest[1]}), memory +{peak() - before:.0f} MB")
    assert peak() - before < MOST_GROWTH
