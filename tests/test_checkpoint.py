"""Checkpoints survive a round trip, and every broken one is a single clear error that names what is wrong."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from t1mini.checkpoint import load_model, load_policy, save_model, save_policy
from t1mini.config import UserError
from t1mini.tokenizer import Tokenizer

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def folder(tmp_path):
    """A copy of a golden checkpoint, to be broken."""
    shutil.copytree(GOLDEN / "qwen2-tiny", tmp_path / "model")
    return tmp_path / "model"


def edit_json(path: Path, **changes):
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


@pytest.mark.parametrize("name", ["qwen2-tiny", "qwen3-tiny"])
def test_a_saved_model_loads_equal(name, tmp_path):
    model = load_model(GOLDEN / name)
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert again.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_a_tied_head_is_not_written_twice(tmp_path):
    save_model(load_model(GOLDEN / "qwen3-tiny"), tmp_path)
    names = load_file(tmp_path / "model.safetensors")
    assert "lm_head.weight" not in names and "model.embed_tokens.weight" in names


def test_dtype_and_tokenizer_come_along(tmp_path):
    model, tokenizer = load_policy(GOLDEN / "qwen2-tiny")
    save_policy(model, tokenizer, tmp_path)
    again, tokenizer_again = load_policy(tmp_path)
    assert tokenizer_again.encode("Wait, 7 * 11") == tokenizer.encode("Wait, 7 * 11")
    assert load_model(tmp_path, dtype=torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.parametrize("change, message", [
    (dict(model_type="llama"), "model_type is 'llama'"),
    (dict(hidden_size=-64), "hidden_size is -64"),
    (dict(hidden_size="64"), "hidden_size is '64'"),
    (dict(num_hidden_layers=None), "num_hidden_layers is None"),
    (dict(num_key_value_heads=3), "4 attention heads cannot share 3"),
    (dict(hidden_size=66), "no even head_dim"),
    (dict(hidden_size=128), "shape"),
    (dict(num_hidden_layers=4), "layers.3.input_layernorm.weight is missing"),
    (dict(num_hidden_layers=2), "layers.2.input_layernorm.weight is not one of this model"),
    (dict(rope_scaling={"rope_type": "yarn", "factor": 4.0}), "scaled RoPE"),
    (dict(use_sliding_window=True), "sliding windows"),
    (dict(layer_types=["full_attention", "sliding_attention", "full_attention"]), "sliding windows"),
    (dict(hidden_act="gelu"), "activations other than silu"),
    (dict(rope_theta="fast"), "rope_theta is 'fast'"),
    (dict(rope_parameters=["default"]), "rope_parameters or rope_scaling is no object"),
    (dict(vocab_size=400), "shape"),
    (dict(rope_theta=0), "rope_theta is 0"),
    (dict(rms_norm_eps=float("nan")), "rms_norm_eps is nan"),
    (dict(tie_word_embeddings="false"), "tie_word_embeddings is 'false'"),
    (dict(num_hidden_layers=10**6), "num_hidden_layers is 1000000"),
    (dict(vocab_size=2**23, hidden_size=2**23, intermediate_size=2**23, num_attention_heads=2**22, head_dim=2**22, num_key_value_heads=2**22),
     "sizes too large"),
])
def test_a_config_that_does_not_fit_is_named(folder, change, message):
    edit_json(folder / "config.json", **change)
    with pytest.raises(UserError, match=message):
        load_model(folder)


def test_truncated_weights_are_named(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot read weights from .*model.safetensors"):
        load_model(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=name):
        load_policy(folder)


def test_a_missing_tensor_is_named(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(UserError, match="layers.1.mlp.up_proj.weight is missing"):
        load_model(folder)


def test_an_index_may_not_point_outside_its_folder(tmp_path):
    shutil.copytree(GOLDEN / "qwen3-tiny", tmp_path / "model")
    edit_json(tmp_path / "model/model.safetensors.index.json", weight_map={"model.norm.weight": "../elsewhere.safetensors"})
    with pytest.raises(UserError, match="files of this folder"):
        load_model(tmp_path / "model")


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path):
    save_policy(load_model(GOLDEN / "qwen2-tiny"), Tokenizer.for_words([f"w{i}" for i in range(600)]), tmp_path)
    with pytest.raises(UserError, match="tokenizer has 602 ids, the model only 512"):
        load_policy(tmp_path)


def test_no_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="no checkpoint folder"):
        load_policy(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["qwen2-tiny", "qwen3-tiny"])
def test_weights_in_shards_and_in_bfloat16_come_back(tmp_path, name):
    model = load_model(GOLDEN / name)
    save_model(model, tmp_path, shard_bytes=60_000)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2 and not (tmp_path / "model.safetensors").exists()
    for (key, found), (_, expected) in zip(load_model(tmp_path).named_parameters(), model.named_parameters()):
        assert torch.equal(found, expected), key
    save_model(model, tmp_path, dtype=torch.bfloat16)  # over the shards: the index goes, the new file counts
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == "bfloat16"
    for (key, found), (_, expected) in zip(load_model(tmp_path).named_parameters(), model.named_parameters()):
        assert torch.equal(found, expected.bfloat16().float()), key


def test_a_tied_head_is_written_once(tmp_path):
    save_model(load_model(GOLDEN / "qwen3-tiny"), tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")


@pytest.mark.parametrize("spoil", [lambda w: w.fill_(float("nan")), lambda w: w.neg_().div_(0), lambda w: w.to(torch.int32)], ids=["nan", "inf", "int"])
def test_weights_that_are_no_finite_numbers_are_named(folder, spoil):
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = spoil(weights["model.norm.weight"])
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(UserError, match="tensor norm.weight holds what is not a finite"):
        load_model(folder)


def test_json_nested_beyond_reason_is_an_error_like_any_other(folder):
    (folder / "config.json").write_text("[" * 200_000)
    with pytest.raises(UserError, match="cannot read .*config.json"):
        load_model(folder)
