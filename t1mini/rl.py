"""Reinforcement learning that explores: the T1 step.

    for each update:
        1. problems      P prompts
        2. rollouts      K responses a prompt at temperature tau > 1 (T1: more is better, 1.2 is best)     [N, T]
        3. rewards       1 if right, 0 if not, -1 if repetitive, overlong or garbled                       [P, K]
        4. reference     log-probabilities of the same responses under a slow copy of the policy           [N, T]
        5. advantages    A = RLOO(r') - kl_coef * (KL - mean KL of the prompt)                             [P, K]
        6. update        loss = -1/tokens * sum(A * log pi + entropy_coef * H), one gradient step, on-policy
        7. reference     pi_ref <- decay * pi_ref + (1 - decay) * pi
        8. metrics       a row in metrics.csv

Rows are responses, prompt-major: N = P * K of them, T tokens wide. r' is the reward after penalties; KL is how much likelier the
policy finds its own response than the reference does, in nats; on-policy means that samples come from the very weights they update.
A step in which anything is not finite is not applied (t1mini.runs.state).

There is no value model, no clipping, no importance ratio: samples are used once, by the policy that drew them. The policy's
log-probabilities for the KL are those noted while sampling; the update computes them again for the gradient and the step
stops if the two disagree, which would mean that what is trained is not what was sampled.

Run it: python -m t1mini rl --init data/tiny-sft
"""

import contextlib
import itertools
import random
from dataclasses import dataclass
from typing import Iterator, Sequence

import torch
from torch import Tensor

from t1mini.runs import team as distributed
from t1mini.runs.checkpoint import load_policy, save_policy
from t1mini.runs.clock import Clock
from t1mini.runs.settings import SMALL_CACHE, StageConfig, UserError, setting
from t1mini.runs.team import Team
from t1mini.lab.exercise import in_place
from t1mini.loss import centred_kl, mean_advantages, rloo_advantages, sequence_kl, shared_out, standardised_advantages
from t1mini.runs.machine import DTYPES, PRECISIONS, compute_precision
from t1mini.metrics import metrics_row, response_totals, sample_text, share_totals, signs
from t1mini.model import Qwen
from t1mini.runs.optimiser import NotFinite, Optimiser
from t1mini.reference import EMAReference
from t1mini.reward import PATTERNS, Verdict, judge_rollouts
from t1mini.rollout import Rollouts, generate
from t1mini.runs.folder import RunFolder
from t1mini.runs.state import TrainingState
from t1mini.tasks import TASKS, load_problems
from t1mini.runs.tokenizer import Tokenizer
from t1mini.update import accumulate_gradients, score_rollouts

LARGEST_GAP = 1e-2  # nats: float32 rollout and update that differ by more are not scoring the same thing


@dataclass(frozen=True)
class RLConfig(StageConfig):
    task: str = setting("countdown", "what the problems are", choices=tuple(TASKS), qwen="math")
    resume: str = setting("", "folder of an earlier run to go on with; its own settings are used")
    init: str = setting("data/tiny-sft", "checkpoint folder to start from", qwen="")
    data: str = setting("data", "file of problems, or folder of train.jsonl", qwen="")
    exercise: str = setting("", "a file of tutorials/exercises whose functions take the library's place")
    steps: int = setting(70, "updates", low=1, high=10**6, gpu=300)
    prompts: int = setting(32, "prompts an update", low=1, high=65536, gpu=64, qwen=32)
    k: int = setting(16, "responses sampled for each prompt", low=2, high=65536, gpu=64)
    max_new_tokens: int = setting(192, "limit of a response's length", low=1, high=2**20, qwen=1024)
    temperature: float = setting(1.2, "sampling temperature tau", low=1e-3, high=100)
    top_k: int = setting(0, "sample from the k likeliest tokens only; 0 means all", low=0)
    top_p: float = setting(1.0, "sample from the likeliest tokens that hold this mass", above=0, high=1)
    min_p: float = setting(0.0, "sample only tokens with p >= min_p * the largest p", low=0, high=1)
    lr: float = setting(8e-4, "peak learning rate", above=0, high=1, gpu=2e-4, qwen=1.5e-6)
    final_lr: float = setting(0.1, "last learning rate as a share of the peak", low=0, high=1)
    warmup: int = setting(5, "updates of warm-up", low=0, high=10**6)
    weight_decay: float = setting(0.0, "AdamW weight decay of matrices", low=0, high=10)
    clip: float = setting(1.0, "gradient norm to clip to", above=0)
    kl_coef: float = setting(2e-4, "weight of the centred KL in the advantage (beta)", low=0, high=100)
    entropy_coef: float = setting(0.001, "weight of the token entropy in the loss (alpha)", low=0, high=100)
    ema_decay: float = setting(0.99, "how much of the reference stays at each update; 1 freezes it", low=0, high=1)
    repeat_limit: int = setting(4, "times an attempt, or a run of 20 tokens, may occur in a response", low=1)
    penalties: bool = setting(True, "give -1 to responses that show a pattern of --patterns")
    patterns: tuple = setting(PATTERNS, "which patterns are penalised", choices=PATTERNS)
    credit: str = setting("rloo", "a response's advantage: T1's leave-one-out; or, to compare, its reward over the group's mean, that over "
                          "the group's standard deviation, or leave-one-out shared out over its tokens", choices=("rloo", "mean", "std", "length"))
    max_batch_tokens: int = setting(100_000, "tokens that responses sampled at once may have, with their prompts: rows x limit", low=1,
                                    gpu=800_000, qwen=300_000, **SMALL_CACHE)
    micro_batch_tokens: int = setting(2048, "tokens of one forward and backward pass, padding counted", low=1, gpu=65536, qwen=16384)
    precision: str = setting("float32", "what the model computes in; weights stay float32", choices=PRECISIONS, gpu="bfloat16")
    save_precision: str = setting("float32", "what checkpoints are written in", choices=PRECISIONS)
    recompute: bool = setting(False, "keep no activations within a layer, compute them again in the backward pass", qwen=True)
    compile: bool = setting(False, "compile the layers for scoring and update: minutes at first, faster steps on a GPU")
    reference_on_cpu: bool = setting(False, "keep the reference in the CPU's memory while it is not scoring")
    checkpoint_every: int = setting(35, "updates between checkpoints", low=1)
    state_every: int = setting(10, "updates between saves of the state that --resume goes on from", low=1)
    keep_last: int = setting(2, "saved states to keep, the oldest go", low=1)
    workers: int = setting(2, "processes that share training and threads; never more than threads", low=1, high=1024, gpu=1)


def run(config: RLConfig) -> None:
    problems = load_problems(config.task, config.data, "train")
    policy, tokenizer = load_policy(config.init, config.device)
    TASKS[config.task].require_tokenizer(tokenizer, config.init)
    with contextlib.ExitStack() as opened:
        if config.exercise:
            opened.enter_context(in_place(config.exercise))
        folder = opened.enter_context(RunFolder.open(config, "rl", distributed.leads(config.prompts)))
        team = opened.enter_context(distributed.team(config, "rl", config.prompts))
        train(policy, tokenizer, problems, config, folder, team)
    if folder:
        print(f"saved {folder.path / 'final'}; metrics in {folder.path / 'metrics.csv'}")


def train(policy: Qwen, tokenizer: Tokenizer, problems: list, config: RLConfig, folder: RunFolder | None, team: Team = Team()) -> None:
    """Reinforces `policy` in place. Each rank of the team takes its share of a step's prompts; only the one that leads has a `folder`."""
    policy.recompute = config.recompute
    reference = EMAReference(policy, config.ema_decay, home="cpu" if config.reference_on_cpu else config.device)
    if config.compile:
        policy.compile_layers()
        reference.model.compile_layers()
    optimiser = Optimiser(policy, team, lr=config.lr, steps=config.steps, warmup=config.warmup, clip=config.clip,
                          weight_decay=config.weight_decay, final=config.final_lr)
    state = TrainingState(config, folder, team, optimiser, policy=policy, reference=reference.model)
    order = itertools.islice(problem_order(len(problems), config.seed), state.step * config.prompts, None)
    with state:
        for step in state.updates(config.steps, "RL"):
            batch = [problems[i] for i in itertools.islice(order, config.prompts)]
            row, seconds, sample = t1_step(step, batch, policy, reference, optimiser, tokenizer, config, team, state)
            if row:
                state.bar.set_postfix({name: f"{row[name]:.2f}" for name in ("reward", "accuracy", "length", "entropy")})
                for sign, advice in signs(row):
                    state.note(step + 1, sign, advice)
            if folder and row:
                folder.append_row("metrics.csv", row)
                folder.append_row("timing.csv", {"step": step + 1, **seconds})
                folder.append_text("samples.txt", sample)
            if folder and (step + 1) % config.checkpoint_every == 0:
                save_policy(policy, tokenizer, folder.path / f"step-{step + 1:04d}", DTYPES[config.save_precision])
            state.after(step + 1)
        if folder:
            save_policy(policy, tokenizer, folder.path / "final", DTYPES[config.save_precision])


def t1_step(step: int, batch: list, policy: Qwen, reference: EMAReference, optimiser: Optimiser, tokenizer: Tokenizer,
            config: RLConfig, team: Team, state: TrainingState) -> tuple[dict[str, float], dict[str, float], str]:
    """One update on this step's problems. Returns its metrics row (empty if it was refused), its timing row, and two responses to read."""
    clock = Clock(config.device)
    # 1. problems: this rank's share of them, P in number
    numbers = team.share(range(len(batch)))
    problems = team.share(batch)
    prompts = [TASKS[config.task].prompt_ids(problem, tokenizer) for problem in problems]
    # 2. rollouts
    rollouts = sample_responses(policy, tokenizer, prompts, numbers, config, step)  # N = P * K rows
    clock.lap("rollout")
    # 3. rewards
    verdicts = judge_rollouts(config, problems, rollouts, tokenizer)
    rewards = rewards_of(verdicts, config).to(config.device)  # [P, K]
    clock.lap("reward")
    # 4. reference
    with reference.on(config.device) as slow_copy:
        ref_logprobs = score_rollouts(slow_copy, prompts, rollouts, config, tokenizer.size)  # [N, T]
    kl = sequence_kl(rollouts.logprobs, ref_logprobs, rollouts.mask)  # [N]
    clock.lap("reference")
    # 5. advantages
    advantages = group_advantages(rewards, config.credit) - config.kl_coef * centred_kl(kl.view_as(rewards))  # [P, K]
    tokens = team.sum(rollouts.lengths.sum())  # of the whole batch, whichever rank has them
    if config.credit == "length":
        advantages = shared_out(advantages, rollouts.lengths, tokens / (len(batch) * config.k))
    # 6. update
    update = accumulate_gradients(policy, prompts, rollouts, advantages.flatten(), tokens, config, tokenizer.size)
    padding, gap = update.pop("padding"), check_gap(team, update.pop("logprob_gap"), config)
    try:
        grad_norm = optimiser.step(step, reward=rewards, logprob=rollouts.logprobs, ref_logprob=ref_logprobs, loss=update["loss"])
    except NotFinite as quantity:
        state.refuse(step + 1, str(quantity), batch_rows(problems, verdicts, rewards, rollouts, kl, advantages, config))
        return {}, {}, ""
    # 7. reference
    reference.update(policy)
    clock.lap("update")
    # 8. metrics
    totals = response_totals(verdicts, rewards) | update
    totals |= {"kl": kl.sum().item(), "kept_mass": rollouts.kept_mass.sum().item()}
    row = metrics_row(step + 1, share_totals(team, totals, config.device), grad_norm, gap)
    return row, clock.seconds | {"padding": padding}, sample_text(step + 1, TASKS[config.task].prompt_text(problems[0]), verdicts[0])


def group_advantages(rewards: Tensor, credit: str) -> Tensor:
    """A response's reward against those of its prompt's other responses: [P, K] -> [P, K]. All but rloo are there to compare."""
    if credit == "mean":
        return mean_advantages(rewards)
    return standardised_advantages(rewards) if credit == "std" else rloo_advantages(rewards)


def problem_order(problems: int, seed: int) -> Iterator[int]:
    """Problem numbers in the order they are used, without end: every one once before any comes again."""
    rng = random.Random(seed)
    while True:
        yield from rng.sample(range(problems), problems)


def sample_responses(policy: Qwen, tokenizer: Tokenizer, prompts: list[list[int]], numbers: Sequence[int], config: RLConfig,
                     step: int) -> Rollouts:
    """K responses to each prompt; `numbers` are the prompts' places in the step's whole batch."""
    with compute_precision(config):
        return generate(policy, prompts, config.k, max_new_tokens=config.max_new_tokens, temperature=config.temperature,
                        top_k=config.top_k, top_p=config.top_p, min_p=config.min_p, **tokenizer.limits, seed=config.seed,
                        step=step, prompt_indices=numbers, max_batch_tokens=config.max_batch_tokens)


def rewards_of(verdicts: list[list[Verdict]], config: RLConfig) -> Tensor:
    """Penalised rewards [P, K]; without --penalties, plain ones."""
    patterns = config.patterns if config.penalties else ()
    return torch.tensor([[v.penalised(patterns) for v in group] for group in verdicts])


def batch_rows(problems: list, verdicts: list[list[Verdict]], rewards: Tensor, rollouts: Rollouts, kl: Tensor, advantages: Tensor,
               config: RLConfig) -> list[dict]:
    """A row a response, to be looked at when an update was refused. Log-probability and KL in nats a response."""
    prompts = [TASKS[config.task].prompt_text(problem) for problem in problems]
    flat = [v for group in verdicts for v in group]
    columns = {"reward": rewards.flatten(), "advantage": advantages.flatten(), "logprob": rollouts.logprobs.sum(-1), "kl": kl}
    return [{"prompt": prompts[i // config.k], "response": v.text, "length": v.length, **{name: x[i].item() for name, x in columns.items()}}
            for i, v in enumerate(flat)]


def check_gap(team: Team, gap: float, config: RLConfig) -> float:
    """The largest gap of any rank. UserError where float32 would train what it did not sample."""
    gap = team.max(torch.tensor(gap, device=config.device)).item()
    if config.precision == "float32" and gap > LARGEST_GAP:
        raise UserError(f"rollout and update disagree by {gap:.3g} nats on a token (limit {LARGEST_GAP:.3g}); the step was not applied. "
                        "Are the weights of --init sound, and --lr not too high?")
    return gap
