"""PyTorch: its models run here, and its sparse gradients come and go.

Two lines let the recurrent layers and the embedding bags of a model run in embedrnn, on a CPU:

>>> import torch
>>> model = torch.nn.Sequential(torch.nn.LSTM(5, 7))
>>> from embedrnn.adapters.torch import accelerate
>>> accelerate(model)
in embedrnn, until restore(module): 0
"""

from embedrnn.adapters.torch.accelerate import Report, accelerate, restore
from embedrnn.adapters.torch.modules import GRU, LSTM, RNN
from embedrnn.adapters.torch.sparse import from_torch, to_torch

__all__ = ["GRU", "LSTM", "RNN", "Report", "accelerate", "from_torch", "restore", "to_torch"]
