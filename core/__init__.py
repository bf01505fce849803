"""Classifiers, attacks on a budget map, training, evaluation and stimuli.

``errors``, ``config``, ``files``, ``manifest``, ``runs`` and ``rng`` do not import torch; the other packages may import
these and no others (checked by import-linter).
"""
