"""The parts that samplers play in a study: which of them is compared with which.

Nothing heavy is imported: the workflow reads this at every start.
"""

from volumetry.study import registry
from volumetry.study.registry import METHODS, of_kind

TRAINED = of_kind(registry.TRAINED, METHODS)
"""The samplers whose advantage over the random interpolator is the question."""

REFERENCES = ["rewl", "population_annealing", "joint"]
"""Each draws the random interpolators that every other sampler is compared with, and measures
their volume: the first that converged."""

ANY_TRAINED, ANY_REFERENCE = (
    f"{', '.join(names[:-1])} or {names[-1]}" for names in (TRAINED, REFERENCES)
)

GUESSING = "guess_and_check"
"""Draws the same interpolators in another way, and measures the same log-volume."""

MEASURING = [*of_kind(registry.SAMPLED, METHODS), *of_kind(registry.EXACT, METHODS)]
"""Know the log-volume, or the accuracy of the typical interpolator, however small the volume is:
each of them is compared with each other, and Guess & Check with all."""

JOINT = "joint"
"""Knows how the accuracy is distributed among the interpolators, far into its tails."""
