"""Checkpoints survive a round trip, and every broken one is a single clear error that names what is wrong."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from t1mini.runs.checkpoint import load_model, load_policy, read_config, save_model, save_policy
from t1mini.runs.settings import UserError
from t1mini.runs.tokenizer import Tokenizer

GOLDEN = Path(__file__).parents[1] / "golden"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
CONFIGS = (GOLDEN.parent / "runs/configs.txt").read_text().splitlines()[1:]
CONFIGS = list(zip(CONFIGS[::2], CONFIGS[1::2], strict=True))


@pytest.fixture
def folder(tmp_path):
    """A copy of a golden checkpoint, to be broken."""
    return Path(shutil.copytree(GOLDEN / "qwen2-tiny", tmp_path / "model"))


@pytest.fixture
def sharded(tmp_path):
    """A checkpoint in three files, to be broken."""
    return Path(shutil.copytree(GOLDEN / "qwen3-tiny", tmp_path / "sharded"))


def edit_json(path: Path, **changes):
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def edit_weights(path: Path, **changes):
    """Tensors changed by a function, which makes new ones of None; those for which it gives None go."""
    tensors = load_file(path)
    for name, change in changes.items():
        tensors[name] = change(tensors.get(name))
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)


def refusal(folder: Path, load=load_model) -> str:
    """What `load` says of the folder, in one line and within a second of work."""
    begun = time.process_time()
    with pytest.raises(UserError) as error:
        load(folder)
    text = str(error.value)
    assert str(folder) in text and "\n" not in text and len(text) < 700 and time.process_time() - begun < 1
    return text


def same(a, b, convert=lambda tensor: tensor) -> bool:
    return all(torch.equal(convert(p), q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("name", ["qwen2-tiny", "qwen3-tiny", "llama-tiny"])
def test_a_saved_model_loads_equal(name, tmp_path):
    model = load_model(GOLDEN / name)
    save_model(model, tmp_path)
    before, after = (json.loads((at / "config.json").read_text()) for at in (GOLDEN / name, tmp_path))
    assert all(before[field] == after[field] for field in ("model_type", "architectures"))
    assert load_model(tmp_path).config == model.config and same(model, load_model(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", WEIGHTS]
    tied = "lm_head.weight" not in load_file(tmp_path / WEIGHTS)
    assert tied == model.config.tie_word_embeddings  # written once
    save_model(model, tmp_path, dtype=torch.bfloat16)
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == "bfloat16"
    assert same(model, load_model(tmp_path), lambda p: p.bfloat16().float())
    assert load_model(tmp_path, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_one_file_takes_the_place_of_several(sharded):
    model = load_model(sharded)
    with torch.no_grad():
        model.norm.weight.add_(1)
    save_model(model, sharded)
    assert not (sharded / INDEX).exists() and same(model, load_model(sharded))


def test_a_policy_is_model_and_tokenizer(tmp_path):
    model, tokenizer = load_policy(GOLDEN / "qwen2-tiny")
    save_policy(model, tokenizer, tmp_path)
    assert load_policy(tmp_path)[1].encode("Wait, 7 * 11") == tokenizer.encode("Wait, 7 * 11")
    save_policy(model, Tokenizer.for_words([f"w{i}" for i in range(600)]), tmp_path)
    with pytest.raises(UserError, match="tokenizer has 602 ids, the model only 512"):
        load_policy(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_point_numbers_of_any_width_are_read(folder, dtype):
    model = load_model(folder)
    edit_weights(folder / WEIGHTS, **{name: lambda w: w.to(dtype) for name in load_file(folder / WEIGHTS)})
    assert same(model, load_model(folder), lambda p: p.to(dtype).float())


@pytest.mark.parametrize("change, message", CONFIGS, ids=lambda text: text[:60])
def test_a_config_that_does_not_fit_is_named(folder, change, message, monkeypatch):
    monkeypatch.setattr(Tensor, "to", None)  # headers are compared before any number is read
    edit_json(folder / "config.json", **json.loads(change))
    assert message.strip() in refusal(folder)


SLIDING = ["full_attention", "sliding_attention", "sliding_attention"]
HARMLESS = [
    {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 3},
    {"use_sliding_window": True, "sliding_window": None, "max_window_layers": 0},  # None takes the field away, too
    {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0, "layer_types": ["full_attention"] * 3},
    {"use_sliding_window": True, "sliding_window": 512, "max_window_layers": 1, "layer_types": SLIDING},
    {"sliding_window": 4, "max_window_layers": 0},
    {"rope_theta": 5.0, "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}},
    {"rope_theta": 5.0, "rope_scaling": {"type": "default", "rope_theta": 1000000, "partial_rotary_factor": 1.0}},
    {"rope_scaling": {}, "rope_parameters": None, "partial_rotary_factor": 1.0, "pretraining_tp": 2},
    {"attention_bias": False},  # of a Qwen2 that has them
    {"tie_word_embeddings": None, "rms_norm_eps": None, "initializer_range": None},
]


@pytest.mark.parametrize("change", HARMLESS, ids=lambda change: " ".join(change)[:60])
def test_what_has_no_effect_is_read_as_transformers_reads_it(folder, change):
    config = json.loads((folder / "config.json").read_text()) | change  # with nulls
    (folder / "config.json").write_text(json.dumps(config))
    model, plain = load_model(folder), load_model(GOLDEN / "qwen2-tiny")
    assert model.config == plain.config and same(model, plain)


def test_a_number_left_out_is_what_its_family_has(folder):
    config = lambda name, **changes: read_config(altered(folder, GOLDEN / name, changes))
    assert config("llama-tiny", num_key_value_heads=None).num_key_value_heads == 6
    assert config("llama-tiny", head_dim=None).head_dim == 10
    assert config("llama-tiny", max_position_embeddings=None).max_position_embeddings == 2048
    assert config("qwen3-tiny", head_dim=None).head_dim == 128
    assert config("qwen3-tiny", max_position_embeddings=None).max_position_embeddings == 32768


def altered(folder: Path, source: Path, changes: dict) -> Path:
    """A config.json with fields that are null."""
    config = json.loads((source / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "config.json"


def test_a_qwen2_without_biases_is_saved_as_the_llama_that_it_is(tmp_path):
    folder, llama = Path(shutil.copytree(GOLDEN / "llama-tiny", tmp_path / "model")), load_model(GOLDEN / "llama-tiny")
    edit_json(folder / "config.json", model_type="qwen2", architectures=["Qwen2ForCausalLM"])
    assert same(load_model(folder), llama)
    save_model(load_model(folder), tmp_path / "saved")
    assert json.loads((tmp_path / "saved/config.json").read_text())["model_type"] == "llama"
    assert load_model(tmp_path / "saved").config == llama.config
    edit_json(folder / "config.json", attention_bias=True)
    assert "k_proj.bias of shape [20] is missing" in refusal(folder)


@pytest.mark.parametrize("name", ["qwen3-tiny", "llama-tiny"])
def test_an_output_matrix_beside_the_embedding_that_it_is_tied_to_must_be_the_same(name, tmp_path):
    folder, embedding = Path(shutil.copytree(GOLDEN / name, tmp_path / "model")), "model.embed_tokens.weight"
    file = next(path for path in sorted(folder.glob("model*.safetensors")) if embedding in load_file(path))
    rows = load_file(file)[embedding]
    edit_weights(file, **{"lm_head.weight": lambda w: rows.clone()})
    assert same(load_model(folder), load_model(GOLDEN / name))
    edit_weights(file, **{"lm_head.weight": lambda w: w * 1.01})
    assert "lm_head.weight is not the embedding, as tie_word_embeddings" in refusal(folder)
    edit_weights(file, **{"lm_head.weight": lambda w: w[:, :4].contiguous()})
    assert "lm_head.weight is not the embedding" in refusal(folder)
    edit_weights(file, **{"lm_head.weight": lambda w: torch.tensor(1.0)})
    assert "lm_head.weight is not the embedding" in refusal(folder)


def test_frequencies_that_old_checkpoints_store_are_passed_over(folder):
    edit_weights(folder / WEIGHTS, **{"model.layers.0.self_attn.rotary_emb.inv_freq": lambda w: torch.ones(8)})
    assert same(load_model(folder), load_model(GOLDEN / "qwen2-tiny"))


@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_who_may_read_a_saved_model_is_as_umask_says(mask, mode, tmp_path):
    before = os.umask(mask)
    try:
        model, tokenizer = load_policy(GOLDEN / "llama-tiny")
        save_policy(model, tokenizer, tmp_path / "policy")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("*/*")}
    assert len(modes) == 6 and set(modes.values()) == {mode}, modes


END_IDS = [
    ({"eos_token_id": [421, 400]}, {"eos_token_id": 7}, [400, 421, 423]),
    ({"eos_token_id": 5}, {}, [5, 421, 423]),
    ({}, {"eos_token_id": [5, 9]}, [5, 9, 421, 423]),
    (None, {"eos_token_id": 5}, [5, 421, 423]),
    ({"eos_token_id": None}, {"eos_token_id": None}, [421, 423]),
]


@pytest.mark.parametrize("generation, config, ends", END_IDS, ids=range(len(END_IDS)))
def test_every_id_that_ends_a_response_is_read_and_kept(generation, config, ends, folder, tmp_path):
    altered(folder, folder, config)
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    model, tokenizer = load_policy(folder)
    assert tokenizer.end_ids == ends and tokenizer.eos_id == 423
    save_policy(model, tokenizer, tmp_path / "saved")
    assert json.loads((tmp_path / "saved/generation_config.json").read_text())["eos_token_id"] == ends
    assert load_policy(tmp_path / "saved")[1].end_ids == ends


@pytest.mark.parametrize("name", ["generation_config.json", "config.json"])
@pytest.mark.parametrize("ends", [424, -1, [423, 10**9], "423", 2.0, True, [[423]], {"id": 423}], ids=str)
def test_an_end_id_that_no_token_has_is_refused(ends, name, folder):
    (folder / name).write_text(json.dumps(json.loads((folder / "config.json").read_text()) | {"eos_token_id": ends}))
    assert f"{name}: eos_token_id is" in refusal(folder, load_policy)


NORM, NOT_FINITE = "model.norm.weight", "tensor norm.weight holds what is not a finite number"
TENSORS = [
    (NORM, lambda w: w.fill_(float("nan")), NOT_FINITE),
    (NORM, lambda w: w.double() * 1e300, NOT_FINITE),
    *((NORM, lambda w, dtype=dtype: w.to(dtype), "is there twice, or holds no floating-point")
      for dtype in (torch.int32, torch.bool, torch.float8_e4m3fn, torch.complex64)),
    ("model.layers.1.mlp.up_proj.weight", lambda w: None, "up_proj.weight of shape [160, 64] is missing"),
    ("norm.weight", lambda w: torch.ones(64), "tensor norm.weight is there twice"),
    ("\x1b[2J" + "x" * 10**5, lambda w: torch.ones(64), r"tensor \x1b[2Jxxxx"),  # short and harmless
]


@pytest.mark.parametrize("name, change, message", TENSORS, ids=range(len(TENSORS)))
def test_a_tensor_that_does_not_fit_is_named(folder, name, change, message):
    edit_weights(folder / WEIGHTS, **{name: change})
    assert message in refusal(folder)


def test_a_tensor_in_two_files_or_in_none_is_named(sharded):
    first, second = sorted(sharded.glob("model-*.safetensors"))[:2]
    name, other = min(load_file(first)), min(load_file(second))
    edit_weights(first, **{other: lambda w: load_file(second)[other]})
    assert f"tensor {other.removeprefix('model.')} is there twice" in refusal(sharded)
    edit_weights(first, **{other: lambda w: None, name: lambda w: None})
    assert "is missing" in (text := refusal(sharded)) and f"tensor {name.removeprefix('model.')} of" in text


@pytest.mark.parametrize("size", [None, 0, 1, 2**24 + 1, 2**63])
def test_a_file_cut_short_or_with_another_header_than_it_says_is_refused(folder, size):
    content = (folder / WEIGHTS).read_bytes()
    broken = content[:1000] if size is None else size.to_bytes(8, "little") + content[8:]
    (folder / WEIGHTS).write_bytes(broken)
    assert "cannot read" in refusal(folder)


def test_an_index_maps_tensors_to_files_of_its_folder(sharded):
    for name in ("", "..", "/etc/passwd", "../model.safetensors", "..\\model.safetensors", ".safetensors",
                 "C:model.safetensors", "sub/model.safetensors", "model.safetensors\0", "model.safetensors\n",
                 "config.json", 7, None, ["a"]):
        edit_json(sharded / INDEX, weight_map={NORM: name})
        assert "weight_map must name files of this folder" in refusal(sharded), name
    for weight_map in (None, [], "model.safetensors", 7):
        edit_json(sharded / INDEX, weight_map=weight_map)
        assert "weight_map must name files of this folder" in refusal(sharded), weight_map
        edit_json(sharded / INDEX, weight_map={})


@pytest.mark.parametrize("name", ["config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert name in refusal(folder, load_policy)


@pytest.mark.parametrize("name", ["config.json", INDEX, "tokenizer.json", "tokenizer_config.json"])
def test_a_description_beyond_its_limit_is_refused_before_it_is_read(sharded, name):
    os.truncate(sharded / name, most := (2**26 if "tokenizer" in name else 2**24) + 1)
    assert f"{name}: it is larger than {most - 1:,} bytes" in refusal(sharded, load_policy)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes among this system's files")
@pytest.mark.parametrize("name", ["config.json", INDEX, "model-00002-of-00003.safetensors", "tokenizer.json"])
def test_a_pipe_is_refused_and_a_link_is_followed(sharded, name):
    (sharded / name).rename(sharded / "blob")
    (sharded / name).symlink_to("blob")  # as in Hugging Face's cache
    load_policy(sharded)
    (sharded / name).unlink()
    os.mkfifo(sharded / name)
    assert name in (text := refusal(sharded, load_policy)) and "it is not a regular file" in text


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [
    b"[" * 10**5, b'{"eos_token": "\\ud800"}', b'{"eos_token": "%s"}' % (b"x" * 10**5), b'{"eos_token": NaN}'
], ids=range(4))
def test_json_that_is_not_to_be_trusted_is_refused(folder, name, content):
    (folder / name).write_bytes(content)
    assert name in refusal(folder, load_policy)


def test_a_tokenizer_that_does_not_fit_is_refused(folder):
    def says(**changes):
        (folder / "tokenizer.json").write_text(json.dumps(tokens | changes))
        return refusal(folder, load_policy)

    tokens = json.loads((folder / "tokenizer.json").read_text())
    model = tokens["model"]
    assert "no token of tokenizer.json" in says(added_tokens=[], model=model | {"vocab": {}, "merges": []})
    far = model["vocab"] | {"far": 2**32 - 1}
    assert "has 4294967296 ids, the model only 512" in says(model=model | {"vocab": far})
    panics = says(model=model | {"continuing_subword_prefix": "x" * 100})
    assert "tokenizer.json is not a tokenizer: continuing_subword_prefix is not for bytes" in panics
