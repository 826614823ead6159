"""Whatever the input: nothing comes out but what is documented, within a second and without filling the memory.

Inputs are valid ones with faults, near-misses put together from a grammar, and noise. Each follows from the
component's name and its index alone, which a failure names beside the input itself. Many more of them:

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
from t1mini.penalties import is_garbled, is_overlong, is_repetitive, penalised_reward
from t1mini.reward import judge
from t1mini.rl import RLConfig
from t1mini.runs import jsonl
from t1mini.runs.checkpoint import load_model, read_config
from t1mini.runs.settings import UserError, from_flags
from t1mini.runs.tokenizer import Tokenizer
from t1mini.tasks import countdown, maths
from t1mini.verifier import answers_equal, extract_answer, verify

try:
    import resource
except ImportError:  # not on Windows
    resource = None

GOLDEN = Path(__file__).parents[1] / "golden/qwen2-tiny"
SEED = 0
LONGEST_SECONDS, MOST_GROWTH = 1.0, 300  # of one input, of its own processor time; MB over all of them


# --- components: each yields its input, then runs on it ---------------------------------------------------------

def verifier(rng: random.Random, folder: Path):
    pair = answer(rng), answer(rng)
    pair = (pair[0], with_faults(pair[0], rng)) if rng.random() < 0.3 else pair
    text = response(rng)
    yield text, *pair
    assert isinstance(extract_answer(text), str | None) and {type(verify(text, gold)) for gold in pair} == {bool}
    assert answers_equal(pair[0], pair[0]) and answers_equal(*pair) is answers_equal(*pair[::-1])


def penalties(rng: random.Random, folder: Path):
    ids = [rng.randrange(rng.choice((1, 2, 500))) for _ in range(rng.choice((0, 1, 20, 1000)))]
    text, n, limit = response(rng), rng.randint(-1, 25), rng.randint(-1, 5)
    yield text, ids, n, limit
    try:
        flags = is_repetitive(ids, n, limit), is_overlong(len(ids), rng.random() < 0.5, 20), is_garbled(text)
        assert penalised_reward(1.0, *flags) == (-1.0 if any(flags) else 1.0)
    except ValueError as error:
        assert min(n, limit) < 1, error


def judge_both(rng: random.Random, folder: Path):
    text, ids, finished = response(rng), rng.choices(range(9), k=rng.choice((0, 1, 40))), rng.random() < 0.7
    problem = maths.Problem("?", answer(rng))
    yield text, ids, finished, problem
    for task, given in (("countdown", countdown.Problem((3, 4, 11), 77)), ("math", problem)):
        verdict = judge(task, given, text, ids, finished=finished, max_new_tokens=40, repeat_limit=4)
        assert verdict.reward in (-1.0, 0.0, 1.0)


ROWS = ({"numbers": [3, 4, 11], "target": 77}, {"question": "1 + 1?", "answer": "two #### 2"}, {"problem": "x", "answer": 5},
        {"problem": "é?", "solution": "\\boxed{2}"}, {"question": "1?", "response": "<think>1.</think> \\boxed{1}"})
CONFIGS = [json.loads((GOLDEN.parent / name / "config.json").read_text()) for name in ("qwen2-tiny", "qwen3-tiny")]
TOKENIZER = Tokenizer.from_dir(GOLDEN)
READERS = (lambda path: list(jsonl.read_rows(path)), countdown.load_problems, maths.load_problems,
           lambda path: sft.read_examples(path, TOKENIZER))
SETTINGS = RLConfig, sft.SFTConfig


def rows(rng: random.Random, folder: Path):
    kind = rng.choice(ROWS)
    lines = [json_with_faults(kind, rng) if rng.random() < 0.6 else json.dumps(kind).encode()
             for _ in range(rng.choice((0, 1, 3)))]
    content = rng.choice((b"\n", b"\n", b"\r\n", b"\n\n", b"\r")).join([*lines, rng.choice((b"", b"", b'{"a'))])
    yield write(folder / "rows.jsonl", rng.choice((b"", b"", b"", b"\xef\xbb\xbf", b"\xff\xfe")) + content)
    for read in READERS:
        refused(read, folder / "rows.jsonl")


def config(rng: random.Random, folder: Path):
    yield write(folder / "config.json", json_with_faults(rng.choice(CONFIGS), rng))
    refused(read_config, folder / "config.json")


def settings(rng: random.Random, folder: Path):
    kind = rng.choice(SETTINGS)
    yield kind, write(folder / "config.json", json_with_faults(kind().to_dict(), rng))
    with contextlib.suppress(UserError):
        from_flags(kind, {"resume": str(folder)})


def safetensors(rng: random.Random, folder: Path):
    copied(folder)
    yield write(folder / "model.safetensors", weights_with_faults((GOLDEN / "model.safetensors").read_bytes(), rng))
    refused(load_model, folder)


def shards(rng: random.Random, folder: Path):
    source = copied(folder / "source")
    if (source / "model.safetensors").exists():  # into two files and an index
        (source / "model.safetensors").unlink()
        tensors, half = load_file(GOLDEN / "model.safetensors"), lambda i: f"model-0000{i % 2 + 1}-of-00002.safetensors"
        index = {name: half(i) for i, name in enumerate(tensors)}
        for file in set(index.values()):
            save_file({name: tensors[name] for name in tensors if index[name] == file}, source / file)
        (source / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
        refused(load_model, source)
    broken = copied(folder / "broken", source)
    path = broken / rng.choice(sorted(path.name for path in source.glob("model*")))
    content = path.read_bytes()
    is_index = path.suffix == ".json"
    yield path.name, write(path, json_with_faults(json.loads(content), rng) if is_index else weights_with_faults(content, rng))
    refused(load_model, broken)
    write(path, content)


def tokenizer(rng: random.Random, folder: Path):
    path = copied(folder) / rng.choice(("tokenizer.json", "tokenizer.json", "tokenizer_config.json"))
    content = path.read_bytes()
    yield path.name, write(path, json_with_faults(json.loads(content), rng))
    refused(Tokenizer.from_dir, folder)
    write(path, content)


def write(path: Path, content: bytes) -> bytes:
    path.write_bytes(content)
    return content[:2000]


def copied(folder: Path, source: Path = GOLDEN) -> Path:
    return folder if (folder / "config.json").exists() else Path(shutil.copytree(source, folder, dirs_exist_ok=True))


def refused(read, path) -> None:
    """Reads; a UserError must be one line of reasonable length that names the file or its folder."""
    try:
        read(path)
    except UserError as error:
        text = str(error)
        assert str(path) in text and len(text) < len(str(path)) * 2 + 700 and "\n" not in text, text


# --- the test ---------------------------------------------------------------------------------------------------

def peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if resource else 0
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


class Hang(BaseException):
    """Its own processor time is over: no Exception, which a reader might take for its own."""


def give_up(*_):
    raise Hang


@pytest.fixture(autouse=True)
def hanging_ends():
    """ITIMER_VIRTUAL counts this process's own time: what else the machine does is no matter."""
    if not hasattr(signal, "setitimer"):  # Windows
        yield lambda seconds: None
        return
    before = signal.signal(signal.SIGVTALRM, give_up)
    yield lambda seconds: signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


@pytest.mark.parametrize("component", [verifier, penalties, judge_both, rows, config, settings, safetensors, shards, tokenizer],
                         ids=lambda component: component.__name__)
def test_whatever_the_input_nothing_undocumented_comes_out(component, tmp_path, pytestconfig, hanging_ends):
    load_model(GOLDEN)  # what torch loads when it is first used is not the input's
    before, slowest, count = peak_mb(), (0.0, 0), pytestconfig.getoption("fuzz")
    for i in range(count):
        run = component(random.Random(f"{component.__name__} {SEED} {i}"), tmp_path)
        given, begun = next(run), time.thread_time()
        place = f"{component.__name__}, seed {SEED}, index {i}: {given!r}"
        hanging_ends(30)
        try:
            next(run, None)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic in Rust is no Exception
            raise AssertionError(f"{type(error).__name__}: {error}; {place}") from error
        slowest = max(slowest, (time.thread_time() - begun, i))
        assert slowest[0] < LONGEST_SECONDS, f"{slowest[0]:.1f} s; {place}"
    growth = peak_mb() - before
    print(f"{component.__name__}: {count} inputs, slowest {slowest[0]:.3f} s ({slowest[1]}), memory +{growth:.0f} MB")
    assert growth < MOST_GROWTH
