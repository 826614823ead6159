"""The paper's findings as studies: what is switched, and what is then compared, in one table.

    variants     by name, what differs from the preset in SFT or in RL. `share` is that of RL's updates after
                 which the policy is measured (0: the SFT model); `hard` keeps what the SFT model mostly fails
    contrasts    "figure, a - b", a line each: what to compare; t1mini.lab.plot adds its 95% interval
    common       what differs from the preset in every variant
    samples      responses to each test problem

See what the rows say: python -m t1mini plot thinking-budget --text
"""

from typing import NamedTuple

from t1mini.penalties import PATTERNS


class Study(NamedTuple):
    shows: str  # the finding, F1 to F9 of the paper's
    variants: dict
    contrasts: str
    common: dict = {}
    samples: int = 4


START = {"share": 0.0}
# a teacher that solves at once, for as many tokens
CLEAN = {"spread": 1e-3, "give_up": 0.0, "repeat": 0.0, "slip": 0.0, "misjudge": 0.0, "traces": 236_000}
SMALL = {"hidden": 48, "layers": 2, "intermediate": 128}
LARGE = {"hidden": 160, "layers": 4, "heads": 5, "intermediate": 432}

STUDIES = {
    "thinking-budget": Study(
        "F5, F6: accuracy rises with the thinking budget, more so the further RL has gone",
        {f"{share:.0%} of RL": {"share": share} for share in (0.0, 0.3, 0.6, 1.0)},
        """
        accuracy, 0% of RL: 192 tokens - 48 tokens
        accuracy, 100% of RL: 192 tokens - 48 tokens
        gain from 48 to 192 tokens, 30% of RL - 0% of RL
        gain from 48 to 192 tokens, 60% of RL - 0% of RL
        gain from 48 to 192 tokens, 100% of RL - 0% of RL
        length, 100% of RL - 0% of RL
        recovered, 100% of RL - 0% of RL
        """),
    "start": Study(
        "F9: trial-and-error SFT is a better start than clean-solution SFT",
        {"trial and error, SFT": START, "trial and error, RL": {},
         "clean solutions, SFT": CLEAN | START, "clean solutions, RL": CLEAN},
        """
        accuracy, trial and error, RL - clean solutions, RL
        accuracy, trial and error, SFT - clean solutions, SFT
        accuracy, trial and error, RL - trial and error, SFT
        accuracy, clean solutions, RL - clean solutions, SFT
        pass@4, trial and error, RL - clean solutions, RL
        length, trial and error, RL - clean solutions, RL
        """),
    "sizes": Study(
        "F1: RL lifts every model size over its own SFT",
        {"small, SFT": SMALL | START, "small, RL": SMALL,
         "middle, SFT": START, "middle, RL": {},
         "large, SFT": LARGE | START, "large, RL": LARGE},
        """
        accuracy, small, RL - small, SFT
        accuracy, middle, RL - middle, SFT
        accuracy, large, RL - large, SFT
        """),
    "penalties": Study(
        "F4: penalties hold length and quality",
        {"all penalties": {}, "none": {"penalties": False}}
        | {f"only {name}": {"patterns": (name,)} for name in PATTERNS}
        | {"overlong masked": {"patterns": ("repetitive", "garbled"), "variant": "masked"}},
        """
        accuracy, all penalties - none
        accuracy, all penalties - only repetitive
        accuracy, all penalties - only overlong
        accuracy, all penalties - only garbled
        accuracy, none - only repetitive
        accuracy, none - only overlong
        accuracy, none - only garbled
        accuracy, overlong masked - all penalties
        accuracy, overlong masked - none
        length, none - all penalties
        repetitive, none - all penalties
        overlong, none - all penalties
        garbled, none - all penalties
        """,
        common={"steps": 150}),
    "oversampling": Study(
        "F2: larger K gives higher accuracy, longer answers, less KL for the same reward",
        {f"K = {k}, 32 prompts": {"k": k} for k in (4, 16, 64)}
        | {f"K = {k}, 512 responses": {"k": k, "prompts": 512 // k} for k in (4, 64)},
        """
        accuracy, K = 64, 32 prompts - K = 4, 32 prompts
        accuracy, K = 64, 32 prompts - K = 16, 32 prompts
        accuracy, K = 16, 32 prompts - K = 4, 32 prompts
        accuracy, K = 64, 512 responses - K = 4, 512 responses
        length, K = 64, 32 prompts - K = 4, 32 prompts
        last_kl, K = 64, 32 prompts - K = 4, 32 prompts
        """),
    "temperature": Study(
        "F3: a sampling temperature above 1 is best, too high hurts",
        {f"temperature {t}": {"temperature": t} for t in (0.9, 1.0, 1.1, 1.2, 1.3)},
        """
        accuracy, temperature 1.2 - temperature 0.9
        accuracy, temperature 1.2 - temperature 1.0
        accuracy, temperature 1.2 - temperature 1.1
        accuracy, temperature 1.2 - temperature 1.3
        """),
    "min-p": Study(
        "F3: exploring without the tail, where what is scored is what was sampled",
        {"no filter": {}, "min-p 0.05": {"min_p": 0.05}, "min-p 0.1": {"min_p": 0.1}},
        """
        accuracy, min-p 0.05 - no filter
        accuracy, min-p 0.1 - no filter
        length, min-p 0.05 - no filter
        last_entropy, min-p 0.05 - no filter
        """),
    "reference": Study(
        "F7: a moving reference lets RL go further than a fixed one",
        {"frozen": {"ema_decay": 1.0}}
        | {f"EMA {decay}": {"ema_decay": decay} for decay in (0.9, 0.97, 0.99)}
        | {"reset every 20": {"ema_decay": 0.0, "ema_every": 20}, "none": {"kl_coef": 0.0}},
        """
        accuracy, EMA 0.99 - frozen
        accuracy, EMA 0.9 - frozen
        accuracy, none - frozen
        accuracy, reset every 20 - frozen
        accuracy, reset every 20 - EMA 0.99
        last_kl, EMA 0.9 - frozen
        """,
        common={"kl_coef": 0.05}),
    "entropy": Study(
        "F8: the entropy bonus keeps exploration alive",
        {f"entropy bonus {alpha}": {"entropy_coef": alpha} for alpha in (0.0, 0.001, 0.01, 0.03)},
        """
        accuracy, entropy bonus 0.001 - entropy bonus 0.0
        accuracy, entropy bonus 0.01 - entropy bonus 0.0
        accuracy, entropy bonus 0.03 - entropy bonus 0.0
        pass@16, entropy bonus 0.001 - entropy bonus 0.0
        pass@16, entropy bonus 0.01 - entropy bonus 0.0
        pass@16, entropy bonus 0.03 - entropy bonus 0.0
        last_entropy, entropy bonus 0.001 - entropy bonus 0.0
        last_entropy, entropy bonus 0.01 - entropy bonus 0.0
        last_entropy, entropy bonus 0.03 - entropy bonus 0.0
        """,
        samples=16),
    "credit": Study(
        "what other advantages do to length and accuracy",
        {"leave-one-out": {},
         "group mean": {"variant": "mean"},
         "over the standard deviation": {"variant": "std"},
         "shared out over tokens": {"variant": "length"},
         "SFT": START,
         "another prompt's rewards": {"variant": "random"}},
        """
        accuracy, group mean - leave-one-out
        accuracy, over the standard deviation - leave-one-out
        accuracy, shared out over tokens - leave-one-out
        accuracy, another prompt's rewards - SFT
        length, group mean - leave-one-out
        length, over the standard deviation - leave-one-out
        length, shared out over tokens - leave-one-out
        """),
    "credit-longer": Study(
        "whether credit by length goes further, or only faster",
        {"leave-one-out": {}, "shared out over tokens": {"variant": "length"}},
        """
        accuracy, shared out over tokens - leave-one-out
        length, shared out over tokens - leave-one-out
        overlong, shared out over tokens - leave-one-out
        """,
        common={"steps": 300}),
    "difficulty": Study(
        "what the filter does: problems that SFT solves in at most 30% of 16 samples",
        {"all problems": {}, "hard problems": {"hard": True}},
        """
        accuracy, hard problems - all problems
        length, hard problems - all problems
        """),
}
