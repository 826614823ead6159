"""The scheduler: which response sits in which row of the engine, so that none decodes for nothing.

    admit      waiting responses take the rows that are free: their prompt is prefilled if no row has it yet,
               and their first token is sampled from its logits
    decode     a window of some tokens for all rows: step, sample, note. No look at any value, so a GPU never
               waits for Python
    record     tokens up to each row's end go into the result; what a row sampled after its end is dropped
    release    ended rows are free again. Once nothing waits, they leave, and the batch becomes smaller

This is continuous batching: lengths are heavy-tailed, and a batch that waits for its longest response mostly
decodes rows that have ended. The number of rows follows from a budget of tokens: every row may grow to the limit, and prompts
are kept once.

On a GPU the decoding of one token, sampling included, is captured as a CUDA graph and replayed: a small model
spends more time on starting some 40 kernels a layer than on running them. A graph is bound to its tensors, so
it is captured anew when those change.

See it agree with the plain way: python -m pytest tests/fast/test_twins.py
"""

from collections import Counter, deque
from dataclasses import dataclass
from typing import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from t1mini.fast.decode import Engine, Replayed
from t1mini.model import Qwen
from t1mini.rollout import Rollouts, noise_keys, require_finite
from t1mini.runs.machine import Clock
from t1mini.sampler import Sampling, fold, sample

WINDOW = {"cpu": 4, "cuda": 16}  # tokens between looks at which rows have ended: a GPU has to be waited for
PROMPTS_KEPT = 2  # as a multiple of those that fill all rows: the last rows of one linger as the next begins


@torch.no_grad()
def generate(model: Qwen, prompts: Sequence[Sequence[int]], k: int, sampling: Sampling = Sampling(), *,
             max_new_tokens: int, eos_id: int | None = None, seed: int, step: int = 0,
             prompt_indices: Sequence[int] | None = None, max_batch_tokens: int = 2**17,
             lengths: Tensor | None = None, progress: str = "", clock: Clock | None = None) -> Rollouts:
    """t1mini.rollout.generate, sooner. `clock` notes where the time goes."""
    keys = noise_keys(model, prompts, k, max_new_tokens, seed, step, prompt_indices)  # [N]
    limits = torch.full_like(keys, max_new_tokens) if lengths is None else lengths.to(keys.device)
    rows, slots = fit(len(keys), k, int(limits.max()), max(map(len, prompts)), max_batch_tokens)
    schedule = Schedule(model, prompts, k, keys, limits, rows, slots, sampling, eos_id, clock or Clock())
    with torch.autocast(model.device.type, enabled=False):  # the engine casts what it has to by itself
        with tqdm(total=len(keys), desc=progress, unit="response", leave=False, disable=not progress) as bar:
            schedule.run(bar)
    return schedule.rollouts()


@dataclass
class Row:
    """Which response a row of the engine holds, at which slot's prompt, and how many tokens went through."""

    response: int | None = None
    slot: int | None = None
    tokens: int = 0


class Schedule:
    """Samples k responses to each prompt, at most limits [N] tokens each; keys [N] are their noise."""

    def __init__(self, model: Qwen, prompts: Sequence[Sequence[int]], k: int, keys: Tensor, limits: Tensor,
                 rows: int, slots: int, sampling: Sampling, eos_id: int | None, clock: Clock):
        N, limit, self.device, longest = len(keys), int(limits.max()), model.device, max(map(len, prompts))
        self.engine = Engine(model, rows, slots, k, longest, longest + limit)
        self.prompts, self.k, self.clock, self.sampling = prompts, k, clock, vars(sampling)
        self.eos_id = -1 if eos_id is None else eos_id
        # one response more than there are: what rows without one do is noted there
        self.noise, self.limits = (torch.cat((x, x.new_zeros(1))) for x in (keys, limits))
        self.ids = torch.zeros(N + 1, limit, dtype=torch.long, device=self.device)
        self.logprobs = torch.zeros(N + 1, limit, dtype=self.engine.wide, device=self.device)
        self.kept = torch.zeros(N + 1, dtype=self.engine.wide, device=self.device)
        self.lengths = torch.zeros(N + 1, dtype=torch.long, device=self.device)
        self.finished = torch.zeros(N + 1, dtype=torch.bool, device=self.device)

        self.waiting, self.rows = deque(range(N)), [Row() for _ in range(rows)]
        self.slot_of, self.free_slots = {}, list(range(slots))[::-1]  # of the prompts that are in the engine
        self.unfinished = [k] * len(prompts)
        self.prompt_logits = None  # [slots, V], after each prompt
        self.token, self.row_noise = torch.zeros(2, rows, dtype=torch.long, device=self.device)
        self.make_window()

    def make_window(self):
        """What the rows sample between two looks: ids, log-probabilities and kept mass, each [W, n]."""
        shape = WINDOW.get(self.device.type, WINDOW["cpu"]), len(self.rows)
        self.window = [torch.zeros(shape, dtype=dtype, device=self.device)
                       for dtype in (torch.long, self.engine.wide, self.engine.wide)]
        self.place = torch.zeros(1, dtype=torch.long, device=self.device)  # in the window

    def rollouts(self) -> Rollouts:
        lengths = self.lengths[:-1]
        width = int(lengths.max())
        return Rollouts(self.ids[:-1, :width], lengths, self.finished[:-1], self.logprobs[:-1, :width],
                        self.kept[:-1] / lengths)

    def run(self, bar: tqdm):
        """Decodes until every response has ended."""
        decode = Replayed(self.decode, self.device)
        self.admit()
        while live := [row for row in self.rows if row.response is not None]:
            responses = self.responses()
            most = int((self.limits - self.lengths)[responses].max())  # the last ones may have fewer to go
            steps = min(len(self.window[0]), most)
            if self.engine.reserve(max(row.tokens for row in live) + steps):
                decode.forget()
            self.place.zero_()
            for _ in range(steps):
                decode()
            for row in self.rows:
                row.tokens += steps
            self.record(responses, *(noted[:steps] for noted in self.window))
            bar.update(self.release(responses))
            if self.waiting:
                self.admit()
            elif self.shrink():
                decode.forget()
            self.clock.lap("schedule")

    def responses(self) -> Tensor:
        """The response of each row [n]; of one without, the number after the last."""
        numbers = [len(self.ids) - 1 if row.response is None else row.response for row in self.rows]
        return torch.tensor(numbers, device=self.device)

    def decode(self):
        """One token for every row, noted in the window."""
        logits = self.engine.step(self.token)
        self.lap("decode")
        row_keys = fold(self.row_noise, self.engine.column)
        sampled = sample(logits, row_keys=row_keys, return_kept_mass=True, **self.sampling)
        self.token.copy_(sampled[0])
        for noted, values in zip(self.window, sampled):
            noted.index_copy_(0, self.place, values[None])
        self.place.add_(1)
        self.lap("sampling")

    def lap(self, part: str):
        if self.device.type == "cpu":  # within a graph nothing can be timed
            self.clock.lap(part)

    def record(self, responses: Tensor, tokens: Tensor, logprobs: Tensor, mass: Tensor):
        """Adds tokens [W, m] and what goes with them to `responses` [m], each up to its end."""
        t = self.lengths[responses] + torch.arange(len(tokens), device=self.device)[:, None]  # [W, m]
        ends = tokens == self.eos_id
        before_end = ends.cumsum(0) - ends.long() == 0
        counts = before_end & (t < self.limits[responses]) & ~self.finished[responses]
        places = responses.expand_as(t)[counts], t[counts]
        self.ids[places], self.logprobs[places] = tokens[counts], logprobs[counts]
        self.kept[responses] += (mass * counts).sum(0)
        self.lengths[responses] += counts.sum(0)
        self.finished[responses] |= (ends & counts).any(0)

    def release(self, responses: Tensor) -> int:
        """Frees the rows whose responses have ended. Returns how many."""
        over = (self.finished | (self.lengths >= self.limits))[responses].tolist()
        ended = [row for row, done in zip(self.rows, over) if done and row.response is not None]
        for row in ended:
            p = row.response // self.k
            self.unfinished[p] -= 1
            if self.unfinished[p] == 0:
                self.free_slots.append(self.slot_of.pop(p))
            row.response = row.slot = None
        return len(ended)

    def shrink(self) -> bool:
        """Lets rows without a response leave, but for some where a graph is worth it. True if any left."""
        live = [i for i, row in enumerate(self.rows) if row.response is not None]
        enough = len(self.rows) // 2 if self.device.type == "cuda" else len(self.rows) - 1
        if not live or len(live) > enough:
            return False
        self.rows = [self.rows[i] for i in live]
        slots = Counter(row.slot for row in self.rows)
        kept = sorted(slots)
        for row in self.rows:
            row.slot = kept.index(row.slot)
        live, width = torch.tensor(live, device=self.device), max(row.tokens for row in self.rows)
        self.engine.select(live, torch.tensor(kept, device=self.device), max(slots.values()), width)
        self.engine.arrange([row.slot for row in self.rows])
        self.token, self.row_noise = self.token[live], self.row_noise[live]
        self.make_window()
        return True

    def admit(self):
        """Gives free rows to waiting responses whose prompt has or finds a slot, and samples first tokens."""
        begun, new = [], []
        for i, row in enumerate(self.rows):
            if row.response is None and self.waiting:
                p = self.waiting[0] // self.k
                if p not in self.slot_of:
                    if not self.free_slots:
                        break
                    self.slot_of[p] = self.free_slots.pop()
                    new.append(p)
                row.response, row.slot, row.tokens = self.waiting.popleft(), self.slot_of[p], 0
                begun.append(i)
        if new:
            self.prefill(new)
        self.engine.arrange([row.slot for row in self.rows])
        if begun:
            rows = [(i, self.rows[i].slot, self.rows[i].response) for i in begun]
            rows, slots, responses = torch.tensor(rows, device=self.device).T
            self.engine.begin(rows, slots)
            self.row_noise[rows] = self.noise[responses]
            logits, row_keys = self.prompt_logits[slots], fold(self.noise[responses], 0)
            sampled = sample(logits, row_keys=row_keys, return_kept_mass=True, **self.sampling)
            self.token[rows] = sampled[0]
            self.record(responses, *(values[None] for values in sampled))
            self.clock.lap("sampling")

    def prefill(self, new: list[int]):
        """Brings prompts into their slots. UserError where the model's logits are not finite."""
        slots = [self.slot_of[p] for p in new]
        logits = self.engine.prefill(slots, [self.prompts[p] for p in new])
        require_finite(logits)
        if self.prompt_logits is None:
            self.prompt_logits = logits.new_zeros(self.engine.slots, logits.shape[1])
        self.prompt_logits[torch.tensor(slots, device=self.device)] = logits
        self.clock.lap("prefill")


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
