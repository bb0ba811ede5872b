"""Environments and profiles that would drift apart unnoticed: nothing here runs them."""

import re
import tomllib

import yaml
from repository import ROOT

ENVS = ROOT / "envs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_conda_environment_has_the_versions_of_the_package():
    environment = yaml.safe_load((ENVS / "volumetry.yaml").read_text())
    assert environment["dependencies"][-1] == {"pip": PROJECT["dependencies"]}


def test_all_environments_have_one_python_and_the_containers_no_versions_of_their_own():
    for name in ("Dockerfile", "volumetry.def", "volumetry.yaml"):
        text = (ENVS / name).read_text()
        assert re.findall(r"python(?::| =)(3\.\d+)", text, re.I) == ["3.12"], name
        assert ("==" in text) == name.endswith("yaml")


def test_the_slurm_profile_says_what_the_default_one_does():
    default, slurm = (
        yaml.safe_load((ROOT / profile / "config.yaml").read_text())
        for profile in ("profiles/default", "workflow/profiles/slurm")
    )
    assert {name: slurm.get(name) for name in default} == default
