"""Text and ids are exact inverses for Countdown's words, Qwen's tokenizers give the ids that transformers gives, and a broken
tokenizer is reported by the file at fault."""

import json
import shutil
from pathlib import Path

import pytest
from tokenizers.processors import TemplateProcessing

from t1mini.tasks import countdown
from t1mini.runs.settings import UserError
from t1mini.runs.tokenizer import Tokenizer

GOLDEN = Path(__file__).parents[1] / "golden"
QWENS = ["qwen2-tiny", "qwen3-tiny"]
QUESTION = "How many ribbons altogether?"
TRACE = "3 + 11 = 14 * 4 = 56 low 3 + 4 = 7 * 11 = 77 check 3 + 4 = 7 , 7 * 11 = 77 ok answer 3 + 4 * 11"


def expected_cases(name: str) -> list[dict]:
    return json.loads((GOLDEN / name / "expected.json").read_text(encoding="utf-8"))["cases"]


# --- Countdown ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text", [TRACE, "make 77 from 3 4 11 :", "90 - 0 = 90 / 5 = 18 high stop answer none"])
def test_countdown_text_comes_back_from_its_ids_one_a_word(text):
    tokenizer = countdown.make_tokenizer()
    ids = tokenizer.encode(text)
    assert len(ids) == len(text.split()) and tokenizer.decode(ids) == text


def test_every_countdown_word_and_number_has_an_id_of_its_own():
    tokenizer = countdown.make_tokenizer()
    words = [*map(str, range(100)), *countdown.WORDS]
    ids = [i for word in words for i in tokenizer.encode(word)]
    assert sorted([tokenizer.pad_id, tokenizer.eos_id, *ids]) == list(range(tokenizer.size))


def test_the_end_token_and_the_padding_are_not_text():
    tokenizer = countdown.make_tokenizer()
    assert tokenizer.eos_id != tokenizer.pad_id
    assert tokenizer.decode([*tokenizer.encode("answer none"), tokenizer.eos_id, tokenizer.pad_id]) == "answer none"


def test_encoding_adds_no_token_that_the_text_does_not_have():
    tokenizer = countdown.make_tokenizer()
    plain = tokenizer.encode(TRACE)
    tokenizer.backend.post_processor = TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", tokenizer.eos_id)])
    assert tokenizer.encode(TRACE) == plain


@pytest.mark.parametrize("source", ["countdown", *QWENS])
def test_a_saved_tokenizer_loads_equal(source, tmp_path):
    tokenizer = countdown.make_tokenizer() if source == "countdown" else Tokenizer.from_dir(GOLDEN / source)
    tokenizer.save(tmp_path)
    loaded = Tokenizer.from_dir(tmp_path)
    for name in ("eos_id", "pad_id", "size"):
        assert getattr(loaded, name) == getattr(tokenizer, name)
    ids = tokenizer.encode(TRACE)
    assert loaded.encode(TRACE) == ids and loaded.decode(ids) == tokenizer.decode(ids) == TRACE


def test_only_countdowns_own_tokenizer_passes_as_such():
    countdown.require_tokenizer(countdown.make_tokenizer(), "here")
    for other in (Tokenizer.from_dir(GOLDEN / "qwen2-tiny"), Tokenizer.for_words(["1", "2"])):
        with pytest.raises(UserError, match="here"):
            countdown.require_tokenizer(other, "here")


# --- Qwen -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", QWENS)
@pytest.mark.parametrize("case", range(3))
def test_qwen_ids_are_those_of_transformers_and_decode_back(name, case):
    tokenizer, expected = Tokenizer.from_dir(GOLDEN / name), expected_cases(name)[case]
    assert tokenizer.encode(expected["text"]) == expected["ids"]
    plain = expected["text"].replace("<|im_start|>", "").replace("<|im_end|>", "")
    assert tokenizer.decode(expected["ids"]) == plain


@pytest.mark.parametrize("name", QWENS)
def test_qwen_stops_at_im_end_and_pads_with_endoftext(name):
    tokenizer = Tokenizer.from_dir(GOLDEN / name)
    assert [tokenizer.eos_id] == tokenizer.encode("<|im_end|>") and [tokenizer.pad_id] == tokenizer.encode("<|endoftext|>")
    assert tokenizer.size == 424 and tokenizer.eos_id == 423


def test_a_chat_prompt_opens_the_assistants_turn():
    tokenizer, expected = Tokenizer.from_dir(GOLDEN / "qwen2-tiny"), expected_cases("qwen2-tiny")[1]
    assert expected["text"] == f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.chat_prompt(QUESTION) == expected["ids"]


def test_a_tokenizer_without_chat_tokens_refuses_a_chat_prompt():
    with pytest.raises(UserError, match="im_start"):
        countdown.make_tokenizer().chat_prompt(QUESTION)


# --- broken files ---------------------------------------------------------------------------------------------------

@pytest.fixture
def folder(tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(GOLDEN / "qwen2-tiny" / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff"], ids=["missing", "empty", "cut short", "a list", "not text"])
def test_a_missing_or_broken_file_is_reported_by_name(name, content, folder):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        Tokenizer.from_dir(folder)


@pytest.mark.parametrize("config", [{}, {"eos_token": None}, {"eos_token": {}}, {"eos_token": 7}], ids=str)
def test_a_config_without_a_usable_eos_token_is_reported(config, folder):
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError, match="eos_token"):
        Tokenizer.from_dir(folder)


@pytest.mark.parametrize("key", ["eos_token", "pad_token"])
def test_a_named_token_that_does_not_exist_is_reported(key, folder):
    config = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", key: "<|nowhere|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError, match=r"<\|nowhere\|>"):
        Tokenizer.from_dir(folder)


def test_a_token_may_be_written_as_an_object_and_padding_defaults_to_the_end_token(folder):
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "<|im_end|>"}}), encoding="utf-8")
    tokenizer = Tokenizer.from_dir(folder)
    assert tokenizer.eos_id == tokenizer.pad_id == 423
