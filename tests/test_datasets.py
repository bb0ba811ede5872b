"""Datasets are what they say, subsets are nested and balanced, damaged data is refused."""

import gzip
import hashlib
import http.server
import struct
import threading

import numpy as np
import pytest

from volumetry import datasets
from volumetry.datasets import idx, modular_addition, npz, teacher
from volumetry.datasets.dataset import Arrays, select
from volumetry.datasets.subsets import draw_order, draw_subset, redraw_labels
from volumetry.errors import ConfigError, DataError
from volumetry.networks import build_network
from volumetry.networks.forward import count_correct
from volumetry.weights.binary import BinaryWeights

GENERATED = [
    {"source": "digits"},
    {"source": "digits", "classes": [7, 0], "n_test": 50},
    {"source": "teacher"},
    {"source": "teacher", "features": 9, "n_classes": 3, "layers": [], "pool_size": 30,
     "test_size": 60, "seed": 5},
    {"source": "modular_addition", "p": 5, "pool_fraction": 0.6},
]  # fmt: skip


@pytest.mark.parametrize("spec", GENERATED, ids=str)
def test_the_description_agrees_with_the_data(spec):
    description, dataset = datasets.describe(spec), datasets.load(spec)
    counts = np.bincount(dataset.y_pool)
    assert dataset.x_pool.shape[1:] == dataset.x_test.shape[1:] == description.input_shape
    assert counts.tolist() == list(description.pool_counts.values())
    assert description.n_balanced == dataset.n_classes * counts.min()
    assert len(dataset.y_test) == len(dataset.x_test) == spec.get("n_test", description.n_test)
    assert dataset.input_bound <= description.input_bound
    assert set(dataset.y_test.tolist()) == set(range(dataset.n_classes))
    assert dataset.y_pool.dtype == dataset.y_test.dtype == np.int64


def test_digits_are_split_once_with_their_offset_in_the_smallest_type():
    dataset = datasets.load({"source": "digits"})
    assert dataset.x_pool.shape == (1000, 1, 8, 8) and dataset.x_test.shape == (797, 1, 8, 8)
    assert dataset.x_pool.dtype == dataset.x_test.dtype == np.int8
    assert np.bincount(dataset.y_pool).tolist() == [100] * 10
    together = np.concatenate([dataset.x_pool, dataset.x_test])
    assert len(np.unique(together, axis=0)) == len(together)  # no image is on both sides
    assert together.min() == -5 and together.max() == 11 and abs(together.mean()) < 0.5
    again = datasets.load({"source": "digits"})
    assert np.array_equal(dataset.x_test, again.x_test)


def test_classes_are_renumbered_in_the_order_given():
    arrays = Arrays(
        np.array([[1], [2], [3], [4]]),
        np.array([5, 3, 9, 3]),
        np.array([[7], [8]]),
        np.array([3, 9]),
    )
    dataset = select(arrays, [9, 3], None)
    assert dataset.x_pool.ravel().tolist() == [2, 3, 4] and dataset.y_pool.tolist() == [1, 0, 1]
    assert dataset.x_test.ravel().tolist() == [7, 8] and dataset.y_test.tolist() == [1, 0]
    assert dataset.n_classes == 2


@pytest.mark.parametrize(
    ("values", "dtype"),
    [((-128, 127), "int8"), ((0, 128), "int16"), ((-40_000, 0), "int32"), ((0, 2**40), "int64")],
)
def test_inputs_have_the_smallest_type_for_pool_and_test(values, dtype):
    low, high = (np.array([[value]]) for value in values)
    labels = np.array([0, 1])
    dataset = select(
        Arrays(np.concatenate([low, low]), labels, np.concatenate([high, high]), labels), None, None
    )
    assert dataset.x_pool.dtype == dataset.x_test.dtype == dtype
    assert dataset.x_test[0, 0] == values[1] and dataset.input_bound == max(map(abs, values))


def test_n_test_keeps_the_same_random_examples_every_time():
    full, some = (datasets.load({"source": "digits", "n_test": n}) for n in (None, 60))
    again = datasets.load({"source": "digits", "n_test": 60})
    assert np.array_equal(some.x_test, again.x_test) and len(some.y_test) == 60
    assert not np.array_equal(some.y_test, full.y_test[:60])
    assert np.array_equal(some.x_pool, full.x_pool)


@pytest.mark.parametrize(
    ("option", "message"),
    [({"classes": [0, 10]}, "no training label 10"), ({"n_test": 798}, "797 examples")],
)
def test_options_the_dataset_cannot_give_are_refused(option, message):
    for function in (datasets.describe, datasets.load):
        with pytest.raises(ConfigError, match=message):
            function({"source": "digits"} | option)


def test_an_unknown_source_is_refused():
    with pytest.raises(ConfigError, match="'cifar' is unknown: choose digits"):
        datasets.describe({"source": "cifar"})


# ---- generated datasets -------------------------------------------------------------------------


def test_a_teacher_labels_its_own_data():
    spec = vars(teacher.Options()) | {"features": 15, "layers": ["linear 6"], "seed": 3}
    dataset = datasets.load({"source": "teacher"} | spec)
    network = build_network(["linear 6"], (15,), 2, 1)
    weights = BinaryWeights(network.n_weights).draw(np.random.default_rng(3))
    for x, y in ((dataset.x_pool, dataset.y_pool), (dataset.x_test, dataset.y_test)):
        assert count_correct(network, weights, x, y) == len(y) == 1000
        assert np.bincount(y).tolist() == [500, 500] and set(np.unique(x)) == {-1, 1}


def test_a_teacher_whose_classes_are_too_rare_says_so(monkeypatch):
    monkeypatch.setattr(teacher, "_MOST_BATCHES", 2)
    with pytest.raises(DataError, match="choose another seed"):
        datasets.load({"source": "teacher", "n_classes": 40, "features": 2, "pool_size": 40,
                       "test_size": 40})  # fmt: skip


@pytest.mark.parametrize(
    ("option", "message"),
    [({"pool_size": 11}, "shared equally"), ({"layers": ["pool"]}, "teacher network: layer 1")],
)
def test_a_teacher_that_cannot_be_is_refused_by_its_description(option, message):
    with pytest.raises(DataError, match=message):
        datasets.describe({"source": "teacher"} | option)


def test_modular_addition_has_every_pair_once():
    p = 7
    dataset = datasets.load({"source": "modular_addition", "p": p})
    x = np.concatenate([dataset.x_pool, dataset.x_test])
    first, second = x[:, :p].argmax(1), x[:, p:].argmax(1)
    assert (x.sum(1) == 2).all() and (x[:, :p].sum(1) == 1).all()
    assert len(set(zip(first.tolist(), second.tolist()))) == p * p
    y = np.concatenate([dataset.y_pool, dataset.y_test])
    assert np.array_equal((first + second) % p, y)
    per_class = round(p * modular_addition.Options().pool_fraction)
    assert np.bincount(dataset.y_pool).tolist() == [per_class] * p


def test_modular_addition_without_a_test_set_is_refused():
    with pytest.raises(DataError, match="none for the test"):
        datasets.describe({"source": "modular_addition", "p": 3, "pool_fraction": 0.9})


# ---- subsets ------------------------------------------------------------------------------------

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [11, 14, 12]))


def test_the_order_is_balanced_in_every_block_and_has_no_example_twice():
    order = draw_order(LABELS, 3, np.random.default_rng(1))
    assert len(set(order.tolist())) == len(order) == 33
    blocks = LABELS[order].reshape(-1, 3)
    assert (np.sort(blocks, axis=1) == [0, 1, 2]).all()
    assert len({tuple(block) for block in blocks.tolist()}) > 3  # shuffled inside


def test_subsets_are_seeded_and_validation_lies_outside_them():
    options = {"n_validation": 6, "label_noise": 0.0}
    subset = draw_subset(LABELS, 3, seed=4, **options)
    again = draw_subset(LABELS, 3, seed=4, **options)
    other = draw_subset(LABELS, 3, seed=5, **options)
    assert np.array_equal(subset.order, again.order)
    assert not np.array_equal(subset.order, other.order)
    assert len(subset.order) == 27 and len(subset.validation) == 6
    assert not set(subset.order.tolist()) & set(subset.validation.tolist())
    assert np.array_equal(subset.label, LABELS[subset.order])
    assert np.array_equal(subset.validation_label, LABELS[subset.validation])
    whole = draw_subset(LABELS, 3, seed=4, n_validation=0, label_noise=0.0)
    assert np.array_equal(whole.order[:27], subset.order)


def test_label_noise_leaves_the_order_alone():
    clean, noisy = (
        draw_subset(LABELS, 3, n_validation=0, label_noise=f, seed=2) for f in (0.0, 0.5)
    )
    assert np.array_equal(clean.order, noisy.order)
    assert 0 < (clean.label != noisy.label).sum() <= 17


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.5, 1.0])
def test_every_prefix_has_its_exact_share_of_redrawn_labels(fraction):
    # Labels beyond the classes show which were redrawn.
    marked = redraw_labels(np.full(500, 10), 10, fraction, np.random.default_rng(3))
    redrawn = np.concatenate([[0], np.cumsum(marked < 10)])
    assert (abs(redrawn - fraction * np.arange(501)) < 1).all()


def test_redrawn_labels_are_uniform_and_know_nothing_of_the_class():
    rng = np.random.default_rng(8)
    counts = np.zeros((4, 4))  # true class, new label
    for _ in range(400):
        truth = rng.permuted(np.tile(np.arange(4), (25, 1)), axis=1).ravel()
        new = redraw_labels(truth, 4, 0.25, rng)
        np.add.at(counts, (truth, new), 1)
    expected = 0.75 * 10_000 * np.eye(4) + 0.25 * 10_000 / 4
    z = (counts - expected) / np.sqrt(0.25 * 10_000 / 4)
    assert abs(z).max() < 4  # 16 numbers near normal
    assert (z**2).sum() < 40  # about 16 expected


# ---- a user's own file --------------------------------------------------------------------------


def write_npz(path, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(-3, 9, (12, 5)),
        "y_train": np.arange(12) % 3,
        "x_test": rng.integers(-3, 9, (6, 5)),
        "y_test": np.arange(6) % 3,
    } | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return {"source": "npz", "path": str(path)}


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint16"])
def test_npz_is_used_as_it_is(tmp_path, dtype):
    x = np.arange(12 * 8).reshape(12, 2, 2, 2) - (3 if dtype[0] == "i" else 0)
    changes = {"x_train": x.astype(dtype), "x_test": x[:6].astype(dtype)}
    spec = write_npz(tmp_path / "mine.npz", **changes)
    description, dataset = datasets.describe(spec), datasets.load(spec)
    assert np.array_equal(dataset.x_pool, x) and dataset.x_pool.dtype == np.int8
    assert description.input_shape == (2, 2, 2) and description.n_classes == 3
    assert description.input_bound >= dataset.input_bound == max(-x.min(), x.max())


def test_npz_labels_may_have_gaps_where_classes_choose(tmp_path):
    labels = {"y_train": np.arange(12) % 3 * 4, "y_test": np.arange(6) % 3 * 4}
    spec = write_npz(tmp_path / "mine.npz", **labels)
    assert datasets.load(spec | {"classes": [8, 0]}).n_classes == 2
    with pytest.raises(DataError, match="none is 1"):
        datasets.describe(spec)


X, Y = np.ones((12, 5), int), np.arange(12) % 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None, "x_test": None}, "lacks x_test, y_test"),
        ({"x_train": X / 2}, "x_train holds float64"),
        ({"x_train": X > 0}, "x_train holds bool"),
        ({"x_train": X.astype(object)}, "x_train holds object"),
        ({"y_train": Y * 1.0}, "y_train holds float64"),
        ({"x_train": np.ones((12, 5, 1), int)}, r"x_train has shape \(12, 5, 1\)"),
        ({"x_train": np.ones((0, 5), int), "y_train": Y[:0]}, "no axis empty"),
        ({"y_train": Y[:, None]}, r"y_train has shape \(12, 1\)"),
        ({"y_train": Y[:11]}, "12 examples and y_train has 11"),
        ({"x_test": np.ones((6, 4), int)}, r"shape \(5,\), those of x_test \(4,\)"),
        ({"y_train": Y - 1}, "label -1 is negative"),
        ({"y_train": Y + 1, "y_test": np.ones(6, int)}, "none is 0"),
        ({"y_test": np.full(6, 3)}, "y_test has label 3"),
    ],
)
def test_a_wrong_npz_is_refused_before_and_during_loading(tmp_path, changes, message):
    spec = write_npz(tmp_path / "mine.npz", **changes)
    for function in (datasets.describe, datasets.load):
        with pytest.raises(DataError, match=message):
            function(spec)


def test_a_missing_or_truncated_npz_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        datasets.describe({"source": "npz", "path": str(tmp_path / "none.npz")})
    spec = write_npz(tmp_path / "mine.npz")
    whole = (tmp_path / "mine.npz").read_bytes()
    (tmp_path / "mine.npz").write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"not a readable \.npz file"):
        npz.describe(spec, None)
    damaged = bytearray(whole)
    damaged[whole.index(b"y_train.npy") + 200] ^= 1
    (tmp_path / "mine.npz").write_bytes(damaged)
    with pytest.raises(DataError, match=r"not a readable \.npz file"):
        npz.describe(spec, None)


# ---- MNIST: small files in the same format ------------------------------------------------------


def idx_bytes(array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def release(monkeypatch, tmp_path):
    """A tiny MNIST: its four files' bytes; the cache is empty and the mirrors are unreachable."""
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (n, 28, 28)) for n in (30, 20)]
    labels = [np.arange(n) % 10 for n in (30, 20)]
    files = {
        idx.TRAIN_IMAGES: idx_bytes(images[0]),
        idx.TRAIN_LABELS: idx_bytes(labels[0]),
        idx.TEST_IMAGES: idx_bytes(images[1]),
        idx.TEST_LABELS: idx_bytes(labels[1]),
    }
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    tiny = idx.RELEASES["mnist"]._replace(sha256=sha256, mirrors=["http://127.0.0.1:9/"])
    monkeypatch.setitem(idx.RELEASES, "mnist", tiny)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    return files


def store(folder, files, zipped):
    (folder / "mnist").mkdir(parents=True, exist_ok=True)
    for position, (name, content) in enumerate(files.items()):
        zip_this = zipped if zipped is not None else position % 2
        path = folder / "mnist" / (f"{name}.gz" if zip_this else name)
        path.write_bytes(gzip.compress(content) if zip_this else content)


@pytest.mark.parametrize("zipped", [True, False, None])
def test_idx_files_are_read_from_the_data_folder(release, tmp_path, zipped):
    store(tmp_path, release, zipped)
    dataset = datasets.load({"source": "mnist"}, str(tmp_path))
    assert dataset.x_pool.shape == (30, 1, 28, 28) and dataset.x_pool.dtype == np.int16
    pixels = np.frombuffer(release[idx.TRAIN_IMAGES], np.uint8, offset=16)
    assert np.array_equal(dataset.x_pool.ravel(), pixels.astype(int) - 33)
    assert dataset.y_test.tolist() == [k % 10 for k in range(20)]


@pytest.mark.parametrize(
    ("zipped", "damage"),
    [
        (True, lambda content: content[:-20]),
        (True, lambda content: content[:200] + b"x" + content[201:]),
        (False, lambda content: content[:-1]),
        (False, lambda content: content[:-1] + b"x"),
        (False, lambda content: b""),
    ],
)
def test_a_damaged_file_is_named_and_left_alone(release, tmp_path, zipped, damage):
    store(tmp_path, release, zipped)
    path = tmp_path / "mnist" / (idx.TEST_IMAGES + (".gz" if zipped else ""))
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(DataError, match=f"{path.name} is damaged.*replace"):
        datasets.load({"source": "mnist"}, str(tmp_path))
    assert path.read_bytes() == before and not (tmp_path / "cache").exists()


def test_without_files_and_network_the_repair_is_named(release, tmp_path):
    with pytest.raises(DataError) as caught:
        datasets.load({"source": "mnist"}, str(tmp_path / "data"))
    message = str(caught.value)
    for part in (f"{idx.TRAIN_IMAGES}.gz", "http://127.0.0.1:9/", "set data_dir"):
        assert part in message
    assert str(tmp_path / "data" / "mnist") in message
    assert not list((tmp_path / "cache").rglob("*.gz"))


@pytest.fixture
def mirror(release, monkeypatch, tmp_path):
    """A local mirror of the tiny release: its folder, and the requests it was asked."""
    folder, asked = tmp_path / "mirror", []
    store(folder, release, True)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=folder / "mnist")

        def log_message(self, form, *args):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/"
    tiny = idx.RELEASES["mnist"]._replace(mirrors=["http://127.0.0.1:9/", url])
    monkeypatch.setitem(idx.RELEASES, "mnist", tiny)
    yield folder / "mnist", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_files_are_downloaded_once_from_the_first_mirror_that_has_them(mirror):
    first = datasets.load({"source": "mnist"})
    assert len(mirror[1]) == 4
    again = datasets.load({"source": "mnist"})
    assert len(mirror[1]) == 4 and np.array_equal(first.x_pool, again.x_pool)


def test_a_wrong_download_is_refused_and_not_kept(mirror, tmp_path):
    (mirror[0] / f"{idx.TEST_LABELS}.gz").write_bytes(gzip.compress(b"a login page"))
    with pytest.raises(DataError, match="wrong SHA-256"):
        datasets.load({"source": "mnist"})
    assert len(list((tmp_path / "cache").rglob("*.gz"))) == 3


def test_a_damaged_cache_is_downloaded_again(mirror, tmp_path):
    first = datasets.load({"source": "mnist"})
    cached = tmp_path / "cache" / "mnist" / f"{idx.TRAIN_LABELS}.gz"
    cached.write_bytes(cached.read_bytes()[:-5])
    again = datasets.load({"source": "mnist"})
    assert np.array_equal(first.y_pool, again.y_pool) and len(mirror[1]) == 5


def test_what_is_no_idx_file_is_refused():
    for content in (b"", b"\x00\x00\x08\x01\x00\x00", b"\x00\x00\x0d\x01\x00\x00\x00\x00", b"text"):
        with pytest.raises(DataError, match="not a whole IDX file"):
            idx.parse(content, "labels")
