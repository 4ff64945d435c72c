#!/usr/bin/env python3
"""MAGIC with its defaults: expression.npy in, scores.npy out. Runs in an environment of its own."""

import sys

import magic
import numpy as np

expression = np.load(sys.argv[1])
scores = magic.MAGIC(random_state=0, n_jobs=1, verbose=0).fit_transform(expression)
np.save(sys.argv[2], np.asarray(scores))
