"""What embedrnn does on this machine, against NumPy and whichever peers are installed.

`python -m embedrnn.bench` runs the cells of choice.py. Nothing else of embedrnn imports this, and
it needs the extra `bench`.
"""
