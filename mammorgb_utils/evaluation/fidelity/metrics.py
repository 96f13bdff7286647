"""How near synthetic texture comes to real, and how much of the real variety it holds, beside real against real."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from mammorgb_utils.evaluation.fidelity.texture import FEATURE_SET, feature_columns
from mammorgb_utils.evaluation.statistics import patient_of, sets_in
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.streams import Stream, generator

METRICS = ("kid", "density", "coverage", "spread", "diversity")
N_SUBSETS = 100  # random halves, for the interval and for the null
NEIGHBOURS = 5  # of density and coverage
MIN_SUBSET = 20  # patients in a half: with fewer, nothing is computed
Owned = tuple[np.ndarray, np.ndarray]  # features and, row by row, whose they are
CLIP = 10.0  # real standard deviations: one outlying feature doesn't decide a cubic kernel


def kid(x: np.ndarray, y: np.ndarray) -> float:
    """Kernel distance: unbiased squared maximum mean discrepancy of standardised features under `(x·y/d + 1)³`.

    About 0 for one distribution, and then below 0 as often as above. Bińkowski et al. 2018, there on Inception
    features; figures of other feature sets can't be compared.
    """
    _check(x, y, 2)
    within = [(kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1.0))
              for kernel in (_kernel(x, x), _kernel(y, y))]
    return float(sum(within) - 2.0 * _kernel(x, y).mean())


def density(real: np.ndarray, synthetic: np.ndarray, k: int = NEIGHBOURS) -> float:
    """How many real neighbourhoods, to the k-th nearest real pair, a synthetic pair lies in, over `k`: fidelity.

    About 1 for one distribution, above it where synthetic pairs crowd in typical places. Naeem et al. 2020.
    """
    reach, distance = _neighbourhoods(real, synthetic, k)
    return float((distance <= reach[:, None]).sum(axis=0).mean() / k)


def coverage(real: np.ndarray, synthetic: np.ndarray, k: int = NEIGHBOURS) -> float:
    """Share of real pairs with a synthetic pair in their neighbourhood, as `density` has it: diversity.

    About `1 − 2⁻ᵏ` for two samples of one distribution and size, 1 for a copied set. Naeem et al. 2020.
    """
    reach, distance = _neighbourhoods(real, synthetic, k)
    return float((distance.min(axis=1) <= reach).mean())


def nearest_distance(x: np.ndarray) -> float:
    """Mean distance of a pair to the nearest other pair of its set; near 0 where a model repeats itself."""
    return float(_reach(x, 1).mean())


def effective_number(x: np.ndarray) -> float:
    """Vendi score: the number of clearly different pairs that a set amounts to, from 1, all alike, to N.

    Pairs one real standard deviation apart in every feature have a likeness of exp(−1/2). Friedman and Dieng 2023.
    """
    shares = np.linalg.eigvalsh(np.exp(-0.5 / x.shape[1] * cdist(x, x, "sqeuclidean")) / len(x))
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def fidelity_table(texture: pd.DataFrame, protocol: Protocol, *, n_subsets: int = N_SUBSETS) -> pd.DataFrame:
    """Every metric of every synthetic set, with its interval and what real against real gives.

    Each of the draws takes one pair of each of m patients from both sets, m being half of the smaller one;
    the null compares m real patients with m others. Halves of a sample scatter about as much as the sample itself
    does (delete-half jackknife), and more in the null, which is therefore on the safe side.

    Args:
        texture: metrics/texture.csv: `set`, `pair`, `patient` and the features.
        protocol: Gives `seed`, `alpha` and the encodings.
        n_subsets: Draws for each set, and again for its null.

    Returns:
        One row a set and metric: `value` (mean of the draws), `low`, `high`, `null_low`, `null_median`, `null_high`,
        `against_null` ("within", "above" or "below"; descriptive, unadjusted), `n`, `n_real`, `n_nan` (pairs without
        texture, of both), `n_subset` (m), `feature_set`, `note`. `spread` is `nearest_distance` and `diversity` is
        `effective_number` over the real one's; below the null they show mode collapse.

    Raises:
        ValueError: A feature is missing, or there is no real pair.
    """
    rows, (real, *others) = [], _by_set(texture, protocol).values()
    for number, synthetic in enumerate(others):
        rows += _rows_of(synthetic, real, generator(protocol.seed, Stream.FIDELITY, number), n_subsets, protocol.alpha)
    return pd.DataFrame(rows)


def texture_shift(texture: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """How far each feature of the synthetic sets lies from the real one: what the metrics see.

    Returns:
        One row a feature (`cc_` or `mlo_` first), one column a set: difference of the medians in real standard
        deviations; NaN where a feature is constant or unknown.
    """
    parts = {name: rows[feature_columns()] for name, rows in _by_set(texture, protocol).items()}
    real = parts.pop("real")
    spread = real.std(ddof=0).replace(0.0, np.nan)
    shift = {name: (rows.median() - real.median()) / spread for name, rows in parts.items()}
    return pd.DataFrame(shift).rename_axis("feature").reset_index()


def _by_set(texture: pd.DataFrame, protocol: Protocol) -> dict[str, pd.DataFrame]:
    """Rows of the real set and of each synthetic one, the real first."""
    feature_columns(texture)
    return {name: texture[texture["set"] == name] for name in sets_in(texture, protocol, with_real=True)}


def _rows_of(synthetic: pd.DataFrame, real: pd.DataFrame, rng: np.random.Generator, n_draws: int,
             alpha: float) -> list[dict]:
    y, x = (standardised(part, real) for part in (real, synthetic))
    size = min(np.unique(owner).size for _, owner in (x, y)) // 2
    facts = {"n": len(x[0]), "n_real": len(y[0]), "n_nan": len(synthetic) + len(real) - len(x[0]) - len(y[0]),
             "n_subset": size, "feature_set": FEATURE_SET, "note": ""}
    if size < MIN_SUBSET:
        facts["note"] = f"underpowered: halves of {size} patients"
        values = null = np.full((1, len(METRICS)), np.nan)
    else:
        values, null = synthetic_halves(y, x, size, n_draws, rng), real_halves(y, size, n_draws, rng)
    table = []
    for metric, found, by_chance in zip(METRICS, values.T, null.T, strict=True):
        value, (low, high) = found.mean(), np.quantile(found, (alpha / 2.0, 1.0 - alpha / 2.0))
        bottom, median, top = np.quantile(by_chance, (alpha / 2.0, 0.5, 1.0 - alpha / 2.0))
        side = "" if np.isnan(value) else "above" if value > top else "below" if value < bottom else "within"
        table.append({"set": synthetic["set"].iloc[0], "metric": metric, "value": value, "low": low, "high": high,
                      "null_low": bottom, "null_median": median, "null_high": top, "against_null": side, **facts})
    return table


def synthetic_halves(real: Owned, synthetic: Owned, size: int, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """`(n_draws, METRICS)` between `size` patients of both sets, drawn at random."""
    return np.array([_metrics(*(features[_draw(owner, size, rng)] for features, owner in (real, synthetic)))
                     for _ in range(n_draws)])


def real_halves(real: Owned, size: int, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """The same between real patients and other real ones."""
    drawn = (_draw(real[1], 2 * size, rng) for _ in range(n_draws))
    return np.array([_metrics(real[0][rows[:size]], real[0][rows[size:]]) for rows in drawn])


def _metrics(real: np.ndarray, synthetic: np.ndarray) -> list[float]:
    """The values of `METRICS`, in order."""
    return [kid(real, synthetic), density(real, synthetic), coverage(real, synthetic),
            nearest_distance(synthetic) / nearest_distance(real), effective_number(synthetic) / effective_number(real)]


def _draw(owner: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of `size` patients at random, one each."""
    order = rng.permutation(len(owner))
    _, first = np.unique(owner[order], return_index=True)
    return order[rng.permutation(first)[:size]]


def standardised(frame: pd.DataFrame, real: pd.DataFrame) -> Owned:
    """Features in real standard deviations, constant ones left out, and patients, of the rows that know them all."""
    features, reference = (part[feature_columns()].to_numpy(float) for part in (frame, real))
    spread = np.nanstd(reference, axis=0)
    values = ((features - np.nanmean(reference, axis=0)) / np.where(spread > 1e-12, spread, np.nan))[:, spread > 1e-12]
    known = np.isfinite(values).all(axis=1)
    return np.clip(values[known], -CLIP, CLIP), patient_of(frame)[known]


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def _neighbourhoods(real: np.ndarray, synthetic: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Reach of each real pair, and `(N, M)` distances from real to synthetic pairs."""
    _check(real, synthetic, k + 1)
    return _reach(real, k), cdist(real, synthetic)


def _reach(x: np.ndarray, k: int) -> np.ndarray:
    """Distance of each row to its k-th nearest other row."""
    distance = cdist(x, x)
    np.fill_diagonal(distance, np.inf)
    return np.partition(distance, k - 1, axis=1)[:, k - 1]


def _check(x: np.ndarray, y: np.ndarray, rows: int) -> None:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"features: expected (N, d) and (M, d), got shapes {x.shape} and {y.shape}")
    if min(len(x), len(y)) < rows:
        raise ValueError(f"features: {len(x)} and {len(y)} pairs; at least {rows} of each are needed")
