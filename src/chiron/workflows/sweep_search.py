"""The trials of a search: Optuna's tree-structured Parzen estimator with a journal file that processes share.

Which process works on a trial is a lock that ends with the process, so that the trial of a killed one is taken over.
What is tried is a function of (seed, number of the trial, results so far), never of a restart.
Source: Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from chiron.core.files import claimed, locked
from chiron.core.hashing import seed_of
from chiron.core.lazy import require_package
from chiron.spec.sweep import SearchRange
from chiron.workflows.sweep_plan import Plan

JOURNAL = "trials.journal"


@dataclass(frozen=True)
class Trial:
    """One trial: its number, what it tries, and how far it came."""

    number: int
    settings: dict[str, Any]
    state: str  # running, complete, fail


def trials_of(plan: Plan) -> list[Trial]:
    """All trials so far, in order."""
    with locked(plan.out / JOURNAL):
        study = _study(plan)
        return [_trial(trial) for trial in study.get_trials(deepcopy=False) if _is_whole(plan, trial)]


@contextmanager
def next_trial(plan: Plan) -> Iterator[tuple[Trial, Callable[[float | None], None]] | None]:
    """A trial that nobody else works on, and what to tell its value to (None: it failed); None when all are done."""
    with ExitStack() as held:
        with locked(plan.out / JOURNAL):
            trial = _taken_over(plan, held) or _asked(plan, held)
        if trial is None:
            yield None
            return
        number = trial.number

        def tell(value: float | None) -> None:
            with locked(plan.out / JOURNAL):
                study = _study(plan)
                if value is None:
                    study.tell(number, state=_optuna().trial.TrialState.FAIL)
                else:
                    study.tell(number, value)

        yield trial, tell


def _taken_over(plan: Plan, held: ExitStack) -> Trial | None:
    """A trial whose process has died."""
    running = (_optuna().trial.TrialState.RUNNING,)
    for trial in _study(plan).get_trials(deepcopy=False, states=running):
        if _is_whole(plan, trial) and held.enter_context(claimed(_claim(plan, trial.number))):
            return _trial(trial)
    return None


def _asked(plan: Plan, held: ExitStack) -> Trial | None:
    """A new trial, unless there are enough."""
    optuna, study = _optuna(), _study(plan)
    before = study.get_trials(deepcopy=False)
    if sum(_is_whole(plan, trial) for trial in before) >= plan.sweep.trials:
        return None
    seed = seed_of("sweep", plan.sweep.seed, len(before)) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # constant_liar
        study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    asked = study.ask({key: _distribution(searched) for key, searched in plan.sweep.search.items()})
    held.enter_context(claimed(_claim(plan, asked.number)))
    return Trial(asked.number, dict(asked.params), "running")


def _claim(plan: Plan, number: int) -> Any:
    return plan.out / ".claims" / f"trial-{number}"


def _is_whole(plan: Plan, trial: Any) -> bool:
    """Whether its values were all drawn; a process that is killed in between leaves one that does not count."""
    return set(trial.params) == set(plan.sweep.search)


def _trial(trial: Any) -> Trial:
    return Trial(trial.number, dict(trial.params), trial.state.name.lower())


def _distribution(searched: SearchRange) -> Any:
    of = _optuna().distributions
    if searched.choices:
        return of.CategoricalDistribution(searched.choices)
    if isinstance(searched.low, int) and isinstance(searched.high, int):
        return of.IntDistribution(searched.low, searched.high, log=searched.log)
    return of.FloatDistribution(searched.low, searched.high, log=searched.log)


def _study(plan: Plan) -> Any:
    optuna = _optuna()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        journal = optuna.storages.journal
        storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(plan.out / JOURNAL)))
    direction = "maximize" if plan.maximize else "minimize"
    return optuna.create_study(storage=storage, study_name="sweep", direction=direction, load_if_exists=True)


def _optuna() -> Any:
    optuna = require_package("optuna", extra="sweep", for_what="A sweep with search")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
