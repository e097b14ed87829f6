"""Layers, which hold weights under the names that they have in PyTorch."""

from embedrnn.layers.gru import GRU
from embedrnn.layers.lstm import LSTM
from embedrnn.layers.rnn import RNN

__all__ = ["GRU", "LSTM", "RNN"]
