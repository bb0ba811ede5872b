"""Every command and every example of the documentation works as it is written."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from made_studies import GD, REWL, rewl, run, study_of
from repository import ROOT, Repository

from volumetry.runtime import netcdf

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# Not run here: what installs, what needs a cluster, a GPU or a container, and whole test suites.
INSTALLS = re.compile(r"python3 -m venv|\.venv/bin/pip install|apt-get|apptainer|docker")
ELSEWHERE = re.compile(
    r"--workflow-profile|pre-commit|benchmark\.gpu|benchmark_tables|--software-deployment|--report"
)


def blocks(page, language):
    """What stands between fences of a language, in order."""
    fence = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return fence.findall(page.read_text(encoding="utf-8"))


def commands(page):
    """Lines of the shell blocks of a page, without comments; && makes two of one."""
    for block in blocks(page, "sh"):
        for line in block.splitlines():
            for part in line.split("&&"):
                if words := shlex.split(part, comments=True):
                    yield shlex.join(words).replace("'\"$", '"$')


ALL = sorted({command for page in PAGES for command in commands(page)})
PLANNED = [each for each in ALL if "bin/snakemake" in each and not ELSEWHERE.search(each)]
TESTED = [each for each in ALL if "bin/pytest" in each]
USED = [each for each in ALL if "bin/volumetry" in each]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the repository with ``.venv``, that of this process, and a finished study."""
    made = Repository(tmp_path_factory.mktemp("clone"))
    (made.path / ".venv").symlink_to(sys.prefix)
    page = ROOT / "docs" / "own_study.md"
    (made.path / "tumours.yaml").write_text(blocks(page, "yaml")[0])
    make_data, _ = blocks(page, "python")
    said = in_shell(made, f"{sys.executable} - <<'END'\n{make_data}\nEND")
    assert said.returncode == 0, said.stderr
    return made


def in_shell(clone, command, **variables):
    environment = os.environ | {"PYTHONPATH": str(clone.path / "src")} | variables
    return subprocess.run(
        ["bash", "-c", command], cwd=clone.path, env=environment, capture_output=True, text=True
    )


def test_every_command_is_one_of_those_that_are_tested():
    known = {*PLANNED, *TESTED, *USED}
    rest = [each for each in ALL if each not in known]
    unknown = [each for each in rest if not (INSTALLS.match(each) or ELSEWHERE.search(each))]
    assert unknown == [".venv/bin/python -m volumetry.study.schema"]  # see the new sampler
    assert len(PLANNED) >= 5 and len(USED) >= 5


def test_what_is_installed_is_declared():
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    named = [name for each in ALL for name in re.findall(r"\.\[([\w,]+)\]", each)]
    assert named and {extra for name in named for extra in name.split(",")} <= set(extras)


@pytest.mark.parametrize("command", PLANNED)
def test_every_study_that_is_named_plans(clone, command):
    said = in_shell(clone, command.replace("snakemake", "snakemake --dry-run --quiet all", 1))
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("command", TESTED)
def test_every_test_that_is_named_is_there(command):
    words = shlex.split(command)
    files = [ROOT / word for word in words if word.startswith("tests/")]
    texts = [path.read_text() for path in files or (ROOT / "tests").glob("test_*.py")]
    marks = [after for word, after in pairwise(words) if word == "-m"]
    for mark in marks:
        assert any(f"pytest.mark.{mark}" in text for text in texts), mark


def test_the_lines_for_a_notebook_work(clone, tmp_path):
    results = clone.path / "results" / "default"
    results.mkdir(parents=True)
    study = study_of(tmp_path / "runs", run("gd", GD), rewl(REWL))
    netcdf.write(study, results / "study.nc")
    (lines,) = blocks(ROOT / "README.md", "python")
    told = in_shell(clone, f"{sys.executable} - <<'END'\n{lines.strip()}.to_csv('seen.csv')\nEND")
    assert told.returncode == 0, told.stderr
    _, *rows = (clone.path / "seen.csv").read_text().splitlines()
    assert [round(float(row.split(",")[1]), 6) for row in rows] == [0.2, 0.04]


def test_configurations_that_are_shown_are_valid(clone):
    for page in (ROOT / "README.md", ROOT / "docs" / "own_study.md"):
        for text in blocks(page, "yaml"):
            config = yaml.safe_load(text)
            for spec in config["datasets"].values():
                spec["path"] = "tumours.npz"
            config["architectures"].pop("simple_cnn", None)  # it needs images
            (clone.path / "shown.yaml").write_text(yaml.safe_dump(config))
            command = ".venv/bin/snakemake -n --quiet all --configfile shown.yaml"
            said = in_shell(clone, command)
            assert said.returncode == 0, said.stderr


def test_links_lead_to_files_that_are_there():
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.slow
def test_a_study_of_your_own_from_top_to_bottom(clone):
    page = ROOT / "docs" / "own_study.md"
    for command in commands(page):
        said = in_shell(clone, command)
        assert said.returncode == 0, f"{command}\n{said.stdout}{said.stderr}"
    results = clone.path / "results" / "tumours"
    assert (clone.path / "tables" / "runs.csv").read_text().startswith("dataset,")
    assert (results / "paper" / "advantage_single.pdf").read_bytes().startswith(b"%PDF")
    read = blocks(page, "python")[1]
    said = in_shell(clone, f"{sys.executable} - <<'END'\n{read}\nEND")
    assert said.returncode == 0 and "Name: advantage" in said.stdout, said.stderr


@pytest.mark.slow
def test_the_sampler_that_is_added_as_an_example_runs(tmp_path):
    made = Repository(tmp_path / "clone")
    (made.path / ".venv").symlink_to(sys.prefix)
    page = ROOT / "docs" / "adding_a_sampler.md"
    (module,), (record,) = blocks(page, "python"), blocks(page, "text")
    assert len(module.splitlines()) < 60
    package = made.path / "src" / "volumetry"
    (package / "methods" / "greedy.py").write_text(module)
    registry = package / "study" / "registry.py"
    before, end, after = registry.read_text().partition('    )\n}\n"""By name')
    registry.write_text(before + record + end + after)
    for command in commands(page):
        assert in_shell(made, command).returncode == 0
    small = {"source": "teacher", "features": 16, "n": [4], "test_size": 40}
    config = {"replicates": 1, "datasets": {"small": small}, "architectures": {"perceptron": {}}}
    said = made.snakemake(config | {"samplers": {"greedy": {}, "guess_and_check": {}}})
    assert said.returncode == 0, said.stdout + said.stderr
    runs = (made.path / "results" / "runs.csv").read_text()
    assert "searches fitted the training set" in runs
    shutil.rmtree(made.path)


def test_no_page_is_lost():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = {Path(each).name for each in re.findall(r"\((docs/[\w.]+)\)", readme)}
    others = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for page in PAGES[2:]:
        assert page.name in linked or f"({page.name})" in others, page.name
