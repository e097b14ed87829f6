"""Accelerated modules in what PyTorch compiles, exports and transforms: as PyTorch has them."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from torch.autograd import forward_ad
from torch.export import Dim, export
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils._python_dispatch import TorchDispatchMode

from embedrnn.adapters.torch import GRU, accelerate

MODULES: dict[str, Callable[..., Any]] = {
    "rnn": torch.nn.RNN,
    "gru": torch.nn.GRU,
    "lstm": torch.nn.LSTM,
}
each_kind = pytest.mark.parametrize("kind", MODULES)
each_root = pytest.mark.parametrize("kind", [*MODULES, "bag"])

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(autouse=True)
def compiling() -> Any:
    """Let Dynamo look into recurrent layers, which it does not by itself."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(allow_rnn=True):
        yield


def parts(value: Any) -> list[Any]:
    if value is None:
        return []
    return [value] if isinstance(value, torch.Tensor) else [p for v in value for p in parts(v)]


def assert_alike(got: Any, wanted: Any) -> None:
    torch.testing.assert_close(parts(got), parts(wanted), rtol=1e-4, atol=1e-5)


def accelerated(module: Any) -> Any:
    copied = copy.deepcopy(module)
    accelerate(copied)
    return copied


def compiled(call: Any) -> Any:
    return torch.compile(call, fullgraph=True, backend="aot_eager")


# --- modules that are the root themselves ------------------------------------------------------


def root_of(kind: str, *shape: int) -> tuple[Any, Any]:
    """Return a module and its input."""
    if kind == "bag":
        return torch.nn.EmbeddingBag(9, 5).eval(), torch.randint(9, shape)
    return MODULES[kind](5, 7, batch_first=True).eval(), torch.randn(*shape, 5)


@pytest.mark.parametrize("sizes", ["of one size", "of any size"])
@pytest.mark.parametrize("strict", [False, True], ids=["non-strict", "strict"])
@each_root
def test_a_root_is_exported(kind: str, strict: bool, sizes: str) -> None:
    module, x = root_of(kind, 3, 4)
    shapes = ({0: Dim("B"), 1: Dim("T")},) if sizes == "of any size" else None
    ours = accelerated(module)
    program = export(ours, (x,), dynamic_shapes=shapes, strict=strict)
    assert any(str(node.target).startswith("embedrnn.") for node in program.graph.nodes)
    if shapes:
        _, x = root_of(kind, 6, 8)
    assert_alike(program.module()(x), module(x))


@each_root
def test_a_root_is_exported_by_names_of_arguments(kind: str) -> None:
    module, x = root_of(kind, 3, 4)
    program = export(accelerated(module), (), {"input": x}, strict=False)
    assert_alike(program.module()(input=x), module(x))


@each_root
def test_a_root_is_compiled(kind: str) -> None:
    module, x = root_of(kind, 3, 4)
    ours = accelerated(module)
    assert_alike(compiled(ours)(x), module(x))
    torch._dynamo.reset()
    with torch._dynamo.config.patch(allow_rnn=False):
        assert_alike(torch.compile(ours, backend="aot_eager")(x), module(x))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@each_root
def test_a_root_is_traced_as_pytorch_traces_it(kind: str) -> None:
    module, x = root_of(kind, 3, 4)
    ours = accelerated(module)
    assert_alike(torch.jit.trace(ours, x)(x), module(x))
    if kind == "bag":
        assert_alike(torch.fx.symbolic_trace(ours)(x), module(x))
        return
    for either in (module, ours):
        with pytest.raises(torch.fx.proxy.TraceError):
            torch.fx.symbolic_trace(either)


# --- transforms --------------------------------------------------------------------------------


def gradient(module: Any) -> Any:
    return torch.func.grad(lambda x: module(x)[0].square().sum())


def pushed_forward(module: Any) -> Any:
    return lambda x: torch.func.jvp(lambda x: module(x)[0], (x,), (torch.ones_like(x),))[1]


def dual(module: Any) -> Any:
    def call(x: Any) -> Any:
        with forward_ad.dual_level():
            output, _ = module(forward_ad.make_dual(x, torch.ones_like(x)))
            return forward_ad.unpack_dual(output).tangent

    return call


def with_other_weights(module: Any) -> Any:
    weights = {name: 0.5 * value.detach() for name, value in module.named_parameters()}
    return lambda x: torch.func.functional_call(module, weights, (x,))[0]


def cast(module: Any) -> Any:
    def call(x: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return module(x)[0]

    return call


TRANSFORMS = [gradient, pushed_forward, dual, with_other_weights, cast]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transforms_in_what_is_compiled_are_those_of_pytorch(transform: Any) -> None:
    module, x = root_of("gru", 3, 4)
    wanted = transform(module)(x)
    ours = transform(accelerated(module))
    assert_alike(ours(x), wanted)
    assert_alike(compiled(ours)(x), wanted)


def test_what_pytorch_cannot_transform_is_an_error() -> None:
    module, x = root_of("gru", 2, 3, 4)
    for either in (module, accelerated(module)):
        call = lambda x, either=either: torch.func.vmap(lambda x: either(x)[0])(x)  # noqa: E731
        for run in (call, compiled(call)):
            with pytest.raises(RuntimeError):
                run(x)


@pytest.mark.parametrize("frozen", [False, True], ids=["weights to train", "frozen"])
@pytest.mark.parametrize("transform", [pushed_forward, dual])
def test_modules_of_ours_have_no_forward_derivatives(transform: Any, frozen: bool) -> None:
    module = GRU(5, 7).requires_grad_(not frozen)
    call = transform(module)
    with pytest.raises(NotImplementedError, match="no forward derivatives"):
        call(torch.randn(3, 4, 5))
    # Dynamo raises it as an error of its own.
    with pytest.raises(Exception, match="no forward derivatives"):
        compiled(call)(torch.randn(3, 4, 5))


# --- second derivatives ------------------------------------------------------------------------


class Observer(TorchDispatchMode):
    """Sees each operator, and runs it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["gru", "bag"])
def test_operators_have_no_second_derivatives_and_say_so(kind: str) -> None:
    if kind == "bag":
        module, ids = torch.nn.EmbeddingBag(9, 5, mode="sum"), torch.tensor([[1, 2, 2], [4, 0, 1]])
        x = torch.randn(2, 3, requires_grad=True)
        call: Any = lambda module: module(ids, None, x)  # noqa: E731
    else:
        module, x = torch.nn.GRU(5, 7), torch.randn(3, 4, 5, requires_grad=True)
        call = lambda module: module(x)[0]  # noqa: E731
    ours = accelerated(module)
    with Observer():
        output = call(ours)
    assert_alike(output, call(module))
    grads = torch.autograd.grad(output.square().sum(), [x, *ours.parameters()], create_graph=True)
    wanted = torch.autograd.grad(call(module).square().sum(), [x, *module.parameters()])
    assert_alike(grads, wanted)
    with pytest.raises(RuntimeError, match=r"backward through embedrnn\.\w+_backward"):
        grads[0].sum().backward()


# --- calls that are not as they should be ------------------------------------------------------


def of(*shape: int, **options: Any) -> Any:
    return torch.randn(shape, **options)


def packed(*lengths: int, width: int = 5, is_sorted: bool = True) -> Any:
    return pack_sequence([of(n, width) for n in lengths], enforce_sorted=is_sorted)


def state(*shape: int, **options: Any) -> Any:
    """Return a state as the kind of layer has it."""
    return lambda kind: (of(*shape, **options),) * 2 if kind == "lstm" else of(*shape, **options)


OTHERS = {"gru": "lstm", "lstm": "gru"}
CALLS: dict[str, tuple[Any, ...]] = {
    "plain": (of(3, 4, 5),),
    "strided": (of(5, 4, 3).permute(2, 1, 0), state(1, 4, 7)),
    "expanded": (of(1, 1, 5).expand(3, 4, 5),),
    "alone": (of(4, 5), state(1, 7)),
    "no steps": (of(0, 4, 5),),
    "no rows": (of(3, 0, 5),),
    "no steps, alone": (of(0, 5),),
    "nothing": (of(0, 0, 5),),
    "one axis": (of(5),),
    "four axes": (of(1, 3, 4, 5),),
    "width": (of(3, 4, 6),),
    "other dtype": (of(3, 4, 5, dtype=torch.float64),),
    "half": (of(3, 4, 5).half(),),
    "integers": (torch.ones(3, 4, 5, dtype=torch.int64),),
    "no tensor": (None,),
    "state of other rows": (of(3, 4, 5), state(1, 3, 7)),
    "state of other layers": (of(3, 4, 5), state(2, 4, 7)),
    "state of other width": (of(3, 4, 5), state(1, 4, 6)),
    "state of other axes": (of(3, 4, 5), state(4, 7)),
    "state of other dtype": (of(3, 4, 5), state(1, 4, 7, dtype=torch.float64)),
    "alone, state of rows": (of(4, 5), state(1, 1, 7)),
    "no state": (of(3, 4, 5), lambda kind: ()),
    "state of another cell": (of(3, 4, 5), lambda kind: state(1, 4, 7)(OTHERS[kind])),
    "states of two shapes": (of(3, 4, 5), lambda kind: (of(1, 4, 7), of(1, 3, 7))),
    "three states": (of(3, 4, 5), lambda kind: (of(1, 4, 7),) * 3),
    "list of states": (of(3, 4, 5), lambda kind: [of(1, 4, 7), of(1, 4, 7)]),
    "packed": (packed(4, 2), state(1, 2, 7)),
    "packed, unsorted": (packed(2, 4, is_sorted=False), state(1, 2, 7)),
    "packed, state of other rows": (packed(4, 2), state(1, 3, 7)),
    "packed, unsorted, state of other rows": (packed(2, 4, is_sorted=False), state(1, 3, 7)),
    "packed, width": (packed(4, 2, width=6),),
    "packed, sizes of other dtype": (
        PackedSequence(of(6, 5), torch.tensor([3, 2, 1], dtype=torch.int32)),
    ),
    "packed, rising": (PackedSequence(of(6, 5), torch.tensor([1, 2, 3])),),
    "packed, no steps": (PackedSequence(of(0, 5), torch.tensor([], dtype=torch.int64)),),
    "packed, no rows": (PackedSequence(of(0, 5), torch.tensor([0])),),
}  # fmt: skip


def outcome(call: Any, *arguments: Any) -> Any:
    """Return the results of a call, or what it raises."""
    try:
        with torch.no_grad():
            return call(*arguments)
    except Exception as error:
        return error


def assert_is_pytorchs(module: Any, arguments: tuple[Any, ...]) -> None:
    """Compare a call of PyTorch's with those of an accelerated module."""
    wanted, ours = outcome(module, *arguments), accelerated(module)
    with Observer():
        observed = outcome(ours, *arguments)
    for got in (outcome(ours, *arguments), observed):
        if isinstance(wanted, Exception):
            assert (type(got), str(got)) == (type(wanted), str(wanted))
        else:
            assert_alike(got, wanted)
    got = outcome(torch.compile(ours, backend="eager"), *arguments)
    if isinstance(got, Exception):  # which Dynamo may raise as one of its own
        if not isinstance(wanted, Exception):
            assert type(outcome(torch.compile(module, backend="eager"), *arguments)) is type(got)
    else:
        assert_alike(got, wanted)


@pytest.mark.parametrize(
    ("kind", "call"),
    [("gru", call) for call in CALLS] + [("lstm", call) for call in CALLS if "state" in call],
)
def test_odd_calls_have_the_results_and_errors_of_pytorch(kind: str, call: str) -> None:
    given = [part(kind) if callable(part) else part for part in CALLS[call]]
    assert_is_pytorchs(MODULES[kind](5, 7), tuple(given))


def _halves(module: Any) -> None:
    module.bfloat16()


def _one_double(module: Any) -> None:
    module.bias_hh_l0 = torch.nn.Parameter(module.bias_hh_l0.detach().double())


def _one_short(module: Any) -> None:
    module.bias_hh_l0 = torch.nn.Parameter(module.bias_hh_l0.detach()[:-1])


def _elsewhere(module: Any) -> None:
    module.to("meta")


@pytest.mark.parametrize("change", [_halves, _one_double, _one_short, _elsewhere])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_odd_weights_have_the_results_and_errors_of_pytorch(
    kind: str, dtype: Any, change: Any
) -> None:
    module = MODULES[kind](5, 7)
    change(module)
    assert_is_pytorchs(module, (of(3, 4, 5).to(dtype),))


IDS = torch.tensor([1, 2, 2, 5, 0, 4])
BAGS: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "offsets": ({}, (IDS, torch.tensor([0, 2, 2]))),
    "rows": ({}, (IDS.view(2, 3),)),
    "no offsets": ({}, (IDS,)),
    "offsets and rows": ({}, (IDS.view(2, 3), torch.tensor([0]))),
    "no indices": ({}, (IDS[:0], torch.tensor([0, 0]))),
    "rows without indices": ({}, (IDS[:0].view(2, 0),)),
    "no rows": ({}, (IDS[:0].view(0, 3),)),
    "no bags": ({}, (IDS, torch.tensor([], dtype=torch.int64))),
    "only the last offset": ({"include_last_offset": True}, (IDS, torch.tensor([6]))),
    "floats": ({}, (IDS.float(), torch.tensor([0]))),
    "small integers": ({}, (IDS.to(torch.uint8), torch.tensor([0]))),
    "offsets of floats": ({}, (IDS, torch.tensor([0.0]))),
    "offsets of two axes": ({}, (IDS, torch.tensor([[0, 2]]))),
    "integers of two sizes": ({}, (IDS.int(), torch.tensor([0, 2]))),
    "negative": ({}, (-IDS, torch.tensor([0]))),
    "too large": ({}, (2 * IDS, torch.tensor([0]))),
    "weighted": ({"mode": "sum"}, (IDS.view(2, 3), None, of(2, 3))),
    "weighted mean": ({}, (IDS.view(2, 3), None, of(2, 3))),
    "weights of other shape": ({"mode": "sum"}, (IDS.view(2, 3), None, of(6))),
    "weights of other dtype": ({"mode": "sum"}, (IDS.view(2, 3), None, of(2, 3).double())),
    "no tensor": ({}, (None,)),
}


@pytest.mark.parametrize("call", BAGS)
def test_odd_bags_have_the_results_and_errors_of_pytorch(call: str) -> None:
    options, arguments = BAGS[call]
    assert_is_pytorchs(torch.nn.EmbeddingBag(9, 5, **options), arguments)


def test_a_table_of_halves_is_left_to_pytorch() -> None:
    assert_is_pytorchs(torch.nn.EmbeddingBag(9, 5).half(), (IDS.view(2, 3),))


MEANT_FOR_PYTORCH: dict[str, tuple[Any, tuple[Any, ...], str]] = {
    "packed data": (
        lambda: torch.nn.GRU(5, 7),
        (PackedSequence(of(6, 5), torch.tensor([2, 1, 1])),),
        "sum of batch_sizes",
    ),
    "the last offset": (
        lambda: torch.nn.EmbeddingBag(9, 5, include_last_offset=True),
        (IDS, torch.tensor([0, 4])),
        "last of the offsets",
    ),
}


@pytest.mark.parametrize(
    ("make", "arguments", "words"), MEANT_FOR_PYTORCH.values(), ids=MEANT_FOR_PYTORCH
)
def test_what_numbers_alone_can_tell_is_an_error_when_compiled(
    make: Any, arguments: tuple[Any, ...], words: str
) -> None:
    module = make()
    ours = accelerated(module)
    wanted = module(*arguments)
    assert_alike(ours(*arguments), wanted)
    with Observer():
        assert_alike(ours(*arguments), wanted)
    with pytest.raises((TypeError, ValueError), match=words):
        torch.compile(ours, backend="eager")(*arguments)
