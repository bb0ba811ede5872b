"""How rare trained networks are among the fits: tail volumes of joint in a study."""

import numpy as np
import pytest
from made_runs import accuracies, cell, write_run
from made_studies import networks

from volumetry.results.aggregate import aggregate
from volumetry.runtime import netcdf


def with_tails(folder, replicate, tails, n=10, **numbers):
    """Files of networks of gd and a joint that has their tail volumes."""
    extra = {
        "network_sampler": ("network", np.array(["gd"] * len(tails), object)),
        "tail_log_volume": ("network", tails),
        "tail_log_volume_stderr": ("network", [0.1] * len(tails)),
        "hits_low": ("accuracy_bin", [0, 5]),
        "log_p_given_fit": ("accuracy_bin", np.log([0.25, 0.75])),
        "log_g_joint": (("A", "accuracy_bin"), np.full((n + 1, 2), 0.0)),
    }
    given = {"extra": networks([0.5], [0.5], [0.5]), "parameters": {"selection": "final"}}
    return [
        write_run(folder, "gd", n, replicate, test_accuracy=0.5, **given),
        write_run(folder, "joint", n, replicate, test_accuracy=0.4, extra=extra, **numbers),
    ]


def test_rareness_is_as_good_as_the_joint_that_measured_it(tmp_path):
    for converged in (True, False):
        files = with_tails(tmp_path, 0, [-3.0, -5.0], converged=converged)
        files += accuracies(tmp_path, "rewl", {10: [0.4]})
        by = aggregate(files)[["advantage_by", "advantage_by_converged"]]
        by = by.sel(n=10, scale="rareness", protocol="final", sampler="gd").squeeze()
        assert by["advantage_by"] == 4
        assert by["advantage_by_converged"] == converged


def test_a_network_out_of_reach_makes_its_rareness_unknown(tmp_path):
    files = with_tails(tmp_path, 0, [-3.0, -np.inf]) + with_tails(tmp_path, 1, [-9.0, -8.0])
    files += with_tails(tmp_path, 0, [-4.0], n=20) + with_tails(tmp_path, 1, [-5.0], n=20)
    study = aggregate(files).sel(scale="rareness", protocol="final", sampler="gd").squeeze()
    assert study["advantage_by"].sel(n=10).isnull()
    assert study["advantage_by"].sel(n=20) == 4.5
    assert study["advantage_trend"].isnull()


def test_tail_volumes_of_trained_networks(tmp_path):
    extra = {
        "network_sampler": ("network", np.array(["gd", "gd", "sam"], object)),
        "tail_log_volume": ("network", [-3.0, -5.0, -7.0]),
        "tail_log_volume_stderr": ("network", [0.1, 0.3, 0.2]),
        "hits_low": ("accuracy_bin", [0, 5]),
        "log_p_given_fit": ("accuracy_bin", np.log([0.25, 0.75])),
        "log_g_joint": (("A", "accuracy_bin"), np.full((11, 2), -np.inf)),
    }
    # A = 10 has a probability of exp(-8), and M is 296.
    extra["log_g_joint"][1][10] = np.log([0.25, 0.75]) - 8 + 296 * np.log(2)
    files = [write_run(tmp_path, s, 10, 0, test_accuracy=0.5) for s in ("gd", "sam")]
    files.append(write_run(tmp_path, "joint", 10, 0, test_accuracy=0.4, log_volume=-8, extra=extra))
    for path in files:
        netcdf.write(netcdf.read(path).assign_attrs(n_test=10), path)
    study = aggregate(files)
    where = {"n": 10, "replicate": 0}
    assert cell(study, "tail_log_volume", **where, sampler="gd") == -4
    assert cell(study, "tail_log_volume_stderr", **where, sampler="gd") == pytest.approx(0.2)
    assert cell(study, "tail_log_volume", **where, sampler="sam") == -7
    assert np.isnan(cell(study, "tail_log_volume", **where, sampler="joint"))
    # Density of a bin: 0.25 over 5 of 10 accuracies' steps, 0.75 over 6.
    density = study["log_p_given_fit"].isel(dataset=0, architecture=0).sel(n=10, replicate=0)
    assert density.sel(accuracy=0.2) == pytest.approx(np.log(0.25 / 0.5))
    assert density.sel(accuracy=0.75) == pytest.approx(np.log(0.75 / 0.6))
    assert np.isnan(density.sel(accuracy=0.0))
    joint = study["log_p_joint"].sel(n=10, replicate=0, coarse_accuracy=0.2).squeeze()
    assert joint.sel(A=10) == pytest.approx(np.log(0.25 / 0.5) - 8)
    assert joint.sel(A=9).isnull()
    # Bins of several scores stand at the middle of them, 2 and 7 of 10.
    above = study["interpolators_above"].sel(n=10, replicate=0).squeeze()
    np.testing.assert_allclose(
        above.sel(accuracy=[0.2, 0.25, 0.7, 0.705], method="nearest"), [1, 0.75, 0.75, 0]
    )
