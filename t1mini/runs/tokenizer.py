"""The tokenizer: text to token ids and back, for Countdown's words and for any Qwen checkpoint alike.

Both are a tokenizer.json read by the `tokenizers` package. Countdown's knows one word a token (every
number from 0 to 99 is one), which a reader can follow with the finger; Qwen's is byte-level BPE. What to
stop at is not in tokenizer.json: tokenizer_config.json beside it names `eos_token` and `pad_token`, and
generation_config.json may list more ids. A response stops at any of them, at the end of a turn and at that
of a document: a base model knows the one, a chat model the other, and both may write either.

`size` is the number of ids the tokenizer can produce. A model may have more rows; they are never
sampled.

See it: python -m pytest tests/runs/test_tokenizer.py
"""

import json
from pathlib import Path
from typing import Sequence

import tokenizers
from tokenizers import models, pre_tokenizers

from t1mini.runs.jsonl import excerpt, parse_object, read_bytes, read_object
from t1mini.runs.settings import UserError

HANDED_ON = ("vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json",
             "chat_template.jinja")
LARGEST_FILE = 2**26  # bytes of any of them; Qwen's largest has 11 million


class Tokenizer:
    """`eos_id` ends what is taught, `end_ids` stop a response; `pad_id` fills rows up to the width."""

    def __init__(self, files: dict, folder=""):
        """From the files of a checkpoint's `folder`. UserError names the one that is broken."""
        self.files, path = files, Path(folder, "tokenizer_config.json")
        try:
            # merges are cut by its bytes, in the midst of characters, which may end this process
            if json.loads(files["tokenizer.json"])["model"].get("continuing_subword_prefix"):
                raise ValueError("continuing_subword_prefix is not for bytes")
            self.backend = tokenizers.Tokenizer.from_buffer(files["tokenizer.json"])
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a bare Exception, or a panic, which is not even that
            raise UserError(f"{folder}/tokenizer.json is not a tokenizer: {excerpt(error)}") from None
        self.backend.no_truncation()  # on where the file was saved in the midst of a training
        self.backend.no_padding()
        config = parse_object(files["tokenizer_config.json"], f"cannot read {path}")
        eos = config.get("eos_token")
        self.eos_id, self.pad_id = self.id_of(eos), self.id_of(config.get("pad_token") or eos)
        if None in (self.eos_id, self.pad_id):
            raise UserError(f"{path}: eos_token or pad_token is no token of tokenizer.json")
        begin, end, end_of_text = map(self.id_of, ("<|im_start|>", "<|im_end|>", "<|endoftext|>"))
        self.end_ids = sorted({self.eos_id, end, end_of_text} - {None})
        self.size = max(self.backend.get_vocab().values()) + 1  # one more than the largest id
        self.can_chat = None not in (begin, end)
        if self.can_chat:
            self.eos_id = end

    @classmethod
    def from_dir(cls, folder: str | Path):
        """A checkpoint's. UserError names the file that is missing or unreadable."""
        names = [name for name in HANDED_ON if Path(folder, name).is_file()]
        names += "tokenizer.json", "tokenizer_config.json"
        tokenizer = cls({name: read_bytes(Path(folder, name), LARGEST_FILE) for name in names}, folder)
        tokenizer.add_end_ids(Path(folder))
        return tokenizer

    def add_end_ids(self, folder: Path):
        """Those of generation_config.json; where it names none config.json's, as in transformers."""
        for path in folder / "generation_config.json", folder / "config.json":
            ends = read_object(path).get("eos_token_id") if path.exists() else None
            if ends is not None:
                ends = ends if isinstance(ends, list) else [ends]
                if not all(type(i) is int and 0 <= i < self.size for i in ends):
                    raise UserError(f"{path}: eos_token_id is {excerpt(ends)}; it must be one or several of "
                                    f"the {self.size} ids of tokenizer.json")
                self.end_ids = sorted({*self.end_ids, *ends})
                break

    @classmethod
    def for_words(cls, words: Sequence):
        """One token a word, words divided by spaces."""
        ids = {word: i for i, word in enumerate(["<pad>", "<eos>", *words])}
        backend = tokenizers.Tokenizer(models.WordLevel(ids, unk_token="<pad>"))
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        backend.add_special_tokens(["<pad>", "<eos>"])
        config = {"eos_token": "<eos>", "pad_token": "<pad>", "tokenizer_class": "PreTrainedTokenizerFast"}
        texts = backend.to_str(pretty=True), json.dumps(config, indent=1)
        return cls(dict(zip(("tokenizer.json", "tokenizer_config.json"), map(str.encode, texts))))

    def save(self, folder: str | Path):
        """The files it was made from."""
        for name in self.files:
            Path(folder, name).write_bytes(self.files[name])

    def id_of(self, token):
        """Of a token, written as text or as an object with it; None where there is none."""
        text = token.get("content") if isinstance(token, dict) else token
        return self.backend.token_to_id(text) if isinstance(text, str) else None

    def encode(self, text: str) -> list[int]:
        return self.backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int], special: bool = False) -> str:
        """Text without special tokens such as the end token, or with them."""
        return self.backend.decode(list(ids), skip_special_tokens=not special)

    def chat_prompt(self, question: str) -> list[int]:
        """The question as chat models expect it (ChatML) that can_chat, up to where the assistant begins."""
        return self.encode(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")
