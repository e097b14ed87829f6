"""What makes embedrnn a part of other libraries: each module imports the one it is named for.

Nothing else of embedrnn imports them: ``from embedrnn.adapters import torch`` asks for PyTorch.
"""
