"""The tokenizer: text to token ids and back, for Countdown's words and for any Qwen checkpoint alike.

Both are a tokenizer.json read by the `tokenizers` package. Countdown's knows one word a token (every number from 0 to 99
is one), which a reader can follow with the finger; Qwen's is byte-level BPE. What to stop at is not in tokenizer.json:
`eos_token` and `pad_token` are named in tokenizer_config.json beside it.

`size` is the number of ids the tokenizer can produce. A model may have more rows than that; they are never sampled.

See it: python -m pytest tests/test_tokenizer.py
"""

import json
from pathlib import Path
from typing import Sequence

import tokenizers
from tokenizers import models, pre_tokenizers

from t1mini.runs.settings import UserError
from t1mini.runs.jsonl import excerpt, read_bytes, read_object

PAD, EOS = "<pad>", "<eos>"
FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json",
         "chat_template.jinja")  # of a checkpoint's tokenizer; t1mini reads the first two and hands on all
LARGEST_FILE = 2**26  # bytes of any of them; Qwen's largest has 11 million


class Tokenizer:
    """`eos_id` ends a response; `pad_id` fills rows that are shorter than their batch."""

    def __init__(self, backend: tokenizers.Tokenizer, eos: str, pad: str | None = None, files: dict[str, bytes] | None = None):
        self.backend, self.eos, self.pad, self.files = backend, eos, pad or eos, files
        self.eos_id, self.pad_id = backend.token_to_id(self.eos), backend.token_to_id(self.pad)
        if self.eos_id is None or self.pad_id is None:
            raise UserError(f"the tokenizer has no token {excerpt(self.eos if self.eos_id is None else self.pad)}")

    @classmethod
    def from_dir(cls, folder: str | Path) -> "Tokenizer":
        """Reads tokenizer.json and tokenizer_config.json. UserError names the file that is missing or unreadable."""
        path, config_path = Path(folder) / "tokenizer.json", Path(folder) / "tokenizer_config.json"
        text, config = read_bytes(path, LARGEST_FILE), read_object(config_path, LARGEST_FILE)
        try:
            backend = tokenizers.Tokenizer.from_buffer(text)
        except BaseException as error:  # a broken file makes the package raise a bare Exception, or panic, which is not even that
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise UserError(f"{path} is not a tokenizer: {excerpt(error)}") from None
        eos, pad = _token_text(config.get("eos_token")), _token_text(config.get("pad_token"))
        if eos is None:
            raise UserError(f"{config_path} names no eos_token")
        files = {name: read_bytes(Path(folder) / name, LARGEST_FILE) for name in FILES if (Path(folder) / name).is_file()}
        try:
            return cls(backend, eos, pad, files)
        except UserError as error:
            raise UserError(f"{config_path}: {error}") from None

    @classmethod
    def for_words(cls, words: Sequence[str]) -> "Tokenizer":
        """One token a word, words divided by spaces."""
        ids = {word: i for i, word in enumerate([PAD, EOS, *words])}
        backend = tokenizers.Tokenizer(models.WordLevel(ids, unk_token=PAD))
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        backend.add_special_tokens([PAD, EOS])
        return cls(backend, EOS, PAD)

    def save(self, folder: str | Path) -> None:
        """The files it was read from, unchanged; or those of a new tokenizer."""
        config = {"eos_token": self.eos, "pad_token": self.pad, "tokenizer_class": "PreTrainedTokenizerFast"}
        own = {"tokenizer.json": self.backend.to_str(pretty=True).encode(), "tokenizer_config.json": json.dumps(config, indent=1).encode()}
        for name, content in (self.files or own).items():
            (Path(folder) / name).write_bytes(content)

    @property
    def size(self) -> int:
        """One more than the largest id, added tokens included."""
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def end_ids(self) -> list[int]:
        """All ids that end a text: its own end token, and <|endoftext|> where a chat model has both."""
        other = self.backend.token_to_id("<|endoftext|>")
        return [self.eos_id] if other in (None, self.eos_id) else [self.eos_id, other]

    @property
    def limits(self) -> dict[str, int]:
        """What `rollout.generate` has to know of the tokenizer."""
        return {"eos_id": self.eos_id, "pad_id": self.pad_id, "vocab_limit": self.size}

    def encode(self, text: str) -> list[int]:
        return self.backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int], special: bool = False) -> str:
        """Text without special tokens such as the end token, or with them."""
        return self.backend.decode(list(ids), skip_special_tokens=not special)

    @property
    def can_chat(self) -> bool:
        return self.backend.token_to_id("<|im_start|>") is not None

    def chat_prompt(self, question: str) -> list[int]:
        """The question as Qwen's chat models expect it (ChatML), up to where the assistant begins."""
        if not self.can_chat:
            raise UserError("this tokenizer has no <|im_start|>: it belongs to no chat model")
        return self.encode(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")


def _token_text(token) -> str | None:
    """tokenizer_config.json writes a token as its text or as an object that has it."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None
