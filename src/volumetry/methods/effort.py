"""How many populations a run anneals, and of how many members: until what they say is enough."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum

from volumetry.estimate.criteria import (
    GOAL_FOUND,
    LINEAGES_OF_ONE,
    LOSS_REACHED,
    NO_LAG,
    NOTHING_MISSED,
    NOTHING_MISSED_BY_PLAIN,
    SPREAD,
)
from volumetry.methods.annealing import AnnealParameters

ANNEALS_IN_VAIN = 2
"""After so many, what anneals did not find they will not find, nor will they differ less."""

_PASSED_BY = {rule.name for rule in (NOTHING_MISSED, NOTHING_MISSED_BY_PLAIN)}
"""Criteria about volume that small populations may pass by, and larger ones find."""

_LASTING = {rule.name for rule in (GOAL_FOUND, LOSS_REACHED, NO_LAG)} | _PASSED_BY
"""Criteria that more anneals do not help."""

_SMALL = {rule.name for rule in (SPREAD, LINEAGES_OF_ONE)}
"""Criteria that larger populations help, and not more of them."""


class Next(Enum):
    """What follows an anneal: nothing, another with as many members, or one with twice as many
    that takes the place of all."""

    END, MORE, LARGER = range(3)


@dataclass(frozen=True)
class Effort:
    """What a run has annealed.

    Attributes:
        parameters: of the run.
        done: anneals so far; of samplers with several ways, of each.
        alike: those of them that count, all with as many members.
        doublings: of the members, so far.
        drawn: members of all anneals.
    """

    parameters: AnnealParameters
    done: int = 0
    alike: int = 0
    doublings: int = 0
    drawn: int = 0

    @property
    def each(self) -> AnnealParameters:
        """Parameters of an anneal, with as many members as it has now."""
        return replace(self.parameters, members=self.parameters.members * 2**self.doublings)

    def one_more(self, ways: int = 1) -> "Effort":
        """After another anneal of each way."""
        drawn = self.drawn + ways * self.each.walkers
        return replace(self, done=self.done + 1, alike=self.alike + 1, drawn=drawn)

    def larger(self) -> "Effort":
        """With twice as many members, and nothing that counts yet."""
        return replace(self, alike=0, doublings=self.doublings + 1)

    def follows(self, missed: Collection[str]) -> Next:
        """What follows if the criteria of these names are not met."""
        small = _SMALL.intersection(missed)
        grows = small and self.doublings < self.parameters.doublings
        lasting = _LASTING.intersection(missed) - (_PASSED_BY if grows else set())
        lost = lasting and self.done >= ANNEALS_IN_VAIN
        too_small = small and not grows and self.alike >= ANNEALS_IN_VAIN
        if not missed or lost or too_small or self.done == self.parameters.max_anneals:
            return Next.END
        return Next.LARGER if grows else Next.MORE
