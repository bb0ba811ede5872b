"""One yardstick: every evaluator counts what ``networks.forward.count_correct`` counts.

``test_engine`` and ``test_gpu`` then follow the evaluators into every value that they keep, and
``test_enumeration`` compares the exhaustive walk.
"""

from itertools import product

import numpy as np
import pytest
import torch

from volumetry.engines import direct, general
from volumetry.engines.evaluator import commit, find_channels, initialise
from volumetry.engines.layout import make_move, make_plan, make_scratch, make_states, state_of
from volumetry.kernels.jit import jit
from volumetry.methods.guess_and_check import Checker, guessed_weights
from volumetry.networks import build_network
from volumetry.networks.forward import count_correct
from volumetry.weights.binary import BinaryWeights
from volumetry.weights.flips import draw_flips, flip

NETWORKS = {  # layers, input shape, classes
    "perceptron": ((), (7,), 3),
    "one hidden layer": (("linear 9",), (7,), 3),
    "cnn": (("conv 2", "pool", "linear 5"), (1, 5, 4), 3),
    "deep": (("conv 2", "pool", "conv 3", "linear 6", "linear 4"), (2, 5, 4), 3),
}
BOUND, N, FLIPS, BLOCK = 15, 40, 3, 32
SEED = np.uint64(2**63 + 11)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def interpret(patch):
    """Have Triton interpret its kernels; it looks as they are defined, and again as they run."""
    if DEVICE == "cpu":
        patch.setenv("TRITON_INTERPRET", "1")


with pytest.MonkeyPatch.context() as context:
    interpret(context)
    import triton
    import triton.language as tl

    from volumetry.engines import evaluator_gpu, layout_gpu
    from volumetry.weights import flips_gpu

    @triton.jit
    def start_gpu(examples, states, weights, correct, NET: tl.constexpr, BLOCK: tl.constexpr):
        state = layout_gpu.state_of(states, tl.program_id(0), 0, NET)
        count = 0
        for start in range(0, examples.width, BLOCK):
            e = start + tl.arange(0, BLOCK)
            count += evaluator_gpu.initialise_block(examples, state, weights, e, NET, BLOCK)
        tl.store(correct, count)

    @triton.jit
    def move_gpu(
        examples,
        states,
        weights,
        correct,
        seed,
        step,
        NET: tl.constexpr,
        M: tl.constexpr,
        BLOCK: tl.constexpr,
    ):
        state = layout_gpu.state_of(states, tl.program_id(0), 0, NET)
        size = tl.full((), layout_gpu.n_weights(NET), tl.int32)
        flips, _ = flips_gpu.draw_flips(tl.load(seed), 1, step, size, M)
        count = evaluator_gpu.evaluate(examples, state, weights, flips, 0, NET, M, BLOCK)
        tl.debug_barrier()
        evaluator_gpu.commit(state, flips, NET, M)
        flips_gpu.flip(weights, flips, M)
        tl.store(correct, count)


@jit
def move_directly(plan, state, move, weights, scratch, step, first):
    draw_flips(SEED, 1, step, weights.size - first, move.flips)
    move.flips[:] += first
    find_channels(plan, move)
    flip(weights, move.flips)
    correct = direct.evaluate(plan, state, move, weights, scratch, 0)
    commit(plan, state, move, scratch)
    return correct


@jit
def move_generally(plan, state, move, weights, scratch, step):
    draw_flips(SEED, 1, step, weights.size, move.flips)
    find_channels(plan, move)
    flip(weights, move.flips)
    correct = general.evaluate(plan, state, move, weights, scratch, 0)
    commit(plan, state, move, scratch)
    return correct


def walk_on_the_cpu(network, x, y, kind):
    """Counts along a walk of one kind of move, after that of its start."""
    plan, state = make_plan(network, x, y), state_of.py_func(make_states(network, N, 1), 0)
    move, scratch = make_move(network, FLIPS), make_scratch(network, FLIPS)
    weights = BinaryWeights(network.n_weights).draw(np.random.default_rng(1))
    yield weights, initialise(plan, state, move, weights, scratch)
    for step in range(200):
        given = plan, state, move, weights, scratch, step
        if kind == "direct":
            first = sum(stage.n_weights for stage in network.stages)
            yield weights, move_directly(*given, first)
        else:
            yield weights, move_generally(*given)


def walk_on_the_gpu(network, x, y):
    net = layout_gpu.layout(network)
    examples = layout_gpu.make_examples(network, x, y, DEVICE)
    states = layout_gpu.make_states(network, 1, examples.width, DEVICE)
    weights = BinaryWeights(network.n_weights).draw(np.random.default_rng(1))
    weights = torch.from_numpy(weights).to(DEVICE)
    correct = torch.zeros(1, dtype=torch.int32, device=DEVICE)
    seed = torch.tensor([int(SEED)], dtype=torch.uint64).view(torch.int64).to(DEVICE)
    start_gpu[(1,)](examples, states, weights, correct, NET=net, BLOCK=BLOCK)
    yield weights.cpu().numpy(), int(correct)
    for step in range(6):
        move_gpu[(1,)](
            examples, states, weights, correct, seed, step, NET=net, M=FLIPS, BLOCK=BLOCK
        )
        yield weights.cpu().numpy(), int(correct)


def check_guesses(network, x, y):
    """A checker of a single example says whether it is right; their answers add up to a count."""
    checkers = [Checker(network, x[i : i + 1], y[i : i + 1]) for i in range(N)]
    for guess in range(20):
        fits = [len(checker.check(SEED, guess, guess + 1)) for checker in checkers]
        yield guessed_weights(network, SEED, guess), sum(fits)


EVALUATORS = {
    "direct": lambda *problem: walk_on_the_cpu(*problem, "direct"),
    "general": lambda *problem: walk_on_the_cpu(*problem, "general"),
    "gpu": walk_on_the_gpu,
    "guess_and_check": check_guesses,
}


# There is no direct way through two hidden layers.
PAIRS = [
    pytest.param(*pair, marks=[pytest.mark.slow] * (pair == ("gpu", "deep")))  # to interpret
    for pair in product(EVALUATORS, NETWORKS)
    if pair != ("direct", "deep")
]


@pytest.mark.parametrize(("evaluator", "name"), PAIRS)
def test_every_evaluator_counts_as_the_forward_pass_does(evaluator, name, monkeypatch):
    interpret(monkeypatch)
    layers, shape, classes = NETWORKS[name]
    network = build_network(layers, shape, classes, BOUND)
    rng = np.random.default_rng(2)
    x = rng.integers(-BOUND, BOUND + 1, (N, *shape))
    y = rng.integers(0, classes, N)
    seen = set()
    for weights, correct in EVALUATORS[evaluator](network, x, y):
        assert correct == count_correct(network, weights, x, y)
        seen.add(correct)
    assert len(seen) > 1
