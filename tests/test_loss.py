"""Advantages, KL, entropy and the policy gradient equal their definitions: by brute force, by finite differences and by
enumerating every response a small policy can give."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from t1mini.runs.batches import length_mask
from t1mini.loss import (centred_kl, logprobs_from_logits, policy_gradient_loss, rloo_advantages, sequence_kl,
                         token_entropy)

TEMPERATURE = 1.3


def randn(*shape: int, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def close(found, expected, atol=1e-12):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


# --- advantages and KL ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("k", [2, 3, 5])
def test_rloo_is_the_reward_minus_the_mean_of_the_others(k):
    rewards = randn(4, k)
    brute = [[row[i] - sum(row[j] for j in range(k) if j != i) / (k - 1) for i in range(k)] for row in rewards.tolist()]
    close(rloo_advantages(rewards), torch.tensor(brute, dtype=torch.float64))


def test_rloo_does_not_see_a_constant_added_to_a_prompts_rewards():
    rewards = randn(4, 3)
    close(rloo_advantages(rewards + randn(4, 1, seed=1)), rloo_advantages(rewards))


def test_a_group_of_equal_rewards_has_advantage_exactly_0():
    assert rloo_advantages(torch.tensor([[-1.0] * 5, [0.0] * 5, [1.0] * 5])).count_nonzero() == 0


@pytest.mark.parametrize("k", [0, 1])
def test_rloo_refuses_fewer_than_2_responses(k):
    with pytest.raises(ValueError):
        rloo_advantages(torch.zeros(4, k))


@pytest.mark.parametrize("k", [2, 5])
def test_kl_inside_the_reward_is_centred_kl_up_to_a_factor(k):
    rewards, kl, beta = randn(4, k), randn(4, k, seed=1), 0.3
    close(rloo_advantages(rewards - beta * kl), rloo_advantages(rewards) - beta * k / (k - 1) * centred_kl(kl))


def test_centred_kl_subtracts_the_mean_of_each_prompt():
    close(centred_kl(torch.tensor([[1.0, 2.0, 6.0], [0.0, -3.0, 0.0]])), torch.tensor([[-2.0, -1.0, 3.0], [1.0, -2.0, 1.0]]))


def test_sequence_kl_sums_the_masked_tokens_only_and_is_detached():
    logprobs, ref, lengths = randn(3, 5).requires_grad_(), randn(3, 5, seed=1), [5, 1, 3]
    kl = sequence_kl(logprobs, ref, length_mask(torch.tensor(lengths), 5))
    close(kl, torch.stack([(logprobs[i, :n] - ref[i, :n]).sum() for i, n in enumerate(lengths)]).detach())
    assert not kl.requires_grad


def test_a_response_that_became_likelier_has_more_kl_and_less_advantage():
    logprobs, mask, rewards = -torch.ones(3, 4), torch.ones(3, 4), torch.tensor([[1.0, 0.0, 1.0]])
    raised = logprobs + torch.tensor([[0.5], [0.0], [0.0]])
    kl = [sequence_kl(lp, logprobs, mask).view(1, 3) for lp in (logprobs, raised)]
    before, after = (rloo_advantages(rewards) - 0.1 * centred_kl(x) for x in kl)
    assert kl[1][0, 0] > kl[0][0, 0] and after[0, 0] < before[0, 0] and (after[0, 1:] > before[0, 1:]).all()


# --- entropy and log-probabilities ----------------------------------------------------------------------------------

def test_entropy_is_minus_sum_p_log_p():
    logits = randn(2, 3, 7)
    p = logits.softmax(-1)
    close(token_entropy(logits), -(p * p.log()).sum(-1))


def test_entropy_and_its_gradient_ignore_tokens_ruled_out_by_minus_infinity():
    logits = randn(4, 7)
    logits[:, 5:] = -torch.inf
    logits.requires_grad_()
    entropy = token_entropy(logits)
    entropy.sum().backward()
    possible = logits.detach()[:, :5].requires_grad_()
    token_entropy(possible).sum().backward()
    close(entropy, token_entropy(possible))
    close(logits.grad, F.pad(possible.grad, (0, 2)))


def test_logits_at_t_score_the_token_at_t_plus_1_and_position_0_is_0():
    logits, ids = randn(3, 5, 7), torch.randint(7, (3, 5), generator=torch.Generator().manual_seed(1))
    found = logprobs_from_logits(logits, ids, TEMPERATURE)
    assert found.shape == (3, 5) and found[:, 0].count_nonzero() == 0
    for n, t in product(range(3), range(4)):
        close(found[n, t + 1], (logits[n, t] / TEMPERATURE).log_softmax(-1)[ids[n, t + 1]])


# --- the policy gradient --------------------------------------------------------------------------------------------

N, T, V = 4, 5, 3
LENGTHS = torch.tensor([5, 2, 4, 1])
MASK = length_mask(LENGTHS, T)
IDS = torch.randint(V, (N, T + 1), generator=torch.Generator().manual_seed(2))  # a prompt token, then T of response


def policy_loss(logits, advantages, rows=slice(None), **options):
    """The loss of a table of logits [N, T, V], one distribution a response token."""
    logprobs = logprobs_from_logits(F.pad(logits, (0, 0, 0, 1)), IDS, TEMPERATURE)[:, 1:]  # [N, T]
    entropy = token_entropy(logits / TEMPERATURE)
    return policy_gradient_loss(logprobs[rows], advantages[rows], MASK[rows], entropy=entropy[rows], **options)


@pytest.mark.parametrize("entropy_coef", [0.0, 0.2])
def test_the_gradient_is_that_of_finite_differences_with_advantages_held(entropy_coef):
    logits, advantages, step = randn(N, T, V).requires_grad_(), randn(N, seed=1), 1e-5
    policy_loss(logits, advantages, entropy_coef=entropy_coef).backward()
    slopes = torch.zeros(logits.numel(), dtype=torch.float64)
    for i in range(logits.numel()):
        shift = step * F.one_hot(torch.tensor(i), logits.numel()).view_as(logits)
        up, down = (policy_loss(logits.detach() + s, advantages, entropy_coef=entropy_coef) for s in (shift, -shift))
        slopes[i] = (up - down) / (2 * step)
    close(logits.grad.flatten(), slopes, atol=1e-9)
    assert slopes.abs().max() > 0.01


def test_the_loss_is_minus_the_mean_over_response_tokens():
    logprobs, entropy, advantages = randn(N, T), randn(N, T, seed=1), randn(N, seed=2)
    total = sum(advantages[n] * logprobs[n, t] + 0.2 * entropy[n, t] for n in range(N) for t in range(LENGTHS[n]))
    close(policy_gradient_loss(logprobs, advantages, MASK, entropy=entropy, entropy_coef=0.2), -total / 12)
    close(policy_gradient_loss(logprobs, advantages, MASK, entropy=entropy, entropy_coef=0.2, normaliser=50), -total / 50)


def test_no_gradient_flows_through_advantages():
    logits, scale = randn(N, T, V).requires_grad_(), torch.ones((), dtype=torch.float64, requires_grad=True)
    advantages = scale * logits.sum((1, 2))  # depends on the policy, as a KL that was not detached would
    policy_loss(logits, advantages).backward()
    held = logits.detach().requires_grad_()
    policy_loss(held, advantages.detach()).backward()
    close(logits.grad, held.grad)
    assert scale.grad is None


@pytest.mark.parametrize("cuts", [[[0], [1], [2], [3]], [[3, 1], [0, 2]], [[0, 1, 2], [3]]], ids=str)
def test_micro_batches_sum_to_the_gradient_of_the_whole_batch(cuts):
    advantages, options = randn(N, seed=1), {"entropy_coef": 0.2}
    whole, parts = randn(N, T, V).requires_grad_(), randn(N, T, V).requires_grad_()
    policy_loss(whole, advantages, **options).backward()
    for rows in cuts:
        policy_loss(parts, advantages, rows, normaliser=LENGTHS.sum(), **options).backward()
    close(parts.grad, whole.grad)


def test_the_end_tokens_position_is_trained_on_and_what_follows_is_not():
    logprobs, advantages = randn(N, T).requires_grad_(), randn(N, seed=1)
    policy_gradient_loss(logprobs, advantages, MASK).backward()
    last = logprobs.grad[torch.arange(N), LENGTHS - 1]
    close(last, -advantages / LENGTHS.sum())
    assert logprobs.grad[~MASK].count_nonzero() == 0


def test_padding_gets_no_entropy_bonus_either():
    entropy = randn(N, T).requires_grad_()
    policy_gradient_loss(randn(N, T), randn(N), MASK, entropy=entropy, entropy_coef=0.2).backward()
    close(entropy.grad, -0.2 * MASK.double() / LENGTHS.sum())


@pytest.mark.parametrize("kl_coef", [0.0, 0.7])
def test_over_all_responses_the_expected_step_climbs_reward_minus_kl(kl_coef):
    """E[gradient of the loss] = -gradient of (E[r] - kl_coef (K-1)/K KL(pi || ref)) / tokens, over all 9^K groups."""
    k, vocabulary, length = 2, 3, 2
    theta = randn(1 + vocabulary, vocabulary).requires_grad_()  # logits of the first token, and of the second after each first
    ref = randn(1 + vocabulary, vocabulary, seed=1)
    reward = randn(vocabulary**length, seed=2)
    responses = torch.tensor(list(product(range(vocabulary), repeat=length)))  # [9, 2]

    def token_scores(table):
        logp = (table / TEMPERATURE).log_softmax(-1)
        return torch.stack([logp[0, responses[:, 0]], logp[1 + responses[:, 0], responses[:, 1]]], dim=1)  # [9, 2]

    logprobs, ref_logprobs, mask = token_scores(theta), token_scores(ref), torch.ones(k, length, dtype=torch.bool)
    chance = logprobs.sum(-1).exp()  # [9]
    expected_loss = 0.0
    for group in map(list, product(range(len(responses)), repeat=k)):
        kl = sequence_kl(logprobs[group], ref_logprobs[group], mask).view(1, k)
        advantages = rloo_advantages(reward[group].view(1, k)) - kl_coef * centred_kl(kl)
        expected_loss += chance[group].prod().detach() * policy_gradient_loss(logprobs[group], advantages[0], mask)
    true_kl = (chance * (logprobs - ref_logprobs).sum(-1)).sum()
    objective = (chance * reward).sum() - kl_coef * (k - 1) / k * true_kl
    (found,), (climb,) = (torch.autograd.grad(x, theta, retain_graph=True) for x in (expected_loss, objective))
    close(found, -climb / length)
