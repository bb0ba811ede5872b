"""What the benchmark measures: sizes, repetitions and durations, fixed so that runs compare."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Design:
    """One design of the benchmark.

    Attributes:
        repetitions: timed repetitions of each measurement, after a warm-up.
        seconds: least duration of a repetition.
        presets: architectures of the moves.
        side: height and width of the images of the moves, pixels.
        n: training-set sizes of the moves.
        n_test: N, test examples.
        scale_n, scale_n_test, widths, depths: what the cost of a move is followed over: n, N, units
            of the one hidden linear layer, number of hidden linear layers; ``fixed_n`` is n of the
            last three.
        real_units, real_n: hidden units and training-set sizes of moves of real weights.
        sides, classes, guess_n: images, classes and training-set sizes of Guess & Check.
        guess_batches: batch sizes that its baseline may choose from.
        train_sides, train_n, networks: images, training-set size and networks of training.
        jobs: samplers whose start-up is timed.
        starts: timed starts of each.
        bandwidth: sizes of the arrays of the bandwidth measurement, bytes.
        walkers: side by side on a GPU.
    """

    repetitions: int
    seconds: float
    presets: tuple[str, ...]
    side: int
    n: tuple[int, ...]
    n_test: int
    scale_n: tuple[int, ...]
    scale_n_test: tuple[int, ...]
    fixed_n: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    real_units: tuple[int, ...]
    real_n: tuple[int, ...]
    sides: tuple[int, ...]
    classes: tuple[int, ...]
    guess_n: tuple[int, ...]
    guess_batches: tuple[int, ...]
    train_sides: tuple[int, ...]
    train_n: int
    networks: int
    jobs: tuple[str, ...]
    starts: int
    bandwidth: tuple[int, ...]
    walkers: tuple[int, ...]


DESIGNS = {
    "full": Design(
        repetitions=5,
        seconds=0.3,
        presets=("simple_cnn", "simple_cnn_deep", "simple_cnn_wide"),
        side=28,
        n=(30, 300, 600, 2400),
        n_test=10_000,
        scale_n=(30, 75, 150, 300, 600, 1200, 2400),
        scale_n_test=(100, 1000, 10_000),
        fixed_n=300,
        widths=(32, 64, 128, 256, 512),
        depths=(1, 2, 3, 4),
        real_units=(16, 64, 256),
        real_n=(30, 300),
        sides=(8, 28),
        classes=(2, 10),
        guess_n=(4, 16, 32),
        guess_batches=(8, 32, 128),
        train_sides=(8, 28),
        train_n=100,
        networks=5,
        jobs=("gd", "guess_and_check", "rewl", "joint", "enumerate"),
        starts=3,
        bandwidth=tuple(2**power for power in range(13, 28)),
        walkers=(1, 8, 64, 512, 4096),
    ),
    "quick": Design(
        repetitions=2,
        seconds=0.01,
        presets=("simple_cnn",),
        side=12,
        n=(30, 60),
        n_test=200,
        scale_n=(30, 60),
        scale_n_test=(100, 200),
        fixed_n=30,
        widths=(16, 32),
        depths=(1, 2),
        real_units=(8,),
        real_n=(30,),
        sides=(8,),
        classes=(2, 10),
        guess_n=(4, 16),
        guess_batches=(8, 32),
        train_sides=(8,),
        train_n=20,
        networks=2,
        jobs=("guess_and_check",),
        starts=1,
        bandwidth=(2**14, 2**20),
        walkers=(1, 2),
    ),
}
"""``full`` takes minutes and is what counts; ``quick`` only shows that everything runs."""
