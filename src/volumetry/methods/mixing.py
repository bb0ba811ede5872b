"""Which kinds of moves a run makes, and how often.

What is slow is not A but what A hides: kernels, output weights, others that many examples share. A
move of all weights of a large network hardly ever proposes them; and where A is high, kernels are
hardly ever accepted, and what proposing them costs is lost. So the small segments of the weights
get moves of their own, a quarter of the work each, less where hardly any is accepted.

Shares follow the acceptances measured so far. They are fixed while anything is measured with them,
and know nothing of a walker's weights: detailed balance holds whatever they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from volumetry.chains.records import Mixture
from volumetry.parameters import parameter
from volumetry.runtime.netcdf import described as over
from volumetry.systems.system import System
from volumetry.weights.moves import Kind, Segment, everything

_ANY = 0.05
"""Share of the moves that flip any weights, so that no mixture keeps states apart."""

_OTHER = 0.1
"""Of a segment's kinds, what those get that seem worse than the best, which may be better."""

_EACH, _TOGETHER = 0.25, 0.5
"""Of the work, what a segment other than the bulk gets where that is of use, and all of them."""

_WORTH = 0.01
"""A segment gets less of the work if its weights, relative to the bulk's, are renewed at a rate
below this: within a hundred sweeps or so, the length of a run, hardly once."""


def most_flips():
    """The parameter ``flips``, the same for every sampler that moves."""
    return parameter(
        3,
        minimum=1,
        odd=True,
        unit="weights",
        about="Most weights that a move flips; it flips one where that is better, and in small "
        "layers. Odd, because an even number never changes the parity of the number of weights "
        "-1, and fewer than there are; the default adapts to smaller networks.",
    )


@dataclass(frozen=True)
class Proposals:
    """The kinds of moves of a run.

    The *bulk* is the largest segment. Where a segment has several kinds, a run mostly makes those
    that renew weights fastest.

    Attributes:
        kinds: K of them; the first changes any weights.
        work: (K,): of a move of each.
        bulk: kinds of the bulk.
        others: kinds of each other segment.
    """

    kinds: tuple[Kind, ...]
    work: np.ndarray
    bulk: list[int]
    others: list[list[int]]

    @classmethod
    def of(cls, system: System, flips: int) -> "Proposals":
        """Those of a system; ``flips``: the most weights that a move changes."""
        single = (everything(system.space.size),)
        segments = system.segments if len(system.segments) > 1 else single
        largest = max(segments, key=lambda segment: segment.size)
        kinds = system.space.kinds(segments, flips)
        of = {
            segment: [k for k, kind in enumerate(kinds) if kind.segment == segment]
            for segment in segments
        }
        bulk = of.pop(largest)
        work = np.array([system.work(kind) for kind in kinds])
        return cls(kinds, work, bulk, list(of.values()))

    def none_made(self, windows: int) -> np.ndarray:
        """No moves made, and none accepted, of each kind in each window: (2, W, K)."""
        return np.zeros((2, windows, len(self.kinds)))

    def mix(self, made: np.ndarray) -> Mixture:
        """The mixture that moves made so far suggest.

        Args:
            made: (2, W, K): moves proposed, and accepted.
        """
        return Mixture.of(self.kinds, np.array([self._share(*each) for each in zip(*made)]))

    def _share(self, proposed: np.ndarray, accepted: np.ndarray) -> np.ndarray:
        """Shares of the kinds in a window: (K,)."""
        renewed = np.array([kind.renewed for kind in self.kinds])
        size = np.array([kind.segment.size for kind in self.kinds])
        # A kind that was never tried may be accepted half the time; that will show.
        renewal = renewed * (accepted + 0.5) / (proposed + 1) / size
        share = np.zeros(len(size))
        for kinds in (self.bulk, *self.others):
            share[kinds] = _OTHER
            share[max(kinds, key=(renewal / self.work).__getitem__)] = 1.0
        bulk = self.bulk
        done, spent = (share * renewal)[bulk].sum(), (share * self.work)[bulk].sum()
        small = min(_TOGETHER, _EACH * len(self.others))
        whole = spent / (1 - small)
        left = small * whole
        cost = [(share * self.work)[kinds].sum() for kinds in self.others]
        worth = [(share * renewal)[kinds].sum() / c for kinds, c in zip(self.others, cost)]
        # What is hardly accepted comes first, and leaves its part of the work to the rest.
        for rank, other in enumerate(np.argsort(worth, kind="stable")):
            given = min(left / (len(self.others) - rank), _EACH * whole)
            given *= min(1.0, given * worth[other] / done / _WORTH)
            share[self.others[other]] *= given / cost[other]
            left -= given
        share /= share.sum()
        share *= 1 - _ANY
        share[0] += _ANY
        return share

    def renewals(self, accepted: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
        """How often a weight of each segment was renewed, on average: (W, segments).

        Args:
            accepted: (W, K): moves.
        """
        first, size, renewed = np.array(
            [(*kind.segment[1:], kind.renewed) for kind in self.kinds]
        ).T
        found = []
        for own in segments:
            shared = np.minimum(first + size, own.first + own.size) - np.maximum(first, own.first)
            found.append(accepted @ (shared.clip(0) / size * renewed) / own.size)
        return np.array(found).T

    def describe(
        self, result: xr.Dataset, made: np.ndarray, segments: Sequence[Segment], walkers: int
    ) -> xr.Dataset:
        """A result that also tells, for each window, how often each kind was made, and what of it.

        Args:
            made: (2, W, K): moves proposed, and accepted.
            walkers: of a window.
        """
        proposed, accepted = made
        share = proposed / proposed.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            acceptance = accepted / proposed
        dims, names = ("window", "move_kind"), [kind.name for kind in self.kinds]
        return result.assign_coords(
            move_kind=over("move_kind", names, "weights that a move flips, and of which layer"),
            layer=over("layer", [own.name for own in segments], "layer whose weights are meant"),
        ).assign(
            move_share=over(dims, share, "fraction of the moves"),
            move_acceptance=over(dims, acceptance, "fraction of these moves accepted"),
            renewals=over(
                ("window", "layer"),
                self.renewals(accepted, segments) / walkers,
                "flips of each weight of the layer by a walker in the window, mean",
            ),
        )


def made_of(tally) -> np.ndarray:
    """Moves proposed and accepted in a tally, summed over sets: (2, W, K)."""
    return np.array([tally.proposed.sum(axis=0), tally.accepted.sum(axis=0)], float)
