"""The loss: leave-one-out advantages, centred KL, token entropy, and the policy gradient over them.

K responses y_1..y_K to a prompt, penalised rewards r'_i (T1, section on reinforcement learning):

    A_i  = r'_i - mean_{j != i} r'_j                                        RLOO: the others are the baseline
    KL_i = sum_t log pi(y_t|..) - log pi_ref(y_t|..)                        of the sampled tokens, detached
    A_i <- A_i - kl_coef * (KL_i - mean over the prompt's K of KL)          centred: drift costs only relative to the group
    loss = - 1/tokens * sum_i sum_t ( A_i * log pi(y_t|..) + entropy_coef * H(pi(.|..)) )

On-policy: one gradient step on fresh samples, so no ratio and no clipping. `tokens` counts the whole batch's response
tokens, so micro-batches sum to the same gradient however they are cut and a long response weighs by its tokens.

The KL is a detached cost inside the advantage. Differentiated directly, the mean of log pi - log pi_ref over samples of pi
would push nowhere on average, since log-probabilities' gradients average to zero.

Every log-probability here is of softmax(logits / temperature), at the temperature that was sampled.

See it checked by finite differences and by enumeration: python -m pytest tests/test_loss.py
"""

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_ELEMENTS = 2**25  # logits held at once by token_logprobs: 128 MiB of float32


def rloo_advantages(rewards: Tensor) -> Tensor:
    """Reward minus the mean reward of the prompt's other responses: [P, K] -> [P, K]. ValueError for K < 2.

    >>> rloo_advantages(torch.tensor([[1.0, 0.0, 0.0, -1.0]]))
    tensor([[ 1.3333,  0.0000,  0.0000, -1.3333]])
    """
    k = rewards.shape[-1]
    if k < 2:
        raise ValueError(f"leave-one-out needs at least 2 responses a prompt, got {k}")
    return rewards - (rewards.sum(-1, keepdim=True) - rewards) / (k - 1)


def mean_advantages(rewards: Tensor) -> Tensor:
    """Reward minus the mean reward of all the prompt's responses, its own too: (K-1)/K of `rloo_advantages`. [P, K] -> [P, K]"""
    return rewards - rewards.mean(-1, keepdim=True)


def standardised_advantages(rewards: Tensor) -> Tensor:
    """`mean_advantages` over the group's standard deviation, as in GRPO: rare successes count more. [P, K] -> [P, K], tied groups 0.

    >>> standardised_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    tensor([[ 1.5000, -0.5000, -0.5000, -0.5000],
            [ 0.0000,  0.0000,  0.0000,  0.0000]])
    """
    return mean_advantages(rewards) / rewards.std(-1, keepdim=True).clamp_min(1e-6)


def shared_out(advantages: Tensor, lengths: Tensor, mean_length: Tensor | float) -> Tensor:
    """A * mean length / length: a response's tokens share its advantage, so that a long one weighs no more than a short one. [P, K] -> [P, K]

    With the whole batch's tokens as normaliser the loss is then the mean over responses of A_i * mean over its tokens of log pi.
    """
    return advantages * mean_length / lengths.view_as(advantages)


def sequence_kl(logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor) -> Tensor:
    """log pi(y|x) - log pi_ref(y|x) of each sampled response, in nats, detached: [N, T], [N, T], [N, T] -> [N]."""
    return (logprobs - ref_logprobs).masked_fill(~mask.bool(), 0.0).sum(-1).detach()


def centred_kl(kl: Tensor) -> Tensor:
    """KL minus its mean over the prompt's responses: [P, K] -> [P, K]."""
    return kl - kl.mean(-1, keepdim=True)


def token_entropy(logits: Tensor) -> Tensor:
    """-sum p log p in nats: [.., V] -> [..]. Tokens ruled out by a logit of -inf count as p log p = 0.

    >>> token_entropy(torch.tensor([0.0, 0.0, float("-inf")]))
    tensor(0.6931)
    """
    logp = logits.log_softmax(-1)
    possible = logp > -torch.inf
    logp = torch.where(possible, logp, 0.0)  # before the product: 0 * -inf is NaN, in the gradient too
    return -torch.where(possible, logp.exp() * logp, 0.0).sum(-1)


def logprobs_from_logits(logits: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """Log-probability of each token given those before it: logits [N, T, V], ids [N, T] -> [N, T], position 0 is 0.

    logits[:, t] scores ids[:, t + 1]; a temperature of 0 is scored at 1. The slow twin of `token_logprobs`: it holds
    every logit at once.
    """
    logp = (logits[:, :-1] / (temperature or 1.0)).log_softmax(-1)
    return F.pad(logp.gather(-1, ids[:, 1:, None]).squeeze(-1), (1, 0))


def token_logprobs(hidden: Tensor, lm_head_weight: Tensor, targets: Tensor, temperature: float,
                   vocab_limit: int | None = None) -> tuple[Tensor, Tensor]:
    """Log-probability of each target and entropy of its distribution, in nats, without holding [M, V] logits.

    hidden [M, H], lm_head_weight [V, H], targets [M] -> ([M], [M]). Qwen's vocabulary of 151,936 makes 5 GB of logits of
    8,192 tokens. So a chunk of rows at a time is scored and forgotten, and scored again in the backward pass.
    """
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    return _TokenLogprobs.apply(hidden, lm_head_weight, targets, temperature or 1.0, vocab_limit, dtype)


class _TokenLogprobs(torch.autograd.Function):
    """With z = logits / temperature, p = softmax(z) and H the entropy:

    d log p_target / dz = onehot(target) - p          dH / dz = -p * (log p + H)
    """

    @staticmethod
    def forward(ctx, hidden, weight, targets, temperature, vocab_limit, dtype):
        ctx.settings = temperature, vocab_limit, dtype
        scored = []
        for h, _, target, logp in _chunks(hidden, weight, targets, *ctx.settings):
            scored.append((logp.gather(-1, target[:, None]).squeeze(-1), -(logp.exp() * logp).sum(-1)))
        logprobs, entropy = map(torch.cat, zip(*scored))
        ctx.save_for_backward(hidden, weight, targets, entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx, grad_logprobs, grad_entropy):
        hidden, weight, targets, entropy = ctx.saved_tensors
        temperature, vocab_limit, dtype = ctx.settings
        grad_hidden, grad_weight, start = [], torch.zeros_like(weight), 0  # one buffer, in the weights' own precision
        for h, w, target, logp in _chunks(hidden, weight, targets, *ctx.settings):
            rows = slice(start, start := start + len(h))
            g, g_entropy = grad_logprobs[rows, None], grad_entropy[rows, None]
            p = logp.exp()
            dz = logp.add_(entropy[rows, None]).mul_(g_entropy).add_(g).mul_(p).neg_()
            places = torch.arange(len(h), device=h.device), target
            dz[places] = dz[places] + g.squeeze(-1)
            dlogits = dz.div_(temperature).to(dtype)
            grad_hidden.append((dlogits @ w).to(hidden.dtype))
            if dtype == weight.dtype:
                grad_weight[:vocab_limit].addmm_(dlogits.T, h)  # += without a second [V, H]
            else:
                grad_weight[:vocab_limit] += dlogits.T @ h
        return torch.cat(grad_hidden), grad_weight, None, None, None, None


def _chunks(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, vocab_limit: int | None, dtype: torch.dtype):
    """A chunk of rows at a time: (hidden [m, H], weight [V, H], targets [m], log-probabilities [m, V])."""
    w = weight[:vocab_limit].to(dtype)
    m = max(1, CHUNK_ELEMENTS // len(w))
    for h, target in zip(hidden.to(dtype).split(m), targets.split(m)):
        logits = F.linear(h, w)
        wide = logits.to(torch.promote_types(dtype, torch.float32))
        yield h, w, target, (wide / temperature).log_softmax(-1)


def policy_gradient_loss(logprobs: Tensor, advantages: Tensor, mask: Tensor, *, entropy: Tensor | None = None,
                         entropy_coef: float = 0.0, normaliser: float | Tensor | None = None) -> Tensor:
    """-sum(A * log pi + entropy_coef * H) over response tokens / normaliser, a scalar to minimise.

    logprobs, mask and entropy [N, T]; advantages [N], through which no gradient flows. `normaliser` is the number of
    response tokens of the whole batch; by default those of `mask`.
    """
    objective = advantages.detach()[:, None] * logprobs
    if entropy_coef:
        objective = objective + entropy_coef * entropy
    return -objective.masked_fill(~mask.bool(), 0.0).sum() / (mask.sum().clamp_min(1) if normaliser is None else normaliser)
