"""The charts there are, and the words that go with them.

The report, the monitor and the workflow read them here. Nothing heavy is imported, and no drawing:
the workflow plans with these names. To add a chart, write its module in ``report.charts``, a record
here, and a caption ``workflow/report/NAME.rst`` like those of the others.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from volumetry.results.roles import JOINT, REFERENCES, TRAINED


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        name: of its file, of its place in a page, and of its module in ``report.charts``.
        title: one line.
        caption: what it shows, and how to read it.
        needs: samplers of which a study has one at least, or it does not have the chart.
        cases: pairs of a dataset and an architecture that it has at least, or likewise.
        architectures: that it has at least, or likewise.
        system: what is measured in a study that has it: ``study.registry.Method.systems``.
    """

    name: str
    title: str
    caption: str
    needs: Sequence[str] = ()
    cases: int = 1
    architectures: int = 1
    system: str = "classification"

    @property
    def module(self) -> str:
        """The module that draws it: ``draw(study)`` makes a ``Figure``."""
        return f"volumetry.report.charts.{self.name}"


CHARTS: dict[str, Chart] = {
    chart.name: chart
    for chart in (
        Chart(
            name="advantage",
            title="The advantage of training over the typical interpolator",
            caption="Test accuracy of networks found by gradient descent minus that of a typical "
            "network among all those that fit the same training set, at the protocol that the "
            "study reports. Zero (the horizontal line) means that training is worth no more than a "
            "random fit; a curve that comes down to it is the diminishing advantage, on this "
            "scale and at this protocol.",
        ),
        Chart(
            name="readings",
            title="Does the advantage diminish? Every protocol, every scale",
            caption="Slope of the advantage against ln n, over all sizes and paired by replicate: "
            "left of zero it falls as the training set grows, right of it it rises, and where the "
            "bar crosses zero it is not resolved. The protocol says which state of a trained "
            "network counts: the first that fits, the last that fits, or the one with the best "
            "validation accuracy. A difference of accuracies shrinks by saturation alone where "
            "both come close to 1; the log error ratio ln[(1 − Qr)/(1 − Qs)] does not, and neither "
            "does how rare so accurate a network is among all fits.",
            needs=TRAINED,
        ),
        Chart(
            name="after_fit",
            title="What the epochs after the first fit add",
            caption="Advantage of the networks along their training: at the left end when they "
            "first fit all n examples, then so many epochs later, whether they still fit or not. "
            "Where a line rises, the advantage is made by training on, not by finding a fit.",
            needs=TRAINED,
        ),
        Chart(
            name="interpolators",
            title="Where trained networks stand among all that fit",
            caption="Test accuracy of the sampled interpolators, of all replicates together "
            "(bars: half of them in the thick one, 95 % in the thin one, the median marked), and "
            "of every trained network (marks) at the protocol that the study reports. Marks "
            "inside the bar are no better than a random fit would be.",
            needs=REFERENCES,
        ),
        Chart(
            name="test_accuracy",
            title="Test accuracy",
            caption="Accuracy on the test set of networks that classify all n training examples "
            "correctly. Guess & Check and the random interpolator sample the same networks in two "
            "ways and should agree where Guess & Check finds any.",
        ),
        Chart(
            name="comparison",
            title="Case beside case",
            caption="What an example costs in volume, how accurate the typical interpolator is, "
            "and the advantage of training at the protocol that the study reports, for every "
            "dataset and architecture: label noise, other classes, more layers or wider ones.",
            needs=REFERENCES,
            cases=2,
        ),
        Chart(
            name="contrast",
            title="What another architecture changes, on the same training sets",
            caption="Test accuracy with one architecture less that with the first of the study, "
            "for the networks that each sampler finds, paired by training set. Above zero the "
            "other architecture generalises better. Where typical interpolators do, good "
            "fits are a larger share of all fits; where trained networks alone do, training finds "
            "more of them.",
            architectures=2,
        ),
        Chart(
            name="log_volume",
            title="Log-volume of the fitting set",
            caption="Natural logarithm of the fraction of all weight settings that fit the "
            "training set; exp(−100) is about 1 in 10⁴³. Each green mark is one run of Guess & "
            "Check, beside small crosses for the random interpolator on the same training subset; "
            "a triangle is a run without a hit: the upper end of its interval.",
        ),
        Chart(
            name="volume_slope",
            title="Two measurements of one thing",
            caption="Each further example shrinks the fitting set by the chance that a random "
            "interpolator gets it right. So the slope of the log-volume (steps between successive "
            "n; the first starts at n = 0) must follow −ln Qr (points): a step lies between the "
            "points at its two ends, or above them the more the examples differ in difficulty "
            "(Jensen's inequality), and never below both.",
        ),
        Chart(
            name="error_bound",
            title="What the volume alone promises",
            caption="With 95 % confidence over training sets of independent examples, the mean "
            "error of the random interpolator is at most 1 − (0.05 V)^(1/n): the larger the "
            "volume of the fits, the better they must generalise. The bound knows nothing of the "
            "test set; below it stands the error measured there. Training subsets here are "
            "class-balanced, which the theorem does not ask for.",
        ),
        Chart(
            name="accuracy_tails",
            title="How rare are trained networks among all that fit?",
            caption="For each accuracy q, the fraction of the fitting weight settings that do at "
            "least as well on the test set (lines, a colour for each n), measured by the joint "
            "density of states. The marks are the networks that training found (means of a run): "
            "the lower they lie, the less a random fit could have been one of them.",
            needs=(JOINT,),
        ),
        Chart(
            name="joint_density",
            title="How training and test accuracy go together in weight space",
            caption="Density of weight settings over the number A of training examples that they "
            "have right and their test accuracy, at the largest n of each case: bright where there "
            "are many, each colour a factor. The line is the mean accuracy of all settings with "
            "that A; at its right end, where A = n, stands the typical interpolator. The more the "
            "line rises, the more does fitting by itself make networks generalise.",
            needs=(JOINT,),
        ),
        Chart(
            name="sensing_loss",
            title="How well does what fits generalise, from architecture to architecture?",
            caption="Generalisation loss of weights whose training loss is below epsilon: the mean "
            "squared error on an orthonormal basis of all that was not measured, averaged over "
            "the weights that a sampler finds, geometric mean over replicates, each a matrix of "
            "its own. Guess & Check and the random interpolator sample the same weights in two "
            "ways. Where their loss depends on width or depth and that of gradient descent does "
            "not, volume alone does not explain why training generalises.",
            system="sensing",
        ),
        Chart(
            name="sensing_volume",
            title="How much of weight space fits, from architecture to architecture?",
            caption="Natural logarithm of the probability, under the prior, that the training loss "
            "is below epsilon.",
            system="sensing",
        ),
    )
}
"""By name, in the order of the report."""

MARKS = (
    "Bars and bands are 95 % intervals over replicates (Student t); where there is one replicate, "
    "of the noise of its runs alone. Hollow marks and dashed steps rest on a run that did not "
    "converge."
)
"""How to read what all charts have."""


def of_study(
    samplers: Collection[str],
    datasets: int,
    architectures: int,
    systems: Collection[str] = ("classification",),
) -> list[Chart]:
    """The charts of a study with these samplers, so many datasets and architectures, and these
    systems."""
    return [
        chart
        for chart in CHARTS.values()
        if (not chart.needs or not set(chart.needs).isdisjoint(samplers))
        and datasets * architectures >= chart.cases
        and architectures >= chart.architectures
        and chart.system in systems
    ]
