"""The answer of a study in sentences: each follows from intervals by a stated rule."""

import numpy as np
from made_studies import GD, REWL, rewl, run, study_of

from volumetry.report import answer


def headline(tmp_path, trained, random=None, first_fit=None, **numbers):
    runs = [run("gd", trained, first_fit=first_fit or {})]
    runs += [rewl(random, **numbers)] if random else []
    return answer.headlines(study_of(tmp_path, *runs))


FALLING = (
    {10: [0.60, 0.62, 0.61], 40: [0.70, 0.71, 0.70]},
    {10: [0.40, 0.42, 0.40], 40: [0.66, 0.67, 0.67]},
)


def test_headline_of_a_falling_advantage_states_it_in_numbers(tmp_path):
    said, readings, case = headline(tmp_path, *FALLING)
    assert said == (
        "Yes, as a difference of accuracies, at the best validated state, up to 100 epochs after "
        "the first fit: the advantage of GD falls as n grows in the case measured."
    )
    assert readings == "Every other reading, by protocol and scale, says the same."
    # Advantages 0.20, 0.20, 0.21 and 0.04, 0.04, 0.03; slopes -0.16, -0.16, -0.18 over ln 4.
    assert case == (
        "On digits, simple_cnn, the advantage of GD over the typical interpolator falls from "
        "+0.203 [+0.189, +0.218] at n = 10 to +0.037 [+0.022, +0.051] at n = 40, by "
        "−0.120 [−0.141, −0.100] for each factor e in n. At n = 40 it is above zero. At the first "
        "fit it is +0.037 [+0.022, +0.051] there: 100 % of it."
    )


def test_headline_says_where_the_first_fit_tells_something_else(tmp_path):
    """The falling curve belongs to the training after the fit."""
    _, readings, case = headline(tmp_path, *FALLING, first_fit={10: 0.41, 40: 0.70})
    assert readings == (
        "It depends on the reading: difference of accuracies at first fit: rises in 1; "
        "log error ratio at first fit: rises in 1."
    )
    assert "At the first fit it is +0.033" in case


def test_headline_says_where_scales_disagree(tmp_path):
    """The difference falls, 0.02 to 0.01, while the error becomes a fifth instead of a half."""
    said, readings, _ = headline(
        tmp_path,
        {10: [0.960, 0.961, 0.960], 40: [0.996, 0.997, 0.996]},
        {10: [0.920, 0.920, 0.921], 40: [0.982, 0.983, 0.982]},
    )
    assert said.startswith("Yes, as a difference of accuracies")
    assert "log error ratio at best validation: rises in 1" in readings
    assert "difference of accuracies at last fit" not in readings


def test_headline_of_a_rising_advantage(tmp_path):
    said, _, case = headline(
        tmp_path, {10: [0.41, 0.42], 40: [0.80, 0.812]}, {10: [0.40, 0.41], 40: [0.6, 0.61]}
    )
    assert said.startswith("No, as a difference") and "rises as n grows in the case" in said
    assert " rises from +0.010 " in case and "falls" not in case


def test_headline_of_an_unresolved_change(tmp_path):
    said, _, case = headline(
        tmp_path, {10: [0.60, 0.62], 40: [0.70, 0.80]}, {10: [0.40, 0.42], 40: [0.66, 0.66]}
    )
    assert said.startswith("Not resolved, as a difference")
    assert " goes from +0.200 " in case and "that is not resolved" in case
    assert "falls" not in case and "not told apart from zero" in case


def test_headline_of_a_disadvantage(tmp_path):
    *_, case = headline(
        tmp_path, {10: [0.5, 0.5], 40: [0.6, 0.61]}, {10: [0.4, 0.41], 40: [0.7, 0.72]}
    )
    assert "At n = 40 it is below zero: the typical interpolator is the better one." in case


def test_headline_of_one_size_claims_no_trend(tmp_path):
    said, case = headline(tmp_path, {10: [0.6]}, {10: [0.4]})
    assert said.startswith("One size each shows no trend")
    assert "is +0.200 [" in case and "one size shows no trend" in case


def test_headline_without_rewl_says_that_the_advantage_is_not_defined(tmp_path):
    assert headline(tmp_path, GD) == [answer.NO_ADVANTAGE]


def test_headline_is_provisional_where_a_run_did_not_converge(tmp_path):
    *_, case = headline(tmp_path, GD, REWL, converged=False)
    assert case.endswith("Provisional: a run behind these numbers did not converge.")


def test_several_cases_are_counted_first(tmp_path):
    study = study_of(
        tmp_path,
        *(run("gd", {10: [0.6, 0.62], 40: [0.70, 0.715]}, architecture=a) for a in ("a", "b")),
        *(
            run("rewl", {10: [0.4, 0.42], 40: [low, 0.7]}, architecture=a)
            for a, low in (("a", 0.69), ("b", 0.3))
        ),
    )
    said, *_, first, second = answer.headlines(study)
    assert said == (
        "In part, as a difference of accuracies, at the best validated state, up to 100 epochs "
        "after the first fit: the advantage falls in 1 of 2 cases; the others are not resolved."
    )
    assert first.startswith("On digits, a,") and second.startswith("On digits, b,")


def test_headline_says_where_networks_stand_among_the_interpolators(tmp_path):
    """Of four interpolators, one has 720 of 1,000 right and the others 400."""
    counts = np.zeros(1001)
    counts[[400, 720]] = 3, 1
    study = study_of(tmp_path, run("gd", GD), rewl(test_counts=("test_correct", counts)))
    said = answer.headlines(study)[-1]
    assert "Of the interpolators sampled there, 25 % do better than the median network." in said
