"""Scores of maps: whether a map says something about the network that it is said to explain.

`table.py` has the scores of each image, `randomization.py` the check that needs other weights, `controls.py` maps that
know nothing of the network, `evidence.py` means and differences with intervals, `verdict.py` what may be recommended.
"""
