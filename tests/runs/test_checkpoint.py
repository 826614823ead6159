"""Checkpoints survive a round trip, and every broken one is a single clear error that names what is wrong."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from t1mini.runs import checkpoint as weights
from t1mini.runs.checkpoint import load_model, load_policy, save_model, save_policy
from t1mini.runs.settings import UserError

from t1mini.runs.tokenizer import Tokenizer

GOLDEN = Path(__file__).parents[1] / "golden"


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
    (dict(rms_norm_eps=float("nan")), "NaN is not JSON"),
    (dict(rms_norm_eps=1.5), "rms_norm_eps is 1.5"),
    (dict(rms_norm_eps=True), "rms_norm_eps is True"),
    (dict(rope_theta=10**299), "rope_theta is 10000"),
    (dict(rope_theta=10**400), "a number of 401 digits"),
    (dict(initializer_range=-0.02), "initializer_range is -0.02"),
    (dict(initializer_range=[0.02]), r"initializer_range is \[0.02\]"),
    (dict(max_position_embeddings=10**12), "max_position_embeddings is 1000000000000"),
    (dict(max_position_embeddings=512.0), "max_position_embeddings is 512.0"),
    (dict(vocab_size=True), "vocab_size is True"),
    (dict(vocab_size=["x" * 10**5]), r"vocab_size is \['xxxxxxxxxxxx\.\.\.xxx"),
    (dict(layer_types=7), "layer_types is no list"),
    (dict(tie_word_embeddings="false"), "tie_word_embeddings is 'false'"),
    (dict(num_hidden_layers=10**6), "num_hidden_layers is 1000000"),
    (dict(vocab_size=2**23, hidden_size=2**23, intermediate_size=2**23, num_attention_heads=2**22, head_dim=2**22, num_key_value_heads=2**22),
     "sizes too large"),
    (dict(vocab_size=2**24, hidden_size=2**13), "sizes too large: 2.8e[+]11 parameters, where t1mini reads up to 1e[+]11"),
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


# --- files that are not to be trusted --------------------------------------------------------------------------------

def refusal(folder, load=load_model) -> str:
    """What `load` says of the folder, in one line and within a second of work."""
    begun = time.process_time()
    with pytest.raises(UserError) as error:
        load(folder)
    assert str(folder) in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 700
    assert time.process_time() - begun < 1
    return str(error.value)


@pytest.fixture
def sharded(tmp_path):
    """A checkpoint in three files, to be broken."""
    shutil.copytree(GOLDEN / "qwen3-tiny", tmp_path / "sharded")
    return tmp_path / "sharded"


def edit_header(path: Path, edit):
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    edit(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])


def test_parameters_and_their_shapes_are_those_of_the_model(tiny_model):
    assert parameter_shapes(tiny_model.config) == {name: tuple(p.shape) for name, p in tiny_model.named_parameters()}


def test_thousands_of_layers_that_are_not_there_are_refused_at_once(folder):
    edit_json(folder / "config.json", num_hidden_layers=4096)
    assert "tensor layers.10.input_layernorm.weight is missing" in refusal(folder)


def test_headers_are_compared_before_any_number_is_read(folder, monkeypatch):
    monkeypatch.setattr(weights, "_read_tensor", None)
    edit_json(folder / "config.json", intermediate_size=161)
    assert "tensor layers.0.mlp.down_proj.weight has shape (64, 160), config.json makes it (64, 161)" in refusal(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_point_numbers_of_any_width_are_read(folder, dtype):
    model = load_model(folder)
    save_file({name: w.to(dtype) for name, w in load_file(folder / "model.safetensors").items()}, folder / "model.safetensors")
    for a, b in zip(model.parameters(), load_model(folder).parameters(), strict=True):
        assert torch.equal(a.to(dtype).float(), b)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float8_e4m3fn, torch.complex64])
def test_other_numbers_are_refused_by_type(folder, dtype):
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"model.norm.weight": tensors["model.norm.weight"].to(dtype)}, folder / "model.safetensors")
    assert "tensor norm.weight holds what is not a finite floating-point number: " in refusal(folder)


def test_a_number_beyond_float32_is_refused(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"model.norm.weight": tensors["model.norm.weight"].double() * 1e300}, folder / "model.safetensors")
    assert "tensor norm.weight holds what is not a finite floating-point number" in refusal(folder)


def test_a_tensor_under_two_names_or_in_two_files_is_refused(folder, sharded):
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"norm.weight": tensors["model.norm.weight"].clone()}, folder / "model.safetensors")
    assert "tensor norm.weight is there twice" in refusal(folder)
    shard = sorted(sharded.glob("model-*.safetensors"))[0]
    others = load_file(sorted(sharded.glob("model-*.safetensors"))[1])
    save_file(load_file(shard) | {min(others): others[min(others)]}, shard)
    assert f"tensor {min(others)} is not listed for {shard.name}" in refusal(sharded)


def test_a_tensor_that_the_index_has_elsewhere_is_missing(sharded):
    shard = sorted(sharded.glob("model-*.safetensors"))[0]
    tensors = load_file(shard)
    name = min(tensors)
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, shard)
    assert f"tensor {name} is missing from {shard.name}" in refusal(sharded)


def test_a_name_from_a_file_is_shown_short_and_without_what_a_terminal_obeys(folder):
    edit_header(folder / "model.safetensors", lambda header: header.update({"\x1b[2J" + "x" * 10**5: header.pop("model.norm.weight")}))
    assert r"tensor \x1b[2Jxxxx" in refusal(folder)


@pytest.mark.parametrize("size", [0, 1, 2**24 + 1, 2**63])
def test_a_header_of_another_length_than_it_says_is_refused(folder, size):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(size.to_bytes(8, "little") + content[8:])
    assert "cannot read weights from" in refusal(folder)


@pytest.mark.parametrize("name", ["", ".", "..", "/etc/passwd", "../model.safetensors", "..\\model.safetensors",
                                  "C:model.safetensors", "sub/model.safetensors",
                                  "model.safetensors\0", "model.safetensors\n", "m\u00e9.safetensors", ".safetensors", "config.json", 7, None, ["a"]],
                         ids=ascii)
def test_an_index_names_files_of_its_folder(sharded, name):
    edit_json(sharded / "model.safetensors.index.json", weight_map={"model.norm.weight": name})
    assert "weight_map must name files of this folder" in refusal(sharded)


@pytest.mark.parametrize("weight_map", [None, {}, [], "model.safetensors", 7])
def test_an_index_without_a_map_is_refused(sharded, weight_map):
    edit_json(sharded / "model.safetensors.index.json", weight_map=weight_map)
    assert "no weight_map" in refusal(sharded)


@pytest.mark.parametrize("name, most", [("config.json", 2**24), ("model.safetensors.index.json", 2**24),
                                        ("tokenizer.json", 2**26), ("tokenizer_config.json", 2**26)])
def test_a_description_beyond_its_limit_is_refused_before_it_is_read(sharded, name, most):
    with (sharded / name).open("ab") as file:
        file.truncate(most + 1)
    assert f"{name}: it is larger than {most:,} bytes" in refusal(sharded, load_policy)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes among this system's files")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json", "model-00002-of-00003.safetensors",
                                  "tokenizer.json", "tokenizer_config.json"])
def test_a_pipe_is_refused_and_a_link_is_followed(sharded, name):
    (sharded / name).rename(sharded / "blob")
    (sharded / name).symlink_to("blob")  # as in Hugging Face's cache
    load_policy(sharded)
    (sharded / name).unlink()
    os.mkfifo(sharded / name)
    assert name in (text := refusal(sharded, load_policy)) and "it is not a regular file" in text


@pytest.mark.parametrize("content", [b"[" * 10**5, b'{"eos_token": "\\ud800"}', b'{"eos_token": "' + b"x" * 10**5 + b'"}', b'{"eos_token": NaN}'])
def test_a_tokenizer_config_that_is_not_to_be_trusted_is_refused(folder, content):
    (folder / "tokenizer_config.json").write_bytes(content)
    assert "tokenizer_config.json" in refusal(folder, load_policy)


def test_a_tokenizer_without_words_or_with_words_beyond_the_model_is_refused(folder):
    tokens = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokens | {"added_tokens": [], "model": tokens["model"] | {"vocab": {}, "merges": []}}))
    assert "the tokenizer has no token <|im_end|>" in refusal(folder, load_policy)
    tokens["model"]["vocab"]["far"] = 2**32 - 1
    (folder / "tokenizer.json").write_text(json.dumps(tokens))
    assert "the tokenizer has 4294967296 ids, the model only 512" in refusal(folder, load_policy)


def test_a_tokenizer_that_makes_its_package_panic_is_refused(folder):
    tokens = json.loads((folder / "tokenizer.json").read_text())
    tokens["model"]["continuing_subword_prefix"] = "x" * 100
    (folder / "tokenizer.json").write_text(json.dumps(tokens))
    assert "tokenizer.json is not a tokenizer: range end index" in refusal(folder, load_policy)
