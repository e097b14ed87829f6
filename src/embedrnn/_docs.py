"""What several docstrings say alike stands once, here, as they say it.

A line ``{lengths, offsets}`` in one of them stands for these paragraphs of its table.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

_Documented = TypeVar("_Documented", bound=Callable[..., object])


def documented(paragraphs: Mapping[str, str]) -> Callable[[_Documented], _Documented]:
    """Fill paragraphs in where a line of the docstring names them, indented as that line is."""

    def fill(thing: _Documented) -> _Documented:
        if thing.__doc__:  # which python -OO takes away
            lines = thing.__doc__.split("\n")
            filled = [_filled(line, paragraphs) if line[-1:] == "}" else line for line in lines]
            thing.__doc__ = "\n".join(filled)
        return thing

    return fill


def _filled(line: str, paragraphs: Mapping[str, str]) -> str:
    """Return the paragraphs that a line names; one of others stays, which a test finds."""
    indent, _, inner = line[:-1].partition("{")
    names = inner.split(", ")
    if indent.strip() or not paragraphs.keys() >= set(names):
        return line
    return indent + "\n".join(paragraphs[name] for name in names).replace("\n", f"\n{indent}")


def _by_name(text: str) -> dict[str, str]:
    """Return the paragraphs of a text by what each begins with."""
    every = text.strip().split("\n\n")
    return {each.partition("\n")[0].partition(" : ")[0]: each for each in every}


# Of the functions of the recurrent cells.
RECURRENCE = _by_name("""
x : array_like, shape (B, T, I), float32 or float64, or B sequences
    The input, of any strides: a (T, B, I) array transposed costs no copy. What stands at
    padded steps is never read. A list of arrays (T_b, I), equally long or not, is ragged input
    without `offsets`, and so is an Arrow list array of fixed-size lists. Tensors of PyTorch on the
    CPU, what is exported by DLPack, and Arrow arrays in one chunk are read where they lie.

lengths : array_like of any integer dtype, shape (B,), optional
    Valid steps of each row, in [0, T] and any order; T if absent. Time taken follows them.

offsets : array_like of any integer dtype, shape (B + 1,), optional
    In place of lengths, for ragged input: `x` is (N, I), one row's steps behind the
    other's, and row b has those from ``offsets[b]`` to ``offsets[b + 1]``.

resets : array_like of bool, shape (B, T) or (N,), that of `x` without I, optional
    Where it is True, the state before that step of the walk is the initial one again, or zeros if
    that is absent: an episode begins within a row. What stands at padded steps is ignored.

mask : array_like of bool, shape (B, T), optional
    In place of lengths, for padding that may stand anywhere, as Keras has it: the steps that are
    valid. At others the state is held. Time taken follows the valid ones.

padding_fill : {"zero", "repeat"}
    What the output is at padded steps: 0, or that of the last valid step before in time, and 0
    before the first one.

h_0 : array_like, shape (B, H), dtype of `x`, optional
    The hidden state before the first step; zeros if absent.

reset_after : bool
    Whether the reset gate meets the state after the product, as in PyTorch and by default in
    Keras, or before it, as in the original paper and by default in ONNX.

reverse : bool
    Walk from each row's last valid step to its first. Outputs stay in time order.

out : ndarray, shape of the output, dtype of `x`, optional
    Where to put the output. May overlap the inputs, as if they had been copied before.

output : ndarray, shape (B, T, H) or, of ragged input, (N, H)
    The hidden state after each step, 0 at padded steps; `out` if that is given. Each row has
    the same bits alone and in any batch, whatever its padding holds and however many threads
    there are.

h_n : ndarray, shape (B, H)
    The hidden state after each row's last step; `h_0` where the length is 0.

backward : callable
    ``backward(grad_output=None, grad_state=None)`` takes the gradients of what came out, of the
    same shapes and dtype; None stands for zeros. What stands at padded steps is never read. It
    may be called any number of times, and the arguments may change meanwhile: what it needs of
    them has been copied.

TypeError
    If an array has another dtype.

ValueError
    If a shape does not fit, a length is outside [0, T], offsets do not rise from 0 to N, a
    number or a list is null, lengths or offsets come with sequences, or `out` is read-only.
""") | {
    # Named by what they are about.
    "gradient of x": """\
x : ndarray, shape of `x`
    0 at padded steps. Of sequences that came as a list or an Arrow array, one behind the other:
    (N, I).""",
    "backpropagation through time": """\
This is backpropagation through time [1]_. A row of length 0 hands the gradient of its last
state on to the initial one. What is kept of the steps, padding not counted, I and H rounded up
to whole vectors, is held as long as `backward` is.""",
    "Werbos": """\
.. [1] P. J. Werbos, "Backpropagation through time: what it does and how to do it", Proceedings
   of the IEEE 78 (1990), 1550-1560.""",
}

# Of their layers.
RECURRENT_LAYER = RECURRENCE | _by_name("""
input_size : int
    Features of the input, I.

hidden_size : int
    Units of each layer and direction, H.

num_layers : int
    Layers; each but the first has the output of the one below as its input.

bias : bool
    Whether there are biases.

batch_first : True
    In PyTorch's place; no other value has a meaning here.

dropout : float
    The probability, in [0, 1), with which `vjp` drops each number that a layer hands to the one
    above it; those kept are divided by 1 - dropout. A call drops nothing.

bidirectional : bool
    Whether each layer also walks from each row's last valid step to its first.

reverse : bool
    Whether each layer walks that way alone; outputs stay in time order. Not with `bidirectional`.

merge : {"concat", "sum", "mean", "mul"}
    What each layer makes of the outputs of two directions: they stand side by side, 2H wide, or
    their sum, mean or product is H wide, as of a Keras `Bidirectional`.

dtype : float32 or float64, optional
    Of the parameters and of all that goes in and out; float32 if absent.

rng : seed or numpy.random.Generator, optional
    Whatever `numpy.random.default_rng` takes, for the initial parameters: they are uniform in
    [-H^-1/2, H^-1/2), as PyTorch's.

**others
    Words of PyTorch's for what is so anyway: ``device="cpu"`` and ``proj_size=0``.

TypeError
    If a size is not an integer, or the dtype is another.

ValueError
    If a size is too small, dropout is outside [0, 1), or `reverse` or `merge` does not go with
    `bidirectional`.
""")

# Of bags of rows, and of the layers over the rows of a table.
TABLE = _by_name("""
indices : array_like of any integer dtype, shape (N,) or (B, L), or B sequences
    The rows of all bags, one bag after another; of two axes, each row is a bag. Negative
    ones count from the end. Of a list of sequences, equally long or not, and of an Arrow list
    array, each is a bag. Tensors of PyTorch on the CPU, what is exported by DLPack, and Arrow
    arrays in one chunk are read where they lie.

offsets : array_like of any integer dtype, shape (B,), optional
    For 1-d indices: where each bag begins. The first is 0, none is less than the one
    before.

lengths : array_like of any integer dtype, shape (B,), optional
    In place of offsets: how many indices each bag has.

include_last_offset : bool
    Whether `offsets`, of shape (B + 1,), ends with the number of indices.

strict : bool
    Refuse every index outside [0, V), as the mode "strict" of `gather` does: negative ones too,
    such as a -1 that marks padding.

num_embeddings : int
    Rows of the table, V.

embedding_dim : int
    Columns of the table, D.

max_norm : float, optional
    The greatest norm that a row may have: those looked up are scaled down to it, in place,
    which the arrays that a `state_dict` has given show too.

norm_type : float
    The p of that norm; `numpy.inf` for the greatest magnitude.

dtype : float32, float64, float16, bfloat16 (of ml_dtypes) or int8, optional
    Of the table and of what is looked up; float32 if absent. int8 is for inference: the table is a
    `QuantizedRows`, and float32 is looked up.

rng : seed or numpy.random.Generator, optional
    Whatever `numpy.random.default_rng` takes; a new table is drawn from the standard normal
    distribution, as PyTorch's.

**others
    Words of PyTorch's for what is so anyway: ``device="cpu"``, ``sparse=True`` as gradients
    are, and ``freeze=True`` as parameters are read-only.

weight : ndarray or QuantizedRows, shape (V, D)
    The table, read-only.
""")

# Of the optimisers.
OPTIMIZER = _by_name("""
parameters : mapping of str to ndarray, layer or mapping, or a layer
    What to step in place: arrays, the parameters of layers, and mappings of them. Names are
    joined by dots, as in ``encoder.weight``. float32, float64, or float16 and bfloat16 (of
    ml_dtypes), which are stepped in float32. A layer's arrays stay where they are, but what
    belongs to somebody else, as with `from_pretrained`, is copied once.

lr : float or callable
    The learning rate, or what returns it for a step, counted from 0. The attribute ``lr`` may
    be set between steps.

betas : tuple of two floats
    How much of the mean of gradients, and of their squares, a step keeps; in [0, 1).

eps : float
    Added to the root; more than 0.

weight_decay : float
    The weight of an L2 penalty, whose gradient is added.

catch_up : bool
    Whether rows without a gradient make up for the steps that they have missed, before their
    next one, or when the method `catch_up` is called: the numbers are then those of dense
    gradients. It takes 8 bytes a row, a few numbers a step until all rows catch up, and as much
    arithmetic as dense steps, though not their traffic with memory. Otherwise they rest, which
    costs nothing: neither moments nor weights of theirs decay.

rng : seed or numpy.random.Generator, optional
    Round halves up or down by chance, so that small steps are not lost, instead of to the
    nearest. The same seed has the same bits at any number of threads.

TypeError
    If a parameter is no ndarray or layer or not of a float dtype, or an option no number.

ValueError
    If an array is read-only or not laid out in rows, a name comes twice, or a number is out of
    its range.
""")
# Of the encoders.
ENCODER = _by_name("""
ids : array_like of any integer dtype, shape (B, T) or (N,) with `offsets`, or B sequences
    Token ids, padded on the right. Without lengths, the padding of an embedding with a
    `padding_idx` says what they are. Ragged with `offsets`, or as a list of sequences, equally long
    or not, or as an Arrow list array, all without padding. Of shape (T,), without any of these, it
    is one sequence. Negative ones count from the end, unless the embedding is strict. Tensors and
    what is exported by DLPack will do.

lengths : array_like of any integer dtype, shape (B,), optional
    Valid ids of each row, in [0, T] and any order. What stands behind them is never read.

state : array_like, shape (num_layers * directions, B, H), optional
    The state before the first step, as of the recurrent layer. Zeros if absent.

offsets : array_like of any integer dtype, shape (B + 1,), optional
    In place of lengths, for ragged ids (N,): row b has those from ``offsets[b]`` to
    ``offsets[b + 1]``.

output : bool
    Whether outputs are wanted beside the final states.

pool : {"mean", "max", "last"}, optional
    One vector for each row in the place of the outputs of its valid steps: their mean, the greatest
    in each unit, or the final state of each direction; 0 where there is none.

states : ndarray, or a tuple of two, shaped as `state`
    After each row's last step.
""") | {name: RECURRENCE[name] for name in ("mask", "padding_fill")}

# Of the recurrent functions for autograd.
AUTOGRAD = {
    "boxed": """\
What embedrnn's function of this name returns. Under differentiation it stands in a box of
autograd, which is unpacked like a tuple.""",
    "TypeError and ValueError": """\
TypeError, ValueError
    As embedrnn's function of this name does; TypeError also if what is differentiated is no
    array.""",
}

# Of the modules for PyTorch.
TORCH_MODULE = {
    "sizes": """\
input_size, hidden_size, num_layers : int
    Features of the input, I, units of each layer and direction, H, and layers.""",
    "options": """\
bias : bool
    Whether there are biases.
batch_first : True
    No other value has a meaning: what comes in and goes out is (B, T, ...).
dropout : 0
    No other value has a meaning: put a `torch.nn.Dropout` between two modules.
bidirectional : bool
    Whether each layer also walks from each row's last valid step to its first.
device, dtype
    Of the parameters, as in PyTorch. Calls run on a CPU, in float32 or float64.""",
    "errors": """\
TypeError, ValueError
    If a size is not an integer or too small, or an option has no meaning here.""",
}
