"""Every rule about arguments, and its message, once for both backends.

A check returns the arrays that a backend takes: aligned, in native byte order, and laid out as the
compiled kernels need them; fresh outputs are allocated here. Good arguments pass without a copy.
"""

from embedrnn._check.arrays import choice, deliver
from embedrnn._check.embedding import gather, index_error, scatter_add
from embedrnn._check.recurrence import recurrence
from embedrnn._numpy.embedding import first_out_of_range

__all__ = [
    "choice",
    "deliver",
    "first_out_of_range",
    "gather",
    "index_error",
    "recurrence",
    "scatter_add",
]
