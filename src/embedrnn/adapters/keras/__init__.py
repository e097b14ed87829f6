"""Keras 3, on its NumPy and PyTorch backends: SimpleRNN, GRU and LSTM run here.

`install` does so for the layers of every model, built or to be built, alone, in a Bidirectional and
in a stack; `uninstall` undoes it. Outputs and states are those of Keras up to rounding, masked
steps included, whether they stand at the end, at the front or between.

Keras has a hook of its own for an LSTM and a GRU of the backend, but does not tell it what a layer
puts out at masked steps (a Bidirectional wants zeros there). So it is `inner_loop` of the three
layers that is set here, from which that hook is called. Keras has no hook for an Embedding: its
look-up is one call of NumPy or PyTorch.

What is not done here is done by Keras as before, without a word:

- other activations than tanh, or relu of a SimpleRNN, and sigmoid; a cell of another class;
- `recurrent_dropout` in training; `dropout` in training with ``implementation=1`` (with the
  default it is done here); ``unroll=True`` with a mask; ``use_cudnn=False``;
- other dtypes than float32 and float64, or several in one call: mixed precision;
- with PyTorch, tensors that are not on a CPU, and whatever is traced, compiled or transformed by
  `torch.func`.

With PyTorch gradients go through the `vjp` of the layer here. They have no derivatives of their
own: PyTorch raises RuntimeError where a second one is asked for.

Of float64 layers Keras rounds products to float32, but for a GRU or an LSTM without a mask on
PyTorch; here nothing is rounded.

Weights are packed once. Every call compares them with a copy of what was packed, byte for byte, so
that weights that are assigned, trained or written to in place are seen; that takes 20 us a
megabyte.
"""

from embedrnn.adapters.keras.installed import install, uninstall

__all__ = ["install", "uninstall"]
