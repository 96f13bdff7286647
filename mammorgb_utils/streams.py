"""Every stream of random numbers by name, so that no two uses of a seed ever share a draw.

A number, once given, is never given again. The cohort and the phantoms have seeds of their own, and streams of their
own in `data.phantom`.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Second part of a generator's key, after the seed."""

    # statistics
    NULL_BAND = 0
    NOISE_FLOOR = 1
    KS_POWER = 2
    KS_NULL_MEAN = 3
    DERANGEMENTS = 4  # of shuffled pairs
    CONSISTENCY_BOOTSTRAP = 5
    MEDIANS = 6
    PROFILES = 11  # of strangers, and of the bootstrap
    ANATOMY_THIRD_CHANNEL = 20
    ANATOMY_AGREEMENT = 21
    ANATOMY_MATCHING = 22
    MASK_AGREEMENT = 30
    FIDELITY = 40
    PLANTED_COPIES = 41
    CONTROLS = 42  # of the instrument: degradations, and patients drawn again and again
    ARTEFACT_LOOK = 51
    # cohort
    REAL_PAIRS = 10  # which real pairs are compared against
    # appendices
    READER_KAPPA_TABLE = 7
    AUDIT_PAIRS = 8
    AUDIT_MEDIANS = 9
    SPLIT_SAMPLE = 31
    CHOICE_MEDIANS = 32
    CHOICE_GAINS = 33
    REFERENCE_IMAGES = 60
    READER_CASES = 70
    READER_SCORE = 71
    READER_SIMULATION = 72
    UTILITY_PATIENTS = 80  # real patients and synthetic pairs that a classifier learns from
    UTILITY_AUGMENTATION = 81
    UTILITY_BOOTSTRAP = 82
    UTILITY_POWER = 83
    # training and sampling
    BATCH_ORDER = 100
    TIMESTEP = 101
    TRAINING_NOISE = 102
    SAMPLED_IMAGE = 103
    INITIAL_WEIGHTS = 104
    CONTROL_CHANNEL = 105
    PROBE_NOISE = 106
    LABEL_DROPOUT = 107
    # what a model knows of pairs that it never saw
    PROBED_PAIRS = 110
    PAIRING_GAIN = 111
    # views drawn beside given ones
    COMPLETED_BREASTS = 120
    UNCONDITIONAL_VIEWS = 121
    COMPLETION_RANKS = 122
    COMPLETION_BOOTSTRAP = 123
    GRADES = 140  # of density: graders' intervals, and those of a model's own loss


def generator(seed: int, stream: Stream, *key: int) -> np.random.Generator:
    """A generator of its own for each seed, stream and further key."""
    return np.random.default_rng([seed, stream, *key])
