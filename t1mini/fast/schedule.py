"""The scheduler: which response sits in which row of the engine, so that no row decodes for nothing (continuous batching).

    admit      waiting responses take the rows that are free: their prompt is prefilled if no row has it yet, and their
               first token is sampled from its logits
    decode     a window of some tokens for all rows: step, sample, note. No look at any value, so a GPU never waits for Python
    record     tokens up to each row's end go into the result; what a row sampled after its end is dropped
    release    ended rows are free again. Once nothing waits, they leave, and the batch becomes smaller

Lengths of responses are heavy-tailed: a batch that waits for its longest response mostly decodes rows that have ended.
The number of rows follows from a budget of tokens: every row may grow to the limit, and prompts are kept once.

On a GPU the decoding of one token, sampling included, is captured as a CUDA graph and replayed: a small model spends more time
on starting some 40 kernels a layer than on running them. A graph is bound to its tensors, so it is captured anew when those change.

See it agree with the plain path: python -m pytest tests/test_scheduler.py
"""

from collections import deque
from typing import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from t1mini.runs.clock import Clock
from t1mini.runs.settings import UserError
from t1mini.fast.decode import Engine
from t1mini.model import Qwen
from t1mini.sampler import fold, sample

WINDOW = {"cpu": 4, "cuda": 16}  # tokens between looks at which rows have ended; on a GPU a look means waiting for it
SPARE = 2  # prompts kept, as a multiple of those that fill all rows: the last rows of one linger while the next begins


class Scheduler:
    """Samples k responses to each prompt, `most` [N] tokens each at most, into `ids`, `logprobs` [N, T] and the rest.

    `keys` [N] are the responses' noise (t1mini.sampler), `filters` the sampler's settings.
    """

    def __init__(self, model: Qwen, prompts: Sequence[Sequence[int]], k: int, keys: Tensor, most: Tensor, *, eos_id: int | None,
                 pad_id: int, filters: dict, max_batch_tokens: int, clock: Clock, progress: str = ""):
        N, limit, device = len(keys), int(most.max()), model.device
        longest = max(map(len, prompts))
        n, slots = fit(N, k, limit, longest, max_batch_tokens)
        self.nobody = N  # the response of a row that holds none
        self.engine = Engine(model, n, slots, k, longest, longest + limit)
        self.prompts, self.k, self.eos_id, self.filters, self.clock = prompts, k, eos_id, filters, clock
        self.lap = clock.lap if device.type == "cpu" else lambda part: None  # within a graph nothing can be timed
        # one response more than there are: what rows do that hold none is noted there
        pad_row = lambda x: torch.cat([x.to(device), x.new_zeros(1, device=device)])
        self.noise, self.most = pad_row(keys), pad_row(most)
        self.ids = torch.full((N + 1, limit), pad_id, device=device)
        self.logprobs = torch.zeros(N + 1, limit, dtype=self.engine.wide, device=device)
        self.kept = torch.zeros(N + 1, dtype=self.engine.wide, device=device)
        self.lengths = torch.zeros(N + 1, dtype=torch.long, device=device)
        self.finished = torch.zeros(N + 1, dtype=torch.bool, device=device)

        self.waiting, self.holds, self.began = deque(range(N)), [N] * n, [0] * n  # a row's response, and the step it began at
        self.slot_of, self.free_slots = {}, list(range(slots))[::-1]  # of the prompts that are in the engine
        self.unfinished = [k] * len(prompts)
        self.bar = tqdm(total=N, desc=progress, unit="response", leave=False, disable=not progress)
        self.prompt_logits = None  # [slots, V], after each prompt
        self.resize(n)

    def resize(self, n: int) -> None:
        """The state of n rows, in tensors that stay where they are until the next change: a graph is bound to them."""
        device = self.engine.device
        self.token, self.row_noise, self.times = torch.zeros(3, n, dtype=torch.long, device=device)
        self.place = torch.zeros(1, dtype=torch.long, device=device)  # in the window
        ahead = WINDOW.get(device.type, WINDOW["cpu"])
        self.window = torch.zeros(ahead, n, dtype=torch.long, device=device), *torch.zeros(2, ahead, n, dtype=self.engine.wide, device=device)

    def run(self) -> None:
        """Decodes until every response has ended."""
        with torch.autocast(self.engine.device.type, enabled=False):  # the engine casts what it has to by itself
            self.decode_all()

    def decode_all(self) -> None:
        replayed = Replayed(self.decode, self.engine.device)
        self.admit()
        while live := [row for row, response in enumerate(self.holds) if response < self.nobody]:
            oldest = min(self.began[row] for row in live)
            steps = min(len(self.window[0]), int((self.most - self.lengths)[self.responses].max()))  # the last ones may have fewer to go
            self.place.zero_()
            for _ in range(steps):
                if self.engine.next_column(oldest):
                    replayed.forget()
                replayed()
            self.record(self.responses, *(noted[:steps] for noted in self.window))
            if self.release():
                replayed.forget()
            self.clock.lap("compaction")

    def decode(self) -> None:
        """One token for every row, noted in the window."""
        logits = self.engine.step(self.token)
        self.lap("decode")
        sampled = sample(logits, row_keys=fold(self.row_noise, self.times), return_kept_mass=True, **self.filters)
        self.token.copy_(sampled[0])
        self.times.add_(1)
        for noted, values in zip(self.window, sampled):
            noted.index_copy_(0, self.place, values[None])
        self.place.add_(1)
        self.lap("sampling")

    def record(self, responses: Tensor, tokens: Tensor, logprobs: Tensor, mass: Tensor) -> None:
        """Adds tokens [W, m] and what goes with them to `responses` [m], each up to its end."""
        t = self.lengths[responses] + torch.arange(len(tokens), device=tokens.device)[:, None]  # [W, m]
        ends = torch.zeros_like(tokens, dtype=torch.bool) if self.eos_id is None else tokens == self.eos_id
        counts = (ends.cumsum(0) - ends.long() == 0) & (t < self.most[responses]) & ~self.finished[responses]
        places = responses.expand_as(t)[counts], t[counts]
        self.ids[places], self.logprobs[places] = tokens[counts], logprobs[counts]
        self.kept[responses] += (mass * counts).sum(0)
        self.lengths[responses] += counts.sum(0)
        self.finished[responses] |= (ends & counts).any(0)

    def release(self) -> bool:
        """Frees the rows whose responses have ended, for others or for good. True if the tensors of the state have changed."""
        over = (self.finished | (self.lengths >= self.most))[self.responses].tolist()
        ended = [row for row, done in enumerate(over) if done and self.holds[row] < self.nobody]
        if not ended:
            return False
        self.bar.update(len(ended))
        for row in ended:
            p, self.holds[row] = self.holds[row] // self.k, self.nobody
            self.unfinished[p] -= 1
            if self.unfinished[p] == 0:
                self.free_slots.append(self.slot_of.pop(p))
        if self.waiting:
            self.admit()
            return False
        live = [row for row, response in enumerate(self.holds) if response < self.nobody]
        few = len(live) <= len(self.holds) // 2 or self.engine.device.type == "cpu"  # a graph is worth some idle rows
        if live and few:
            self.leave(live)
        self.responses = torch.tensor(self.holds, device=self.engine.device)
        return bool(live) and few

    def leave(self, live: list[int]) -> None:
        """Only the rows `live` stay in the batch."""
        rows = torch.tensor(live, device=self.engine.device)
        self.holds, self.began = [self.holds[row] for row in live], [self.began[row] for row in live]
        self.engine.select(rows, min(self.began))
        state = self.token[rows], self.row_noise[rows], self.times[rows]
        self.resize(len(live))
        for mine, kept in zip((self.token, self.row_noise, self.times), state):
            mine.copy_(kept)

    def admit(self) -> None:
        """Gives free rows to waiting responses, as far as there is a slot for their prompt, and samples their first tokens."""
        device, rows, responses, new = self.engine.device, [], [], []
        for row in (row for row, response in enumerate(self.holds) if response == self.nobody):
            if not self.waiting:
                break
            p = self.waiting[0] // self.k
            if p not in self.slot_of:
                if not self.free_slots:
                    break
                self.slot_of[p] = self.free_slots.pop()
                new.append(p)
            self.holds[row], self.began[row] = self.waiting.popleft(), self.engine.steps
            rows.append(row)
            responses.append(self.holds[row])
        if new:
            self.prefill(new)
        self.responses = torch.tensor(self.holds, device=device)
        if rows:
            slots = [self.slot_of[response // self.k] for response in responses]
            places = [slot * self.k + response % self.k for slot, response in zip(slots, responses)]
            self.engine.admit(rows, places)
            rows, slots, responses = torch.tensor([rows, slots, responses], device=device)
            self.row_noise[rows], self.times[rows] = self.noise[responses], 1
            sampled = sample(self.prompt_logits[slots], row_keys=fold(self.noise[responses], 0), return_kept_mass=True, **self.filters)
            self.token[rows] = sampled[0]
            self.record(responses, *(values[None] for values in sampled))
            self.clock.lap("sampling")

    def prefill(self, new: list[int]) -> None:
        """Brings prompts into their slots. UserError where the model's logits are not finite."""
        slots = [self.slot_of[p] for p in new]
        logits = self.engine.prefill(slots, [self.prompts[p] for p in new])
        if not logits.isfinite().all():
            raise UserError("the model's logits are not finite: its weights are damaged")
        if self.prompt_logits is None:
            self.prompt_logits = logits.new_zeros(self.engine.slots, logits.shape[1])
        self.prompt_logits[torch.tensor(slots, device=logits.device)] = logits
        self.clock.lap("prefill")


class Replayed:
    """Calls `work`: on a GPU as a graph, captured at the second call after `forget`. The first, plain one, warms up."""

    def __init__(self, work, device: torch.device):
        self.work, self.on_gpu = work, device.type == "cuda"
        self.forget()

    def forget(self) -> None:
        """The tensors that `work` reads or writes have been replaced."""
        self.calls, self.graph = 0, None

    def __call__(self) -> None:
        if self.on_gpu and self.calls == 1:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):  # notes the kernels, runs none
                self.work()
        if self.graph is not None:
            self.graph.replay()
        else:
            self.work()
        self.calls += 1


def fit(responses: int, k: int, limit: int, prompt_len: int, budget: int) -> tuple[int, int]:
    """Rows to decode at once, and prompts to keep, so that their keys and values are of at most `budget` tokens (or of one row).

    >>> fit(responses=64, k=8, limit=100, prompt_len=20, budget=10_000)  # all of it
    (64, 8)
    >>> fit(responses=64, k=8, limit=100, prompt_len=20, budget=2_000)
    (18, 6)
    """
    if responses * limit + responses // k * prompt_len <= budget:
        return responses, responses // k
    for rows in range(max(1, min(responses, budget // limit)), 0, -1):
        slots = min(responses // k, SPARE * -(-rows // k))
        if rows * limit + slots * prompt_len <= budget or rows == 1:
            return rows, slots
