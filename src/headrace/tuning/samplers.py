"""Who proposes values, and what ends trials early: optuna's own, by the names that a declaration has for them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from headrace.tuning.declared import Tuning

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

FOLDS = 5
"""Under so many folds a pruner ends nothing by default: there is too little to go by, and little to save."""


def sampler_of(tuning: Tuning, number: int) -> BaseSampler:
    """The sampler of one trial.

    It is made anew for every trial, with a seed of its own: a study that goes on after it was killed then tries what
    it would have tried, and repeats nothing.

    Args:
        tuning: Says which.
        number: How many trials there were before.
    """
    import optuna

    seed = tuning.seed * 1_000_003 + number
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if tuning.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed)
        if tuning.sampler == "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        if tuning.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        # One sequence for all trials: its place in it is kept with the study.
        return optuna.samplers.QMCSampler(
            seed=tuning.seed, scramble=True, warn_asynchronous_seeding=False, warn_independent_sampling=False
        )


def pruner_of(tuning: Tuning, folds: int) -> BasePruner:
    """What ends trials early.

    Args:
        tuning: Says which.
        folds: How often a trial reports.
    """
    import optuna

    name = tuning.pruner if tuning.pruner != "auto" else "median" if folds >= FOLDS else "none"
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=max(folds // 5, 1))
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=max(folds, 1))
    return optuna.pruners.NopPruner()
