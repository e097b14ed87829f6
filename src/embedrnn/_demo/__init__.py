"""What `python -m embedrnn` runs: the main job on real text, in both backends."""
