"""Whatever is wrong with a configuration or a user's file is said in a line, and nothing is run.

What a configuration may not hold is generated from its schema, and damaged at random; single
mistakes made by hand stand in test_config.py and test_datasets.py.
"""

import copy
import datetime
import gzip
import itertools
import math

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repository import Repository
from test_config import SCHEMA, SCHEMA_PATH, resolve
from test_datasets import write_npz
from test_workflow import changed

from volumetry import datasets
from volumetry.datasets import SOURCES, idx
from volumetry.errors import DataError, VolumetryError
from volumetry.study import config

SIZES = {"teacher": [2], "modular_addition": [13]}
WHOLE = {
    "datasets": {source: {"source": source, "n": SIZES.get(source, [10])} for source in SOURCES},
    "architectures": {"perceptron": {}},
    "samplers": {name: {} for name in SCHEMA["properties"]["samplers"]["properties"]},
}
WHOLE["datasets"]["npz"]["path"] = "mine.npz"
WHOLE["sizes"] = {"rewl": [10]}
"""Every section of the schema, so that any key can be set in it."""


def refusal(function, *arguments) -> list[str]:
    """The lines of the error that a call ends in."""
    with pytest.raises(VolumetryError) as caught:
        function(*arguments)
    lines = str(caught.value).splitlines()
    assert lines and all(line.strip() for line in lines)
    return lines


# ---- from the schema ----------------------------------------------------------------------------


def places(schema, path=()):
    """(path in WHOLE, schema) of the configuration, and of every key in it."""
    yield path, schema
    for key, part in schema.get("properties", {}).items():
        yield from places(part, (*path, key))
    for branch in schema.get("allOf", ()):
        source = branch["if"]["properties"]["source"]["const"]
        for key, part in branch["then"]["properties"].items():
            yield from places(part, (*path[:-1], source, key))
    if isinstance(schema.get("additionalProperties"), dict):
        name = next(iter(WHOLE[path[0]]))
        yield from places(schema["additionalProperties"], (*path, name))


KINDS = {
    "null": [None],
    "boolean": [True, False],
    "integer": [7],
    "number": [0.5],
    "string": ["words", "1e-4", ""],
    "array": [[], [None]],
    "object": [{}, {"nonsense": 1}],
    "other": [datetime.date(2024, 1, 2), b"\x00\xff", {1, 2}],
}
HUGE = [2**63, -(2**63), 10**400, 16**9999, math.inf, -math.inf, math.nan, 1e300]


def bad_values(schema):
    """(value that a key may not have, what the message must say of it)."""
    kinds = schema.get("type", [])
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    kinds |= {"integer"} if "number" in kinds else set()
    for kind in KINDS.keys() - kinds:
        yield from ((value, "must be") for value in KINDS[kind])
    yield from ((value, "finite number") for value in HUGE)
    yield from ((value, "printable") for value in ("\t", "\x00", "a\nb", "\ud800"))
    yield [[[[[[[]]]]]]], "nested"
    for rule, value, said in [
        ("minimum", schema.get("minimum", 0) - 1, "at least"),
        ("maximum", schema.get("maximum", 0) + 1, "at most"),
        ("exclusiveMinimum", schema.get("exclusiveMinimum"), "above"),
        ("exclusiveMaximum", schema.get("exclusiveMaximum"), "below"),
        ("minLength", "", "empty"),
        ("minItems", [], "or more"),
        ("minProperties", {}, "or more"),
        ("uniqueItems", [2, 2], "twice"),
        ("not", 4, "odd"),
    ]:
        if rule in schema:
            yield value, said
    if "items" in schema:
        other = {"integer": 5, "string": "pool", "number": 0.5}[schema["items"]["type"]]
        yield from (([value, other], said) for value, said in bad_values(schema["items"]))


def bad_keys(schema, entry):
    """(key that a mapping may not have, or not lack; its value or None, what is said of it)."""
    for key in schema.get("required", ()):
        yield key, None, "missing; add it"
    for key in itertools.islice(schema.get("properties", {}), 1):
        yield f"{key}s", 1, f"did you mean {key}?"
    if "object" in schema.get("type", ()):
        yield from ((key, 1, "put it in quotes") for key in (7, None, True, 1.5))
    if "propertyNames" in schema:
        for name in ("", "a b", "../a", "_", "ä", "a\n", "a" * 101):
            yield name, next(iter(entry.values())), "rename it"
    elif "properties" in schema:
        yield "line\nbreak", 1, "unknown key"


def entry_at(settings, path):
    for key in path:
        settings = settings.setdefault(key, {})
    return settings


@pytest.mark.parametrize(("path", "schema"), list(places(SCHEMA)), ids=lambda part: str(part)[:60])
def test_what_the_schema_forbids_is_named_with_the_rule(path, schema):
    cases = [(path, value, said) for value, said in bad_values(schema)]
    if schema.get("type") == "object":
        entry = entry_at(copy.deepcopy(WHOLE), path)
        cases += [((*path, key), value, said) for key, value, said in bad_keys(schema, entry)]
    for place, value, said in cases:
        settings = copy.deepcopy(WHOLE)
        if said == "missing; add it":
            del entry_at(settings, place[:-1])[place[-1]]
        elif place:
            entry_at(settings, place[:-1])[place[-1]] = value
        else:
            settings = value
        (line,) = refusal(resolve, settings)
        assert line.startswith(".".join(path)) and said in line and len(line) < 1000, (value, line)


# ---- files --------------------------------------------------------------------------------------

FILES = {
    "empty": ("", "a mapping"),
    "only a comment": ("# nothing", "a mapping"),
    "a list": ("- seed: 1", "a mapping"),
    "text": ("words", "a mapping"),
    "a tab": ("datasets:\n\tdigits: {}", "cannot start any token"),
    "an open bracket": ("datasets: [1, 2", "expected ',' or ']'"),
    "two colons": ("seed: 1: 2", "mapping values are not allowed"),
    "bad indentation": ("seed: 1\n replicates: 2", "line 2"),
    "two documents": ("seed: 1\n---\nseed: 2", "single document"),
    "an unknown alias": ("datasets: *digits", "undefined alias"),
    "a list of itself": ("seed: &seed [*seed]", "nested"),
    "a mapping of itself": ("datasets: &all {digits: *all}", "nested"),
    "many lists": ("a: &a [1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a]\nseed: [*b, *b]", "unknown key"),
    "a key twice": ("seed: 1\nreplicates: 2\nseed: 3", "line 3: the key 'seed' stands twice"),
    "a dataset twice": ("datasets:\n  a: {}\n  a: {}", "line 3: the key 'a' stands twice"),
    "code": ("seed: !!python/object/apply:os.getpid []", "could not determine a constructor"),
    "a tag that does not fit": ("seed: !!bool maybe", "cannot be read as YAML"),
    "month 13": ("seed: 2024-13-01", "month must be in 1..12"),
    "a date": ("seed: 2024-01-02", "a whole number"),
    "a number of 5000 digits": (f"seed: {'9' * 5000}", "cannot be read as YAML"),
    "a hexadecimal number": (f"seed: 0x{'f' * 5000}", "a huge number"),
    "control characters": ("seed: \x00\x01", "special characters are not allowed"),
    "brackets without end": ("[" * 5000, "cannot be read as YAML"),
    "bytes": (bytes(range(256)), "can't decode"),
    "Latin-1": ("# é\nseed: 1".encode("latin-1"), "can't decode"),
    "UTF-16": ("seed: 1".encode("utf-16"), "can't decode"),
}


@pytest.mark.parametrize(("content", "said"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, content, said):
    path = tmp_path / "study.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    lines = refusal(config.load, path, SCHEMA_PATH)
    assert any(said in line for line in lines) and all(len(line) < 1000 for line in lines), lines


def test_what_is_no_file_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.yaml", tmp_path / ("a" * 300), tmp_path / "\0"):
        (line,) = refusal(config.load, path, SCHEMA_PATH)
        assert "cannot be read" in line


def test_merged_mappings_are_no_keys_that_stand_twice(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, y: 4}")
    assert config.read(path)["c"] == {"x": 3, "y": 4}


# ---- data files ---------------------------------------------------------------------------------


def study_of(spec, **more):
    """A study of one dataset with nothing else that could be wrong."""
    entry = {"n": [3], "n_validation": 0} | spec
    return {"datasets": {"mine": entry}, "architectures": {"perceptron": {}}} | (
        {"samplers": {"rewl": {}}} | more
    )


def damage(path, function):
    path.write_bytes(function(path.read_bytes()))


NPZ = {
    "no file": (lambda path: path.unlink(), "does not exist: correct `path`"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
    "empty": (lambda path: damage(path, lambda content: b""), "not a zip file"),
    "text": (lambda path: damage(path, lambda content: b"1,2\n3,4"), "not a zip file"),
    "torn": (lambda path: damage(path, lambda content: content[:-200]), "not a zip file"),
    "an array": (lambda path: damage(path, lambda content: content[50:300]), "not a zip file"),
    "no labels": (lambda path: write_npz(path, y_test=None), "lacks y_test"),
    "fractions": (lambda path: write_npz(path, x_train=np.ones((12, 5))), "astype"),
    "complex": (lambda path: write_npz(path, x_train=np.ones((12, 5), complex)), "integers"),
    "text as labels": (lambda path: write_npz(path, y_train=np.array(["a"] * 12)), "integers"),
    "dates": (lambda path: write_npz(path, y_test=np.zeros(6, "datetime64[s]")), "integers"),
    "objects": (lambda path: write_npz(path, x_train=np.full((12, 5), None)), "integers"),
    "records": (lambda path: write_npz(path, y_test=np.zeros(6, "i4,i4")), "integers"),
    "images without channels": (
        lambda path: write_npz(path, x_train=np.ones((12, 5, 5), int)),
        "(examples, channels, height, width)",
    ),
    "nothing": (lambda path: write_npz(path, x_test=np.ones((0, 5), int)), "no axis empty"),
    "fewer labels": (lambda path: write_npz(path, y_train=np.arange(11) % 3), "as many"),
    "other pixels": (lambda path: write_npz(path, x_test=np.ones((6, 4), int)), "the same"),
    "a negative label": (lambda path: write_npz(path, y_train=-np.arange(12) % -3), "from 0"),
    "a gap": (lambda path: write_npz(path, y_train=np.arange(12) % 3 * 2), "without a gap"),
    "one class": (lambda path: write_npz(path, y_train=np.zeros(12, int)), "two or more"),
    "a new label": (lambda path: write_npz(path, y_test=np.arange(6)), "y_test has label 5"),
    "a huge label": (
        lambda path: write_npz(path, y_train=np.full(12, 2**64 - 1, np.uint64)),
        "without a gap",
    ),
    "huge inputs": (lambda path: write_npz(path, x_test=np.full((6, 5), 2**62)), "64-bit"),
}


@pytest.mark.parametrize(("make", "said"), NPZ.values(), ids=NPZ)
def test_a_wrong_npz_is_refused_before_any_job(tmp_path, make, said):
    path = tmp_path / "mine.npz"
    spec = write_npz(path)
    assert resolve(study_of(spec)).runs
    make(path)
    (line,) = refusal(resolve, study_of(spec))
    assert "datasets.mine: " in line and said in line and len(line) < 1000, line


@pytest.mark.parametrize("compressed", [True, False])
def test_no_flipped_byte_of_an_npz_ends_in_anything_but_a_refusal(tmp_path, compressed):
    path = tmp_path / "mine.npz"
    spec = write_npz(path)
    if compressed:
        with np.load(path, allow_pickle=False) as archive:
            np.savez_compressed(path, **archive)
    whole = path.read_bytes()
    refused = 0
    for position in range(0, len(whole), 3):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        for function in (datasets.describe, datasets.load):
            try:
                function(spec)
            except DataError:
                refused += 1
    assert refused > len(whole) / 10


def test_a_wrong_idx_file_is_refused_before_any_job(tmp_path):
    settings = study_of({"source": "mnist", "n": [10]}, data_dir=str(tmp_path))
    path = tmp_path / "mnist" / idx.TEST_LABELS
    path.parent.mkdir()
    for content in (b"", b"\x1f", b"\x1f\x8b", b"text", bytes(10_007), gzip.compress(b"labels")):
        path.write_bytes(content)
        (line,) = refusal(resolve, settings)
        assert f"datasets.mine: {path} is damaged" in line and "replace the file" in line
    # Of the right length, so that only its checksum tells; the job that reads it looks at that.
    for content in (bytes(10_008), gzip.compress(bytes(10_008))):
        path.write_bytes(content)
        assert resolve(settings).runs
        (line,) = refusal(idx.find, "mnist", path.name, path.parent)
        assert "SHA-256" in line


# ---- at random ----------------------------------------------------------------------------------

ODD = ("npz", "enumerate", "matrix_sensing", "sensing_gd")  # which others cannot stand beside
SOUND = {
    section: {name: entry for name, entry in entries.items() if name not in ODD}
    for section, entries in WHOLE.items()
}
KEYS = st.text() | st.integers() | st.none() | st.booleans() | st.dates()
JUNK = st.recursive(
    KEYS | st.floats() | st.binary() | st.sampled_from([2**63, 10**400, *SOURCES]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(KEYS, inside, max_size=3),
    max_leaves=5,
)


def fitting(schema):
    """Values of which the schema allows most."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "number" in schema["type"]:
        return st.floats(0, 1)
    if "integer" in schema["type"]:
        return st.integers(schema.get("minimum", 0), schema.get("minimum", 0) + 10)
    return st.sampled_from([None, [10, 20], ["linear 3"], [2, 0], "perceptron", {"n": [10]}])


@st.composite
def configurations(draw):
    """A sound configuration, of which parts are left out, and values replaced."""
    given = {
        section: {
            name: copy.deepcopy(entries[name])
            for name in draw(st.sets(st.sampled_from(list(entries)), min_size=1))
        }
        for section, entries in SOUND.items()
    }
    for path, schema in draw(st.lists(st.sampled_from(list(places(SCHEMA))), max_size=5)):
        value = draw(fitting(schema) | JUNK)
        if not path:
            continue
        try:
            entry_at(given, path[:-1])[path[-1]] = value
        except (AttributeError, TypeError):  # what it is a part of was replaced already
            continue
    return given


def test_a_configuration_at_random_is_a_study_or_refused_in_clear_lines():
    outcomes = {"study": 0, "refused": 0}

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(configurations() | JUNK)
    def check(configuration):
        before = copy.deepcopy(configuration)
        try:
            study = resolve(configuration)
        except VolumetryError as error:
            assert all(line.strip() for line in str(error).split("\n"))
            assert str(error).split("\n") == str(error).splitlines()
            outcomes["refused"] += 1
        else:
            assert resolve(study.config) == study
            assert all(study.memory_mb(run) > 0 for run in study.runs[:10])
            outcomes["study"] += 1
        assert repr(configuration) == repr(before)  # NaN is not equal to itself

    check()
    assert min(outcomes.values()) > 20, outcomes


# ---- the command --------------------------------------------------------------------------------


def text_of(**entries):
    return yaml.safe_dump(changed(**entries), sort_keys=False)


OURS, SNAKEMAKES = "Error in the configuration:\n", "WorkflowError:\n"
COMMANDS = {
    "empty": ("", SNAKEMAKES, "with keys at top level"),
    "a list": ("- seed: 1", SNAKEMAKES, "with keys at top level"),
    "a tab": ("datasets:\n\tdigits: {}", SNAKEMAKES, "not mix whitespace and tab"),
    "a key twice": (f"seed: 1\n{text_of()}seed: 2", OURS, "the key 'seed' stands twice"),
    "a wrong key": (text_of(sed=1), OURS, "sed: unknown key (did you mean seed?)"),
    "a wrong type": (text_of(replicates="many"), OURS, 'replicates = "many": must be a whole'),
    "not a number": (text_of(samplers__rewl={"flatness": math.nan}), OURS, "a finite number"),
    "a number as text": (text_of(samplers__gd={"learning_rate": "1e-4"}), OURS, "write 0.0001"),
    "a date": (f"2024-01-02: 1\n{text_of()}", OURS, "put it in quotes"),
    "n beyond the pool": (text_of(datasets__small__n=[1000]), OURS, "use n up to"),
    "no such class": (text_of(datasets__small__classes=[0, 10]), OURS, "no training label 10"),
    "too many pools": (text_of(architectures={"a": {"layers": ["pool"] * 5}}), OURS, "remove a"),
    "too many weights": (text_of(samplers={"enumerate": {}}), OURS, "raise max_weights"),
    "results in a file": (text_of(results_dir="Snakefile"), OURS, "is no folder that can be"),
    "a long name": (text_of(results_dir="a" * 300), OURS, "name too long"),
    "no npz": (
        text_of(datasets={"a": {"source": "npz", "path": "Snakefile", "n": [2]}}),
        OURS,
        "datasets.a: Snakefile is not a readable .npz file",
    ),
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return Repository(tmp_path_factory.mktemp("repository"))


@pytest.mark.parametrize(
    ("content", "who", "said", "how"),
    [(*case, how) for case, how in zip(COMMANDS.values(), itertools.cycle([["--dry-run"], []]))],
    ids=COMMANDS,
)
def test_the_command_ends_in_one_error_and_writes_nothing(repository, content, who, said, how):
    repository.configure(content)
    before = files_in(repository.path)
    result = repository.snakemake(content, *how, cores=1, timeout=10)
    assert result.returncode == 1
    output = result.stdout + result.stderr
    assert "Traceback" not in output and 'File "' not in output
    assert output.count(who) == 1 and said in output.partition(who)[2].splitlines()[0], output
    assert files_in(repository.path) == before


def files_in(folder):
    """What is there, the caches of Snakemake and Python left out."""
    own = {".snakemake", "__pycache__"}
    return {path for path in folder.rglob("*") if not own & set(path.parts)}
