"""Layers, which hold weights under the names that they have in PyTorch."""

from embedrnn.layers.bag import EmbeddingBag
from embedrnn.layers.embedding import Embedding
from embedrnn.layers.gru import GRU
from embedrnn.layers.lstm import LSTM
from embedrnn.layers.rnn import RNN
from embedrnn.layers.tape import RecurrentGrads

__all__ = ["GRU", "LSTM", "RNN", "Embedding", "EmbeddingBag", "RecurrentGrads"]
