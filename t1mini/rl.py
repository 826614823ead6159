"""Reinforcement learning that explores: the T1 step.

    for each update:
        1. problems      P prompts
        2. rollouts      K responses a prompt at temperature tau > 1 (T1: more is better, 1.2 is best)  [N, T]
        3. rewards       1 if right, 0 if not, -1 if repetitive, overlong or garbled                    [P, K]
        4. reference     log-probabilities of the same responses under a slow copy of the policy        [N, T]
        5. advantages    A = RLOO(r') - kl_coef * (KL - mean KL of the prompt)                          [P, K]
        6. update        loss = -1/tokens * sum(A * log pi + entropy_coef * H), one gradient step, on-policy
        7. reference     pi_ref <- decay * pi_ref + (1 - decay) * pi
        8. metrics       a row in metrics.csv

Rows are responses, prompt-major: N = P * K of them, T tokens wide. r' is the reward after penalties; KL is
how much likelier the policy finds its own response than the reference does, in nats; on-policy means that
samples come from the very weights they update.

There is no value model and no importance ratio, so none to clip (--clip is about the gradient's norm):
samples are used once, by the policy that drew them. The policy's log-probabilities for the KL are those noted
while sampling; the update computes them again for the gradient, and in float32 the run stops if the two
disagree: what is trained would not be what was sampled.

Run it: python -m t1mini rl --init data/tiny-sft
"""

import itertools
import math
import random
from dataclasses import dataclass, replace
from typing import Callable, Iterator, Sequence

from t1mini.evaluate import HeldOut
from t1mini.fast import twins
from t1mini.loss import centred_kl, policy_gradient_loss, rloo_advantages, sequence_kl
from t1mini.metrics import LARGEST_GAP, StepRecord, signs
from t1mini.model import Qwen
from t1mini.penalties import PATTERNS, judge_rollouts, rewards_of
from t1mini.reference import EMAReference
from t1mini.rollout import rows_to_score, score_rollouts
from t1mini.runs.checkpoint import save_policy
from t1mini.runs.folder import RunFolder, json_lines
from t1mini.runs.machine import DTYPES, Clock
from t1mini.runs.optimiser import NotFinite, Optimiser
from t1mini.runs.settings import SMALL_CACHE, TrainingConfig, setting
from t1mini.runs.state import TrainingState
from t1mini.runs.team import Team, leads, team
from t1mini.runs.tokenizer import Tokenizer
from t1mini.sampler import Sampling
from t1mini.tasks import TASKS, load_problems, policy_for

SHOWN = ("reward", "accuracy", "length", "entropy")  # beside the progress bar


@dataclass(frozen=True)
class RLConfig(TrainingConfig):
    task: str = setting("countdown", "countdown, math, or the file of your own", qwen="math")
    init: str = setting("data/tiny-sft", "checkpoint folder to start from", qwen="")
    data: str = setting("data", "file of problems, or folder of train.jsonl", qwen="")
    steps: int = setting(70, "updates", "1 to 1_000_000", gpu=300, smollm=48)
    prompts: int = setting(32, "prompts an update", "1 to 65_536", gpu=64, qwen=32, smollm=16)
    k: int = setting(16, "responses sampled for each prompt", "2 to 65_536", gpu=64, smollm=8)
    max_new_tokens: int = setting(192, "limit of a response's length", "1 to 1_048_576", qwen=1024,
                                  smollm=160)
    temperature: float = setting(1.2, "sampling temperature tau", "0.001 to 100")
    min_p: float = setting(0.0, "sample only tokens with p >= min_p * the largest p (findings, F3)", "0 to 1")
    lr: float = setting(8e-4, "peak learning rate", "above 0, to 1", gpu=2e-4, qwen=1.5e-6, smollm=3e-5)
    final_lr: float = setting(0.1, "last learning rate as a share of the peak", "0 to 1")
    warmup: int = setting(5, "updates of warm-up", "0 to 1_000_000")
    weight_decay: float = setting(0.0, "AdamW weight decay of matrices", "0 to 10")
    kl_coef: float = setting(2e-4, "weight of the centred KL in the advantage (beta)", "0 to 100")
    entropy_coef: float = setting(0.001, "weight of the token entropy in the loss (alpha)", "0 to 100")
    ema_decay: float = setting(0.99, "share of the reference that stays; 1 freezes it", "0 to 1")
    ema_every: int = setting(1, "updates between moves of the reference; with decay 0, resets", "1 or more")
    repeat_limit: int = setting(4, "times an attempt, or a run of 20 tokens, may occur", "1 or more")
    penalties: bool = setting(True, "give -1 to responses that show a pattern of --patterns")
    patterns: tuple = setting(PATTERNS, "which patterns are penalised", choices=PATTERNS)
    variant: str = setting("", "a comparison in place of T1's own way, by its name in t1mini.lab.study")
    exercise: str = setting("", "a file of tutorials/exercises whose functions take the library's place")
    max_batch_tokens: int = setting(100_000, "tokens of all rows sampled at once, up to their limit",
                                    "1 or more", gpu=800_000, qwen=300_000, smollm=50_000,
                                    **SMALL_CACHE)
    micro_batch_tokens: int = setting(2048, "tokens of one forward and backward pass", "1 or more", gpu=65536,
                                      qwen=16384, smollm=4096)
    reference_on_cpu: bool = setting(False, "keep the reference in the CPU's memory while it is not scoring")
    checkpoint_every: int = setting(35, "updates between checkpoints", "1 or more", smollm=16)
    state_every: int = setting(10, "updates between saves of the state that --resume goes on from",
                               "1 or more")
    eval_every: int = setting(0, "updates between looks at problems held out, eval.csv; 0: none", "0 or more")
    eval_data: str = setting("", "file of those problems (default: validation.jsonl of the folder --data)")
    eval_problems: int = setting(64, "how many of them, drawn at random; 0 means all", "0 or more")
    read_problems: int = setting(4, "so many that view shows at each checkpoint, thinking.jsonl", "0 to 64")
    group_every: int = setting(5, "updates between groups in groups.jsonl; 0: none", "0 or more", gpu=25,
                               smollm=4)

    def sampling(self, vocab_limit: int) -> Sampling:
        return Sampling(self.temperature, min_p=self.min_p, vocab_limit=vocab_limit)

    @property
    def penalised(self) -> tuple[str, ...]:
        return self.patterns if self.penalties else ()


def t1_step(step: int, problems: Sequence, indices: Sequence[int], policy: Qwen, reference: EMAReference,
            optimiser: Optimiser, tokenizer: Tokenizer, config: RLConfig, generate: Callable,
            score: Callable) -> tuple[dict[str, float], StepRecord]:
    """One update on P problems, whose noise `indices` name. Returns its metrics row, and what it computed.

    NotFinite, and nothing changed, where the update has to be refused.
    """
    task, sampling = TASKS[config.task], config.sampling(tokenizer.size)
    # 1. problems
    prompts = [task.prompt_ids(problem, tokenizer) for problem in problems]
    # 2. rollouts
    rollouts = generate(policy, prompts, config.k, sampling, max_new_tokens=config.max_new_tokens,
                        eos_id=tokenizer.end_ids, seed=config.seed, step=step, prompt_indices=indices,
                        max_batch_tokens=config.max_batch_tokens)  # N = P * K rows
    # 3. rewards
    verdicts = judge_rollouts(task, problems, rollouts, tokenizer, max_new_tokens=config.max_new_tokens,
                              repeat_limit=config.repeat_limit)
    rewards = rewards_of(verdicts, config.penalised).to(policy.device)  # [P, K]
    # 4. reference
    with reference.on(policy.device) as slow_copy:
        ref_logprobs = score_rollouts(score, slow_copy, prompts, rollouts, replace(sampling, min_p=0.0),
                                      config.micro_batch_tokens)  # [N, T], unfiltered: it sampled nothing
    kl = sequence_kl(rollouts.logprobs, ref_logprobs, rollouts.mask).view_as(rewards)  # [P, K]
    # 5. advantages
    advantages = rloo_advantages(rewards) - config.kl_coef * centred_kl(kl)  # [P, K]
    # 6. update
    record = StepRecord([task.prompt_text(problem) for problem in problems], verdicts, rollouts, rewards,
                        ref_logprobs, kl, advantages, config.min_p * (config.precision == "float32"))
    tokens = optimiser.team.sum(rollouts.lengths.sum())  # of the whole batch
    of_use = [row for row, a in enumerate(advantages.flatten().tolist()) if a or config.entropy_coef]
    for rows, *texts in rows_to_score(of_use, prompts, rollouts, config.micro_batch_tokens):
        logprobs, entropy, mask = score(policy, *texts, sampling)  # [n, T]
        loss = policy_gradient_loss(logprobs, advantages.flatten()[rows], mask, entropy=entropy,
                                    entropy_coef=config.entropy_coef, normaliser=tokens)
        loss.backward()
        record.add(rows, loss, logprobs, entropy, mask)
    grad_norm = optimiser.step(step, record.quantities(), record.rows, record.gap)
    # 7. reference
    if (step + 1) % config.ema_every == 0:
        reference.update(policy)
    # 8. metrics
    return record.metrics(step + 1, grad_norm, optimiser.team), record


def run(config: RLConfig):
    problems = load_problems(config.task, config.data, "train")
    held_out = HeldOut(config)
    policy = policy_for(config, config.init, problems)
    most = config.prompts
    with RunFolder.open(config, "rl", leads(most)) as folder, team(config, "rl", most) as ranks:
        train(*policy, problems, config, folder, held_out, ranks)
    if folder:
        print(f"saved {folder.path / 'final'}; metrics in {folder.path / 'metrics.csv'}")


def train(policy: Qwen, tokenizer: Tokenizer, problems: list, config: RLConfig, folder: RunFolder | None,
          held_out: HeldOut, team: Team = Team()):
    """Reinforces `policy` in place. Each rank takes its share; only the one that leads has a folder."""
    reference = EMAReference(policy, config.ema_decay, "cpu" if config.reference_on_cpu else config.device)
    optimiser = Optimiser(policy, team, lr=config.lr, steps=config.steps, warmup=config.warmup,
                          clip=config.clip, weight_decay=config.weight_decay, final=config.final_lr,
                          largest_gap=LARGEST_GAP if config.precision == "float32" else math.inf)
    clock = Clock(config.device)
    generate, score = twins(config, clock)  # those of t1mini.rollout, or their fast equals
    state = TrainingState(config, folder, team, optimiser, policy=policy, reference=reference.model)
    order = itertools.islice(problem_order(len(problems), config.seed), state.step * config.prompts, None)
    save = lambda name: save_policy(policy, tokenizer, folder.path / name, DTYPES[config.save_precision])
    with state:
        if state.step == 0:
            held_out.look(0, policy, tokenizer, state)
        for step in state.updates(config.steps, "RL"):
            done = step + 1
            batch = team.share([problems[i] for i in itertools.islice(order, config.prompts)])
            try:
                with clock.part("seconds"):
                    row, record = t1_step(step, batch, team.share(range(config.prompts)), policy, reference,
                                          optimiser, tokenizer, config, generate, score)
            except NotFinite as refused:
                state.refuse(done, *refused.args)
            else:
                state.record(row, clock.take("seconds", "rollout", "score"), record.text(done))
                if folder and config.group_every and not done % config.group_every:
                    folder.append("groups.jsonl", json_lines([record.group(done, batch, tokenizer)]))
                state.bar.set_postfix({name: f"{row[name]:.2f}" for name in SHOWN} | held_out.shown)
                for sign in signs(row):
                    state.note(done, *sign)
            held_out.look(done, policy, tokenizer, state)
            if folder and not done % config.checkpoint_every:
                save(f"step-{done:04d}")
            state.after(done)
        if folder:
            save("final")


def problem_order(problems: int, seed: int) -> Iterator[int]:
    """Problem numbers in the order they are used, without end: every one once before any comes again."""
    rng = random.Random(seed)
    while True:
        yield from rng.sample(range(problems), problems)
