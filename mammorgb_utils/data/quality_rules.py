"""Which images of a checked manifest a person should look at, and why."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from mammorgb_utils.data.outcome import disagreements
from mammorgb_utils.data.quality import histograms

SHARE = 0.04, 0.85  # of the image that is breast: phantoms have 0.10 to 0.47, real ones 0.30 to 0.79
MOST_OPPOSITE = 0.0  # of the edge opposite the chest wall: no phantom and no real breast touches it
MOST_SATURATED = 0.05  # of the breast
LEAST_LEVELS = 64  # real ones of 8 bits have 238 and more
AREA_RATIO = 0.5, 2.0  # MLO over CC
LEAST_IMAGES = 20  # of a scanner, for a median histogram of its own
MOST_MADS = 5.0  # median absolute deviations beyond the median distance

Rule = Callable[[pd.DataFrame], pd.Series]


def find_odd(images: pd.DataFrame) -> pd.DataFrame:
    """Every reason to look at an image.

    Args:
        images: Of `check_images`.

    Returns:
        One row a reason and image, the most odd of a reason first: `reason`, a heading; `image`, the index in
        `images`; `sentence`, what was found, without any identifier.
    """
    read = images[images["code"] == ""]
    gone = images[images["code"] != ""]
    parts = [_listed(f"Rejected: {code.replace('_', ' ')}", rows["reason"]) for code, rows in gone.groupby("code")]
    parts += [_listed(reason, rule(read)) for reason, rule in RULES.items()] if len(read) else []
    return pd.concat([_listed("", pd.Series(dtype=object)), *parts], ignore_index=True)


def with_reasons(images: pd.DataFrame, odd: pd.DataFrame) -> pd.DataFrame:
    """`images` with the column `odd`: all sentences of an image, empty where it is as usual."""
    texts = odd.groupby("image")["sentence"].agg("; ".join) if len(odd) else pd.Series(dtype=object)
    return images.assign(odd=texts.reindex(images.index).fillna(""))


def scanner_distances(images: pd.DataFrame) -> pd.Series:
    """How far each breast's histogram is from the median histogram of its scanner.

    Returns:
        Earth mover's distance in displayed grey, 0 to 1; NaN where fewer than 20 images are of the scanner.

    Source:
        In one dimension the distance is the area between the cumulative distributions.
    """
    curves = np.cumsum(histograms(images, "breast_histogram"), axis=1)
    distances = pd.Series(np.nan, images.index)
    for places in images.groupby("scanner").indices.values():
        if len(places) >= LEAST_IMAGES:
            median = np.median(curves[places], axis=0)
            distances.iloc[places] = np.abs(curves[places] - median).mean(axis=1)
    return distances


def _listed(reason: str, sentences: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({"reason": reason, "image": sentences.index, "sentence": sentences.to_numpy(object)})


def _beyond(measure: pd.Series, sentence: str, low: float = -np.inf, high: float = np.inf) -> pd.Series:
    """The sentence where a measure is out of its range, the farthest first."""
    found = measure[(measure < low) | (measure > high)].astype(float)
    excess = np.maximum(low - found, found - high).sort_values(ascending=False, kind="stable")
    return found.loc[excess.index].map(sentence.format).astype(object)


def _conflicts(images: pd.DataFrame) -> pd.Series:
    return images.loc[images["conflicts"] != "", "conflicts"]


def _chest_wall(images: pd.DataFrame) -> pd.Series:
    found = disagreements(images.assign(header_laterality="", header_view=""))
    return found[found != ""]


def _header(images: pd.DataFrame) -> pd.Series:
    found = disagreements(images.assign(chest_wall=""))
    return found[found != ""]


def _share(images: pd.DataFrame) -> pd.Series:
    return _beyond(images["region_share"], "the breast region covers {:.1%} of the image", *SHARE)


def _opposite(images: pd.DataFrame) -> pd.Series:
    return _beyond(images["opposite_share"], "the breast region takes {:.1%} of the edge opposite its chest wall",
                   high=MOST_OPPOSITE)


def _saturated(images: pd.DataFrame) -> pd.Series:
    return _beyond(images["saturated_share"], "{:.1%} of the breast is white", high=MOST_SATURATED)


def _levels(images: pd.DataFrame) -> pd.Series:
    return _beyond(images["grey_levels"].dropna(), "{:.0f} different grey levels", low=LEAST_LEVELS)


def _areas(images: pd.DataFrame) -> pd.Series:
    """Areas in cm² where the header tells a spacing, else in pixels."""
    pixels = images["region_share"] * images["rows"].astype(float) * images["columns"].astype(float)
    known = images["breast_cm2"].notna().groupby(images["pair"]).transform("all")
    area = images["breast_cm2"].where(known, pixels)
    by_view = area.groupby([images["pair"], images["view"]]).median().unstack().reindex(columns=["CC", "MLO"])
    ratio = images["pair"].map(by_view["MLO"] / by_view["CC"])
    far = _beyond(np.log2(ratio), "", *np.log2(AREA_RATIO)).index
    return ratio.loc[far].map("the region of its MLO view is {:.2f} times that of its CC view".format).astype(object)


def _unlike_scanner(images: pd.DataFrame) -> pd.Series:
    distance = scanner_distances(images)
    median = distance.groupby(images["scanner"]).transform("median")
    spread = (distance - median).abs().groupby(images["scanner"]).transform("median")
    excess = ((distance - median) / spread.where(spread > 0)).where(spread > 0, 0.0)
    return _beyond(excess, "its greys are {:.1f} median deviations farther than usual from those of its scanner",
                   high=MOST_MADS)


RULES: dict[str, Rule] = {
    "Tags contradict each other": _conflicts,
    "Chest wall not where the tags put it": _chest_wall,
    "Side or view not as in the manifest": _header,
    f"Breast region out of {SHARE[0]:.0%} to {SHARE[1]:.0%} of the image": _share,
    "Breast region reaches the edge opposite its chest wall": _opposite,
    f"More than {MOST_SATURATED:.0%} of the breast is white": _saturated,
    f"Fewer than {LEAST_LEVELS} grey levels": _levels,
    "The two views of a breast differ too much in area": _areas,
    "Greys unlike those of its scanner": _unlike_scanner,
}
