"""What became of every image of a manifest: its facts, conflicts and exclusion, and the pairs that are left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mammorgb_utils.protocol import Protocol

FACTS = ("code", "detail", "header_laterality", "header_view", "chest_wall", "chest_wall_by_tags",
         "voi", "voi_choices", "photometric", "bits", "transfer_syntax", "scanner")
_COUNTS = ("voi_choices", "bits")


def record_outcome(images: pd.DataFrame, facts: dict[int, dict[str, Any]], protocol: Protocol) -> pd.DataFrame:
    """Add what pixels and headers said, then exclude rejected images, implants, repeats and breasts with one view.

    Args:
        images: Of `select_images`.
        facts: Row number to the facts of `FACTS` that are known of it.
        protocol: `repeated_views` decides.

    Returns:
        `images` with the columns of `FACTS` and the final `excluded`. `code` and `detail` tell why an image was
        rejected; `detail` lists conflicts too.
    """
    read = pd.DataFrame.from_dict(facts, orient="index", columns=list(FACTS))
    images = images.join(read.astype(dict.fromkeys(_COUNTS, "Int64"))).fillna({"code": "", "detail": ""})
    rejected = (images["excluded"] == "") & (images["code"] != "")
    images.loc[rejected, "excluded"] = images.loc[rejected, "code"].str.replace("_", " ")
    images["detail"] = _sentences(images["detail"], disagreements(images))
    left = images[images["excluded"] == ""]
    repeats = left.index[left.duplicated(["pair", "view"], keep=protocol.repeated_views)]
    images.loc[repeats, "excluded"] = "repeated view"
    left = images[images["excluded"] == ""]
    alone = left.groupby("pair")["view"].transform("nunique") < 2
    images.loc[left.index[alone], "excluded"] = "missing view"
    return images


def disagreements(images: pd.DataFrame) -> pd.Series:
    """Where two sources tell different things of an image: manifest and header, pixels and tags.

    The manifest is used for laterality and view and the pixels for the chest wall; the conflict is only listed.

    Returns:
        One text an image, empty where all known facts agree.
    """
    found = [_differs(images[f"header_{column}"], images[column], f"header says {column} " + "{0}")
             for column in ("laterality", "view")]
    found.append(_differs(images["chest_wall"], images["chest_wall_by_tags"],
                          "chest wall on the {0} by its pixels, on the {1} by its tags"))
    return _sentences(*found)


def _differs(one: pd.Series, other: pd.Series, sentence: str) -> pd.Series:
    """The sentence where both are known and differ."""
    pairs = zip(one.fillna(""), other.fillna(""), strict=True)
    return pd.Series([sentence.format(a, b) if a and b and a != b else "" for a, b in pairs], index=one.index)


def _sentences(*columns: pd.Series) -> pd.Series:
    rows = zip(*columns, strict=True)
    return pd.Series(["; ".join(filter(None, row)) for row in rows], index=columns[0].index, dtype=object)


def pair_rows(images: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """The pairs that are left.

    Args:
        images: Of `record_outcome`.

    Returns:
        One row a pair, sorted by split and name, so that a split is one slice of the file that stays on disk; and
        `(N, 2)` int: the rows of `images` with its CC and its MLO view.
    """
    left = images[images["excluded"] == ""]
    by_view = {view: left[left["view"] == view].reset_index(names="row").set_index("pair") for view in ("CC", "MLO")}
    split = by_view["CC"]["split"]
    pairs = sorted(split.index, key=lambda pair: (split[pair], pair))
    rows = np.stack([by_view[view].loc[pairs, "row"].to_numpy() for view in ("CC", "MLO")], axis=1)
    columns = ["patient", "laterality", "split", "birads", "source"]
    return by_view["CC"].loc[pairs, columns].reset_index(), rows
