"""The scheduler: which response sits in which row of the engine, so that none decodes for nothing.

    admit      waiting responses take the rows that are free: their prompt is prefilled if no row has it yet,
               and their first token is sampled from its logits
    decode     a window of some tokens for all rows: step, sample, note. No look at any value, so a GPU never
               waits for Python
    record     tokens up to each row's end go into the result; what a row sampled after its end is dropped
    release    ended rows are free again. Once nothing waits, they leave, and the batch becomes smaller

This is continuous batching: lengths are heavy-tailed, and a batch that waits for its longest response
mostly decodes rows that have ended. The number of rows follows from a budget of tokens: every row may grow
to the limit, and prompts are kept once.

On a GPU the decoding of one token, sampling included, is captured as a CUDA graph and replayed: a small model
spends more time on starting some 40 kernels a layer than on running them. A graph is bound to its tensors, so
it is captured anew when those change.

See it agree with the plain way: python -m pytest tests/fast/test_twins.py
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from statistics import fmean
from typing import Collection, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from t1mini.fast.decode import Engine, Replayed
from t1mini.model import Qwen
from t1mini.rollout import Rollouts, ends_of, noise_keys, require_finite
from t1mini.runs.batches import pad
from t1mini.runs.machine import Clock
from t1mini.sampler import Sampling, fold, sample

WINDOW = {"cpu": 4, "cuda": 16}  # tokens between looks at which rows have ended: a GPU has to be waited for
PROMPTS_KEPT = 2  # as a multiple of those that fill all rows: the last rows of one linger as the next begins


@torch.no_grad()
def generate(model: Qwen, prompts: Sequence[Sequence[int]], k: int, sampling: Sampling = Sampling(), *,
             max_new_tokens: int, eos_id: int | Collection[int] | None = None, seed: int, step: int = 0,
             prompt_indices: Sequence[int] | None = None, max_batch_tokens: int = 2**17,
             lengths: Tensor | None = None, progress: str = "", clock: Clock | None = None) -> Rollouts:
    """t1mini.rollout.generate, sooner. `clock` notes where the time goes."""
    keys = noise_keys(model, prompts, k, max_new_tokens, seed, step, prompt_indices)  # [N]
    limits = [max_new_tokens] * len(keys) if lengths is None else lengths.tolist()
    responses = [Response(i, limit, ends_of(eos_id)) for i, limit in enumerate(limits)]
    schedule = Schedule(model, prompts, keys, responses, sampling, max_batch_tokens, clock or Clock())
    with torch.autocast(model.device.type, enabled=False):  # the engine casts what it has to by itself
        schedule.run(progress)
    ids, logprobs, masses = zip(*(response.sampled for response in responses))
    wide = schedule.engine.wide
    as_tensor = lambda values, dtype=None: torch.tensor(list(values), dtype=dtype, device=model.device)
    return Rollouts(pad(ids, 0, model.device), as_tensor(map(len, ids)),
                    as_tensor(response.finished for response in responses),
                    pad(logprobs, 0.0, model.device, wide), as_tensor(map(fmean, masses), wide))


@dataclass
class Response:
    """A response on its way: its tokens, their log-probabilities and kept mass, and its prompt's slot."""

    number: int
    limit: int  # of its tokens
    ends: list[int]  # tokens
    sampled: tuple[list, list, list] = field(default_factory=lambda: ([], [], []))
    slot: int = 0

    def __len__(self) -> int:
        return len(self.sampled[0])

    @property
    def finished(self) -> bool:
        return any(token in self.ends for token in self.sampled[0][-1:])

    @property
    def over(self) -> bool:
        return self.finished or len(self) == self.limit

    def add(self, *more: list):
        """What came next, up to an end token or the limit."""
        ends = [i for i, token in enumerate(more[0], 1) if token in self.ends]
        stop = 0 if self.finished else min([self.limit - len(self), *ends])
        for column, values in zip(self.sampled, more):
            column.extend(values[:stop])


class Schedule:
    """Samples the responses to each prompt; keys [N] are their noise."""

    def __init__(self, model: Qwen, prompts: Sequence[Sequence[int]], keys: Tensor, responses: list[Response],
                 sampling: Sampling, budget: int, clock: Clock):
        self.device, self.prompts, self.keys, self.clock = model.device, prompts, keys, clock
        self.k, self.sampling = len(responses) // len(prompts), vars(sampling)
        limit, longest = max(response.limit for response in responses), max(map(len, prompts))
        rows, slots = fit(len(responses), self.k, limit, longest, budget)
        self.engine = Engine(model, rows, slots, self.k, longest, longest + limit)
        self.waiting, self.rows = deque(responses), [None] * rows  # the response of each row, or None
        self.prompt_logits = None  # [slots, V], after each prompt
        self.token, self.row_keys = torch.zeros(2, rows, dtype=torch.long, device=self.device)
        self.make_window()

    def make_window(self):
        """What the rows sample between two looks: ids, log-probabilities and kept mass, each [W, n]."""
        shape, wide = (WINDOW[self.device.type], len(self.rows)), self.engine.wide
        self.window = [torch.zeros(shape, dtype=dtype, device=self.device)
                       for dtype in (torch.long, wide, wide)]
        self.place = torch.zeros(1, dtype=torch.long, device=self.device)  # in the window

    def run(self, progress: str):
        """Decodes until every response has ended."""
        decode = Replayed(self.decode, self.device)
        with tqdm(total=len(self.waiting), desc=progress, unit="response", leave=False,
                  disable=not progress or None) as bar:
            self.admit()
            while live := [response for response in self.rows if response is not None]:
                left = max(response.limit - len(response) for response in live)
                steps = min(left, len(self.window[0]))
                if self.engine.reserve(max(map(len, live)) + steps - 1):
                    decode.forget()
                self.place.zero_()
                for _ in range(steps):
                    decode()
                self.record(self.rows, *(noted[:steps] for noted in self.window))
                bar.update(self.release())
                if self.waiting:
                    self.admit()
                elif self.shrink():
                    decode.forget()
                self.clock.lap("schedule")

    def decode(self):
        """One token for every row, noted in the window."""
        logits = self.engine.step(self.token)
        self.lap("decode")
        row_keys = fold(self.row_keys, self.engine.column)
        sampled = sample(logits, row_keys=row_keys, return_kept_mass=True, **self.sampling)
        self.token.copy_(sampled[0])
        for noted, values in zip(self.window, sampled):
            noted.index_copy_(0, self.place, values[None])
        self.place.add_(1)
        self.lap("sampling")

    def lap(self, part: str):
        if self.device.type == "cpu":  # within a graph nothing can be timed
            self.clock.lap(part)

    def record(self, rows: list[Response | None], *noted: Tensor):
        """Adds what was sampled, each [W, m], to the responses of rows [m], up to the end of each."""
        for response, *sampled in zip(rows, *(values.T.tolist() for values in noted)):
            if response is not None:
                response.add(*sampled)

    def release(self) -> int:
        """Frees the rows whose responses have ended. Returns how many."""
        before = self.rows.count(None)
        self.rows = [None if row is None or row.over else row for row in self.rows]
        return self.rows.count(None) - before

    def shrink(self) -> bool:
        """Lets rows without a response leave, but for some where a graph is worth it. True if any left."""
        live = [i for i, row in enumerate(self.rows) if row is not None]
        enough = len(self.rows) // 2 if self.device.type == "cuda" else len(self.rows) - 1
        if not live or len(live) > enough:
            return False
        self.rows = [self.rows[i] for i in live]
        beside = Counter(response.slot for response in self.rows)
        slots, live = torch.tensor(sorted(beside), device=self.device), torch.tensor(live, device=self.device)
        for response in self.rows:
            response.slot = sorted(beside).index(response.slot)
        self.engine.select(live, slots, max(beside.values()), max(map(len, self.rows)))
        self.engine.arrange([response.slot for response in self.rows])
        self.token, self.row_keys = self.token[live], self.row_keys[live]
        self.make_window()
        return True

    def admit(self):
        """Gives free rows to waiting responses whose prompt has or finds a slot, and samples first tokens.

        UserError where the model's logits are not finite.
        """
        slot_of = {row.number // self.k: row.slot for row in self.rows if row is not None}
        free, new, begun = set(range(self.engine.slots)) - set(slot_of.values()), {}, {}
        for i, row in enumerate(self.rows):
            if row is not None or not self.waiting:
                continue
            p = self.waiting[0].number // self.k
            if p not in slot_of:
                if not free:
                    break
                new[p] = slot_of[p] = free.pop()
            begun[i] = self.rows[i] = response = self.waiting.popleft()
            response.slot = slot_of[p]
        if new:
            into = [*new.values()]
            logits = self.engine.prefill(into, [self.prompts[p] for p in new])
            require_finite(logits)
            if self.prompt_logits is None:
                self.prompt_logits = logits.new_zeros(self.engine.slots, logits.shape[1])
            self.prompt_logits[into] = logits
            self.clock.lap("prefill")
        self.engine.arrange([None if row is None else row.slot for row in self.rows])
        if begun:
            rows, responses = torch.tensor([*begun], device=self.device), [*begun.values()]
            slots, numbers = torch.tensor([(r.slot, r.number) for r in responses], device=self.device).T
            self.engine.begin(rows, slots)
            self.row_keys[rows] = keys = self.keys[numbers]
            sampled = sample(self.prompt_logits[slots], row_keys=fold(keys, 0), return_kept_mass=True,
                             **self.sampling)
            self.token[rows] = sampled[0]
            self.record(responses, *(values[None] for values in sampled))
            self.clock.lap("sampling")


def fit(responses: int, k: int, limit: int, prompt_len: int, budget: int) -> tuple[int, int]:
    """Rows to decode at once, and prompts to keep, for keys and values of `budget` tokens (or of one row).

    >>> fit(responses=64, k=8, limit=100, prompt_len=20, budget=10_000)  # all of it
    (64, 8)
    >>> fit(responses=64, k=8, limit=100, prompt_len=20, budget=2_000)
    (18, 6)
    """
    if responses * limit + responses // k * prompt_len <= budget:
        return responses, responses // k
    for rows in range(max(1, min(responses, budget // limit)), 0, -1):
        slots = min(responses // k, PROMPTS_KEPT * -(-rows // k))
        if rows * limit + slots * prompt_len <= budget or rows == 1:
            return rows, slots
