"""The tokenizer: text to token ids and back, for Countdown's words and for any Qwen checkpoint alike.

Both are a tokenizer.json read by the `tokenizers` package. Countdown's knows one word a token (every
number from 0 to 99 is one), which a reader can follow with the finger; Qwen's is byte-level BPE. What to
stop at is not in tokenizer.json: `eos_token` and `pad_token` are named in tokenizer_config.json beside
it.

`size` is the number of ids the tokenizer can produce. A model may have more rows; they are never
sampled.

See it: python -m pytest tests/runs/test_tokenizer.py
"""

import json
from pathlib import Path
from typing import Sequence

import tokenizers
from tokenizers import models, pre_tokenizers

from t1mini.runs.jsonl import excerpt, read_bytes, read_object
from t1mini.runs.settings import UserError

PAD, EOS = "<pad>", "<eos>"
TOKENIZER, CONFIG = "tokenizer.json", "tokenizer_config.json"
HANDED_ON = ("vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json",
             "chat_template.jinja")
LARGEST_FILE = 2**26  # bytes of any of them; Qwen's largest has 11 million


class Tokenizer:
    """`eos_id` ends a response; `pad_id` fills rows that are shorter than their batch."""

    def __init__(self, files: dict[str, bytes], config: dict, folder: str | Path = ""):
        """From the files of a checkpoint's `folder`; `config` is what tokenizer_config.json says."""
        self.files, self.path = files, Path(folder, CONFIG)
        self.backend = read_backend(files[TOKENIZER], Path(folder, TOKENIZER))
        self.eos_id = self.id_of(config.get("eos_token"))
        if self.eos_id is None:
            raise UserError(f"{self.path} names no eos_token")
        self.pad_id = self.id_of(config.get("pad_token"), self.eos_id)

    @classmethod
    def from_dir(cls, folder: str | Path) -> "Tokenizer":
        """A checkpoint's. UserError names the file that is missing or unreadable."""
        names = [TOKENIZER, CONFIG, *(name for name in HANDED_ON if Path(folder, name).is_file())]
        files = {name: read_bytes(Path(folder, name), LARGEST_FILE) for name in names}
        return cls(files, read_object(Path(folder, CONFIG), LARGEST_FILE), folder)

    @classmethod
    def for_words(cls, words: Sequence[str]) -> "Tokenizer":
        """One token a word, words divided by spaces."""
        ids = {word: i for i, word in enumerate([PAD, EOS, *words])}
        backend = tokenizers.Tokenizer(models.WordLevel(ids, unk_token=PAD))
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        backend.add_special_tokens([PAD, EOS])
        config = {"eos_token": EOS, "pad_token": PAD, "tokenizer_class": "PreTrainedTokenizerFast"}
        files = {TOKENIZER: backend.to_str(pretty=True), CONFIG: json.dumps(config, indent=1)}
        return cls({name: text.encode() for name, text in files.items()}, config)

    def save(self, folder: str | Path):
        """The files it was made from."""
        for name, content in self.files.items():
            Path(folder, name).write_bytes(content)

    def id_of(self, token, otherwise: int | None = None) -> int | None:
        """Of a token, which transformers writes as its text or as an object with it; else `otherwise`."""
        text = token.get("content") if isinstance(token, dict) else token
        if not isinstance(text, str):
            return otherwise
        number = self.backend.token_to_id(text)
        if number is None:
            raise UserError(f"{self.path}: the tokenizer has no token {excerpt(text)}")
        return number

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


def read_backend(content: bytes, path: Path) -> tokenizers.Tokenizer:
    """What tokenizer.json holds. UserError where it is not one."""
    try:
        return tokenizers.Tokenizer.from_buffer(content)
    except BaseException as error:  # the package raises a bare Exception, or panics, which is not even that
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise UserError(f"{path} is not a tokenizer: {excerpt(error)}") from None
        raise
