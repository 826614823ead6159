"""Text and ids are exact inverses for Countdown's words, Qwen's tokenizers give the ids that transformers
gives, and a broken tokenizer is reported by the file at fault."""

import json
import shutil
from pathlib import Path

import pytest
from tokenizers.processors import TemplateProcessing

from t1mini.runs.settings import UserError
from t1mini.runs.tokenizer import Tokenizer
from t1mini.tasks import countdown, maths

GOLDEN = Path(__file__).parents[1] / "golden"
QWENS = ["qwen2-tiny", "qwen3-tiny", "llama-tiny"]
TRACE = "3 + 11 = 14 * 4 = 56 low 3 + 4 = 7 * 11 = 77 check 3 + 4 = 7 , 7 * 11 = 77 ok answer 3 + 4 * 11"


def expected_cases(name: str) -> list[dict]:
    return json.loads((GOLDEN / name / "expected.json").read_text(encoding="utf-8"))["cases"]


def test_countdown_has_one_token_a_word_and_no_other():
    tokenizer = countdown.make_tokenizer()
    for text in (TRACE, "make 77 from 3 4 11 :", "90 - 0 = 90 / 5 = 18 high stop answer none"):
        ids = tokenizer.encode(text)
        assert len(ids) == len(text.split()) and tokenizer.decode(ids) == text
        assert tokenizer.decode([*ids, tokenizer.eos_id, tokenizer.pad_id]) == text
    ids = [i for word in countdown.WORDS for i in tokenizer.encode(word)]
    assert sorted([tokenizer.pad_id, tokenizer.eos_id, *ids]) == list(range(tokenizer.size))


def test_encoding_adds_no_token_that_the_text_does_not_have():
    tokenizer = countdown.make_tokenizer()
    plain, end = tokenizer.encode(TRACE), tokenizer.eos_id
    tokenizer.backend.post_processor = TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", end)])
    assert tokenizer.encode(TRACE) == plain


@pytest.mark.parametrize("source", ["countdown", *QWENS])
def test_a_saved_tokenizer_loads_equal(source, tmp_path):
    tokenizer = countdown.make_tokenizer() if source == "countdown" else Tokenizer.from_dir(GOLDEN / source)
    tokenizer.save(tmp_path)
    loaded = Tokenizer.from_dir(tmp_path)
    for name in ("eos_id", "pad_id", "size", "end_ids", "files"):
        assert getattr(loaded, name) == getattr(tokenizer, name)
    ids = tokenizer.encode(TRACE)
    assert loaded.encode(TRACE) == ids and loaded.decode(ids) == tokenizer.decode(ids) == TRACE


@pytest.mark.parametrize("name", QWENS)
def test_qwen_ids_are_those_of_transformers_and_decode_back(name):
    tokenizer = Tokenizer.from_dir(GOLDEN / name)
    assert [tokenizer.eos_id] == tokenizer.encode("<|im_end|>") and tokenizer.eos_id == 423
    assert [tokenizer.pad_id] == tokenizer.encode("<|endoftext|>") and tokenizer.size == 424
    assert tokenizer.end_ids == [tokenizer.pad_id, tokenizer.eos_id]
    for case in expected_cases(name):
        assert tokenizer.encode(case["text"]) == case["ids"]
        plain = case["text"].replace("<|im_start|>", "").replace("<|im_end|>", "")
        assert tokenizer.decode(case["ids"]) == plain
        assert tokenizer.decode(case["ids"], special=True) == case["text"]


def test_a_chat_prompt_opens_the_assistants_turn():
    question = "How many ribbons altogether?"
    tokenizer, expected = Tokenizer.from_dir(GOLDEN / "qwen2-tiny"), expected_cases("qwen2-tiny")[1]
    assert expected["text"] == f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.can_chat and tokenizer.chat_prompt(question) == expected["ids"]
    assert not countdown.make_tokenizer().can_chat


def rewrite(path: Path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_a_base_models_tokenizer_asked_as_a_chat_ends_its_turns_too(folder):
    rewrite(folder / "tokenizer_config.json", eos_token="<|endoftext|>")
    tokenizer = Tokenizer.from_dir(folder)
    assert tokenizer.can_chat and tokenizer.eos_id == 423 and tokenizer.end_ids == [421, 423] and tokenizer.pad_id == 421


@pytest.mark.parametrize("missing", ["<|im_start|>", "<|im_end|>"])
def test_a_tokenizer_without_chat_tokens_reads_and_writes_but_says_that_it_cannot_chat(missing, folder):
    tokens = (folder / "tokenizer.json").read_text(encoding="utf-8").replace(missing, "<|other|>")
    (folder / "tokenizer.json").write_text(tokens, encoding="utf-8")
    rewrite(folder / "tokenizer_config.json", eos_token="<|endoftext|>")
    tokenizer = Tokenizer.from_dir(folder)
    assert tokenizer.eos_id == 421 and tokenizer.decode(tokenizer.encode(TRACE)) == TRACE and not tokenizer.can_chat
    with pytest.raises(UserError, match=r"has no <\|im_start\|>"):
        maths.require_tokenizer(tokenizer, folder)


def test_truncation_and_padding_that_a_training_left_on_are_off(folder):
    plain, text = Tokenizer.from_dir(folder), TRACE * 3
    truncation = {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}
    padding = {"strategy": {"Fixed": 512}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 421,
               "pad_type_id": 0, "pad_token": "<|endoftext|>"}
    rewrite(folder / "tokenizer.json", truncation=truncation, padding=padding)
    tokenizer = Tokenizer.from_dir(folder)
    assert tokenizer.encode(text) == plain.encode(text) and tokenizer.encode("1") == plain.encode("1")
    tokenizer.save(folder)
    assert Tokenizer.from_dir(folder).chat_prompt(text) == plain.chat_prompt(text)


@pytest.fixture
def folder(tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(GOLDEN / "qwen2-tiny" / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff"])
def test_a_missing_or_broken_file_is_reported_by_name(name, content, folder):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        Tokenizer.from_dir(folder)


@pytest.mark.parametrize("config", [
    {}, {"eos_token": {}}, {"eos_token": 7}, {"eos_token": "<|nowhere|>"},
    {"eos_token": "<|im_end|>", "pad_token": "<|nowhere|>"},
])
def test_a_config_without_usable_tokens_is_reported(config, folder):
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError, match="tokenizer_config.json: eos_token or pad_token is no token of"):
        Tokenizer.from_dir(folder)


def test_a_token_may_be_written_as_an_object_and_padding_defaults_to_the_end_token(folder):
    (folder / "tokenizer_config.json").write_text('{"eos_token": {"content": "<|im_end|>"}}')
    tokenizer = Tokenizer.from_dir(folder)
    assert tokenizer.eos_id == tokenizer.pad_id == 423


def test_a_prefix_that_the_package_cannot_cut_by_is_refused(tmp_path):
    shutil.copytree(GOLDEN / "qwen2-tiny", tmp_path, dirs_exist_ok=True)
    tokens = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    tokens["model"]["continuing_subword_prefix"] = "\n"
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokens), encoding="utf-8")
    with pytest.raises(UserError, match="continuing_subword_prefix is not for bytes"):
        Tokenizer.from_dir(tmp_path)
