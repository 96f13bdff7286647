"""Pairs whose anatomy is known: one breast drawn from two sides, with muscle, gland and mass."""

import numpy as np
import pandas as pd

from mammorgb_utils.evaluation.anatomy.measure import PROFILES
from mammorgb_utils.evaluation.overlap import PairMasks

RATIO = 1.25  # height over width of the drawn field


def drawn_pairs(depths, *, size=64, gland=(), mass=(), angle=20.0):
    """Half-ellipse breasts with exact masks; `depths` of the nipple lines in widths, MLO beyond a muscle of `angle`°.

    `gland` and `mass` are depths along the nipple line: of a wide bright band, and of a compact spot.
    """
    pairs = np.zeros((len(depths), 2, size, size), np.float32)
    breast, muscle = np.zeros(pairs.shape, bool), np.zeros((len(depths), size, size), bool)
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    for i, depth in enumerate(depths):
        for view in (0, 1):
            slope = np.tan(np.radians(angle)) if view else 0.0
            along = (x + slope * y * RATIO - slope * 0.5) / np.hypot(1, slope)  # from the edge, which ends at 0.5 width
            u, across = along / depth, (y * RATIO - 0.62 + slope * (x - depth)) / 0.45
            body = (u.clip(0) ** 2 + across**2 < 1) & (u > 0)
            muscle[i] = (along <= 0) if view else muscle[i]
            breast[i, view] = body | (muscle[i] if view else False)
            tissue = 0.3 + 0.3 * np.exp(-(((u - (gland[i] if len(gland) else 0.5)) / 0.15) ** 2))
            if len(mass):
                tissue += 0.3 * np.exp(-(((u - mass[i]) * depth) ** 2 + (across * 0.45) ** 2) / (2 * 0.022**2))
            pairs[i, view] = np.where(breast[i, view], tissue, 0.0)
    return pairs, PairMasks(breast, muscle, np.ones((len(depths), 2), bool), np.ones((len(depths), 2)))


def anatomy_rows(name, n, *, shared=1.0, noise=0.3, seed=0, breasts=1):
    """Rows of metrics/anatomy.csv whose views share a latent breast as far as `shared` says."""
    rng = np.random.default_rng(seed)
    row = {"set": name, "pair": [f"{name}-{i}" for i in range(n)],
           "patient": [f"{name}-{i // breasts}" for i in range(n)], "pectoral": True}
    for offset, measure in enumerate(("area", "nipple_line", "centroid", "dense", "mass_depth")):
        latent = rng.normal(size=n)
        for view in ("cc", "mlo"):
            own = shared * latent + np.sqrt(max(1 - shared**2, 0)) * rng.normal(size=n) + noise * rng.normal(size=n)
            row[f"{view}_{measure}"] = 0.4 * np.exp(0.1 * own) + 0.02 * offset * (view == "mlo")
    shape = rng.normal(size=(n, len(PROFILES["cc"])))
    for view in ("cc", "mlo"):
        values = 0.5 + 0.1 * (shared * shape + noise * rng.normal(size=shape.shape))
        row |= dict(zip(PROFILES[view], values.T, strict=True))
    return pd.DataFrame(row)
