"""The loss: leave-one-out advantages, centred KL, token entropy, and the policy gradient over them.

K responses y_1..y_K to a prompt, penalised rewards r'_i (T1, section on reinforcement learning):

    A_i  = r'_i - mean_{j != i} r'_j                                    RLOO: the others are the baseline
    KL_i = sum_t log pi(y_t|..) - log pi_ref(y_t|..)                    of the sampled tokens, detached
    A_i <- A_i - kl_coef * (KL_i - mean over the prompt's K of KL)      centred: drift costs within the group
    loss = - 1/tokens * sum_i sum_t ( A_i * log pi(y_t|..) + entropy_coef * H(pi(.|..)) )

On-policy: one gradient step on fresh samples, so no ratio and no clipping. `tokens` counts the whole batch's
response tokens, so micro-batches sum to the same gradient however they are cut and a long response weighs by
its tokens.

The KL is a detached cost inside the advantage. Differentiated directly, the mean of log pi - log pi_ref over
samples of pi would push nowhere on average, since log-probabilities' gradients average to zero.

Every log-probability here is of softmax(logits / temperature), at the temperature that was sampled.

See it checked by finite differences and by enumeration: python -m pytest tests/test_loss.py
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def rloo_advantages(rewards: Tensor) -> Tensor:
    """Reward minus the mean reward of the prompt's other responses: [P, K] -> [P, K]. ValueError for K < 2.

    >>> rloo_advantages(torch.tensor([[1.0, 0.0, 0.0, -1.0]]))
    tensor([[ 1.3333,  0.0000,  0.0000, -1.3333]])
    """
    k = rewards.shape[-1]
    if k < 2:
        raise ValueError(f"leave-one-out needs at least 2 responses a prompt, got {k}")
    return rewards - (rewards.sum(-1, keepdim=True) - rewards) / (k - 1)


def sequence_kl(logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor) -> Tensor:
    """log pi(y|x) - log pi_ref(y|x) of each sampled response, in nats, detached: three of [N, T] -> [N]."""
    return (logprobs - ref_logprobs).masked_fill(~mask.bool(), 0.0).sum(-1).detach()


def centred_kl(kl: Tensor) -> Tensor:
    """KL minus its mean over the prompt's responses: [P, K] -> [P, K]."""
    return kl - kl.mean(-1, keepdim=True)


def token_entropy(logits: Tensor) -> Tensor:
    """-sum p log p in nats: [.., V] -> [..]. Tokens ruled out by a logit of -inf count as p log p = 0.

    >>> token_entropy(torch.tensor([0.0, 0.0, float("-inf")]))
    tensor(0.6931)
    """
    logp = logits.log_softmax(-1).clamp_min(-1e4)  # not -inf: 0 * -inf is NaN, in the gradient too
    return -(logp.exp() * logp).sum(-1)


def logprobs_from_logits(logits: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """Log-probability of each token given those before it: logits [N, T, V], ids [N, T] -> [N, T].

    logits[:, t] scores ids[:, t + 1], and position 0 is 0. A temperature of 0 is scored at 1.
    """
    logp = (logits[:, :-1] / (temperature or 1.0)).log_softmax(-1)
    return F.pad(logp.gather(-1, ids[:, 1:, None]).squeeze(-1), (1, 0))


def policy_gradient_loss(logprobs: Tensor, advantages: Tensor, mask: Tensor, *, entropy: Tensor | None = None,
                         entropy_coef: float = 0.0, normaliser: float | Tensor | None = None) -> Tensor:
    """-sum(A * log pi + entropy_coef * H) over response tokens / normaliser, a scalar to minimise.

    logprobs, mask and entropy [N, T]; advantages [N], through which no gradient flows. `normaliser` is the
    number of response tokens of the whole batch; by default those of `mask`.
    """
    objective = advantages.detach()[:, None] * logprobs
    if entropy_coef:
        objective = objective + entropy_coef * entropy
    if normaliser is None:
        normaliser = mask.sum().clamp_min(1)
    return -objective.masked_fill(~mask.bool(), 0.0).sum() / normaliser
