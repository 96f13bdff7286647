"""Who is in the study: which images are excluded and why, which are copies, which facts contradict each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from mammorgb_utils.data.geometry import area_resize
from mammorgb_utils.data.manifest import OPTIONAL
from mammorgb_utils.protocol import Protocol

FACTS = ("code", "detail", "header_laterality", "header_view", "chest_wall", "chest_wall_by_tags",
         "voi", "voi_choices", "photometric", "bits", "transfer_syntax", "scanner")
_COUNTS = ("voi_choices", "bits")
_COPY = "picture of another patient, too"
_STEPS = {"manifest": ("",), "selection": ("BI-RADS unknown", "other BI-RADS grade", "implant"),
          "reading": ("unreadable",), "pairing": (_COPY, "repeated view", "missing view")}  # reasons in their order
_SIDE, _COARSE = 16, 4  # blocks a side of a print, and of what is searched
_NEAR = 2  # of 255: what lossy coding, fewer bits or a lower resolution move a block by; two breasts differ by tens


class CohortError(ValueError):
    """No study can be made of a manifest; the message says what to change."""


def select_images(manifest: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """`manifest` with the text column `excluded`: empty, or why the protocol excludes the image by these rows alone."""
    graded = manifest["birads"].notna()
    excluded = pd.Series("", index=manifest.index)
    excluded[graded & ~manifest["birads"].isin(protocol.accepted_birads)] = "other BI-RADS grade"
    if protocol.unknown_birads == "exclude":
        excluded[~graded] = "BI-RADS unknown"
    excluded[(excluded == "") & manifest["implant"].fillna(False)] = "implant"
    return manifest.assign(excluded=excluded)


def record_outcome(images: pd.DataFrame, facts: dict[int, dict[str, Any]], protocol: Protocol) -> pd.DataFrame:
    """Add what pixels and headers said, then exclude rejected images, copies, repeats and breasts with one view.

    Args:
        images: Of `select_images`.
        facts: Row number to the facts of `FACTS` that are known of it, and its `print`.
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
    prints = pd.Series({row: facts.get(row, {}).get("print", "") for row in left.index}, left.index, object)
    images.loc[_copies(left, prints), "excluded"] = _COPY
    left = images[images["excluded"] == ""]
    repeats = left.index[left.duplicated(["pair", "view"], keep=protocol.repeated_views)]
    images.loc[repeats, "excluded"] = "repeated view"
    left = images[images["excluded"] == ""]
    alone = left.groupby("pair")["view"].transform("nunique") < 2
    images.loc[left.index[alone], "excluded"] = "missing view"
    return images


def _copies(images: pd.DataFrame, prints: pd.Series) -> pd.Index:
    """Images that another patient has, too, and all images of their patients where these are in the other split.

    Two names of one woman, or of one picture, never stand on both sides of the split.
    """
    found = of_other_patients(images, prints)
    first, own = images.loc[found["first"], "split"].to_numpy(), images.loc[found.index]
    across = own.loc[own["split"].to_numpy() != first, "patient"]
    return found.index.union(images.index[images["patient"].isin(across)])


def disagreements(images: pd.DataFrame) -> pd.Series:
    """Where two sources tell different things, manifest and header, pixels and tags: a text an image, empty elsewhere.

    The manifest is used for laterality and view and the pixels for the chest wall; the conflict is only listed.
    """
    return _sentences(header_conflicts(images), chest_wall_conflicts(images))


def header_conflicts(images: pd.DataFrame) -> pd.Series:
    """Where a header's side or view isn't the manifest's: one text an image, empty where they agree."""
    return _sentences(*(_differs(images[f"header_{column}"], images[column], f"header says {column} " + "{0}")
                        for column in ("laterality", "view")))


def chest_wall_conflicts(images: pd.DataFrame) -> pd.Series:
    """Where the chest wall isn't on the side that the tags expect: one text an image, empty where it is."""
    return _differs(images["chest_wall"], images["chest_wall_by_tags"],
                    "chest wall on the {0} by its pixels, on the {1} by its tags")


def _differs(one: pd.Series, other: pd.Series, sentence: str) -> pd.Series:
    """The sentence where both are known and differ."""
    pairs = zip(one.fillna(""), other.fillna(""), strict=True)
    return pd.Series([sentence.format(a, b) if a and b and a != b else "" for a, b in pairs], one.index, object)


def _sentences(*columns: pd.Series) -> pd.Series:
    rows = zip(*columns, strict=True)
    return pd.Series(["; ".join(filter(None, row)) for row in rows], index=columns[0].index, dtype=object)


def pair_rows(images: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """The pairs that are left of `record_outcome`'s images.

    Returns:
        One row a pair, sorted by split and name, so that a split is one slice of the file that stays on disk; and
        `(N, 2)` int: the rows of `images` with its CC and its MLO view.
    """
    left = images[images["excluded"] == ""]
    by_view = {view: left[left["view"] == view].reset_index(names="row").set_index("pair") for view in ("CC", "MLO")}
    split = by_view["CC"]["split"]
    pairs = sorted(split.index, key=lambda pair: (split[pair], pair))
    rows = np.stack([by_view[view].loc[pairs, "row"].to_numpy() for view in ("CC", "MLO")], axis=1)
    columns = ["patient", "laterality", "split", "birads", "source", *(name for name in OPTIONAL if name in left)]
    return by_view["CC"].loc[pairs, columns].reset_index(), rows


def require_pairs(index: pd.DataFrame, images: pd.DataFrame) -> None:
    """Check that both splits have pairs; a CohortError counts why images of `record_outcome` were excluded."""
    for split in ("train", "heldout"):
        if not (index["split"] == split).any():
            reasons = images["excluded"].value_counts().drop("", errors="ignore")
            counts = ", ".join(f"{reason}: {count}" for reason, count in reasons.items()) or "none"
            raise CohortError(f"no usable pair is left in split {split!r}. Images excluded: {counts}. Change the "
                              "manifest's split column, or accepted_birads and unknown_birads in the profile")


def cohort_flow(images: pd.DataFrame) -> pd.DataFrame:
    """How many images of `pairs/images.csv` each reason excluded, in the order in which the reasons apply.

    Returns:
        Columns `step`, `reason`, `images_excluded`, `images_left`, `pairs_left`: breasts with both views left.
    """
    left, rows = images.assign(excluded=images["excluded"].fillna("")), []
    others = set(left["excluded"]).difference(*_STEPS.values())
    for step, reasons in (_STEPS | {"reading": ("unreadable", *sorted(others))}).items():
        for reason in reasons:
            gone = (left["excluded"] == reason) & (reason != "")  # the manifest's own row counts all images
            left = left[~gone]
            if gone.any() or not reason:
                complete = left.groupby("pair")["view"].nunique() == 2
                rows.append((step, reason, int(gone.sum()), len(left), int(complete.sum())))
    return pd.DataFrame(rows, columns=["step", "reason", "images_excluded", "images_left", "pairs_left"])


def fingerprint(view: np.ndarray) -> str:
    """Block means of a normalised view in [0, 1], chest wall on the left, as 512 hex digits."""
    blocks = area_resize(view, (_SIDE, _SIDE)) * 255
    return np.rint(np.clip(blocks, 0, 255)).astype(np.uint8).tobytes().hex()


def same_pictures(prints: pd.Series) -> pd.Series:
    """A number an image, the same for images that show the same, of their prints; empty ones are left out."""
    prints = prints[prints != ""]
    if prints.empty:
        return pd.Series(dtype=int)
    known, place = np.unique(prints.to_numpy(str), return_inverse=True)
    values = np.frombuffer(bytes.fromhex("".join(known)), np.uint8).reshape(len(known), -1).astype(np.int16)
    step = _SIDE // _COARSE
    coarse = values.reshape(-1, _COARSE, step, _COARSE, step).mean(axis=(2, 4)).reshape(len(known), -1)
    near = KDTree(coarse).query_pairs(_NEAR, p=np.inf, output_type="ndarray")
    near = near[np.abs(values[near[:, 0]] - values[near[:, 1]]).max(axis=1, initial=0) <= _NEAR]
    links = coo_array((np.ones(len(near)), (near[:, 0], near[:, 1])), shape=(len(known), len(known)))
    return pd.Series(connected_components(links, directed=False)[1][place], prints.index)


def of_other_patients(images: pd.DataFrame, prints: pd.Series) -> pd.DataFrame:
    """Images that show what an earlier image of another patient shows, by their prints.

    Returns:
        One row such an image, indexed as `images`: `first`, the index of the earliest image of its picture.
    """
    group = same_pictures(prints)
    first = pd.Series(group.index, group.index).groupby(group).transform("min")
    patient = images["patient"]
    other = patient[first.to_numpy()].to_numpy() != patient[first.index].to_numpy()
    return pd.DataFrame({"first": first[other]})
