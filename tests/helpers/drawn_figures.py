"""Small tables and pairs, and every figure drawn from them."""

import numpy as np
import pandas as pd
from matplotlib.text import Text
from reader_studies import simulated_tables

from mammorgb_utils.evaluation import consistency, overlap, statistics
from mammorgb_utils.experiments import learning_rate, samplers, third_channel
from mammorgb_utils.experiments.preprocessing import audit
from mammorgb_utils.experiments.readers import score
from mammorgb_utils.output import diagrams, pictures

ENCODINGS = ("sum", "absdiff", "zero")
RNG = np.random.default_rng(7)
PAIRS = RNG.random((5, 2, 16, 16)).astype(np.float32)


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def overlap_table(n=40, empty=0):
    frames = []
    for name in ("real", *ENCODINGS):
        iou = RNG.beta(20, 4, n)
        iou[:empty] = np.nan
        frames.append(pd.DataFrame({"set": name, "iou": iou, "dsc": 2 * iou / (1 + iou), "iou_no_muscle": iou * 0.95,
                                    "dsc_no_muscle": 1.9 * iou / (1 + 0.95 * iou)}))
    return pd.concat(frames, ignore_index=True)


def flow_table():
    rows = [("manifest", "", 0, 30, None), ("eligible", "BI-RADS other than 2", 6, 24, None),
            ("eligible", "implant", 0, 24, None), ("paired", "MLO view missing", 4, 20, 10)]
    flow = pd.DataFrame(rows, columns=["step", "reason", "images_excluded", "images_left", "pairs_left"])
    return flow.astype({"pairs_left": "Int64"})


def distance_rows():
    rows = [(name, measure, statistic, 0.05, 0.01, 0.02, 0.04, 0.0004, np.nan)
            for name in ENCODINGS for measure in ("iou", "dsc") for statistic in ("emd", "ks")]
    return pd.DataFrame(rows, columns=["set", "measure", "statistic", "value", "band_low", "band_median", "band_high",
                                       "p", "floor_median"])


def contrast_rows(notes=("one run each",) * 3):
    return pd.DataFrame({"first": ["sum", "sum", "absdiff"], "second": ["absdiff", "zero", "zero"],
                         "cliffs_delta": [-0.12, 0.2, 0.3], "low": [-0.2, 0.1, 0.2], "high": [0.0, 0.3, 0.4],
                         "p_holm": [0.04, 0.0002, np.nan], "note": notes})


def consistency_rows():
    return pd.DataFrame({"set": ["zero", "real", "sum"], "paired_median": [0.8, 0.84, 0.83],
                         "shuffled_median": [0.79, 0.74, 0.75], "score": [0.1, np.nan, 0.8],
                         "score_low": [-0.1, np.nan, 0.6], "score_high": [0.3, np.nan, 1.0]})


def stats():
    frame = pd.DataFrame({"step": range(1, 31), "loss": RNG.random(30), "grad_norm": RNG.random(30)})
    return {name: frame for name in ENCODINGS}


def audit_tables(n=30):
    """The audit of `n` pairs, two of them without a mask before matching, and its shuffled pairs."""
    cells = pd.MultiIndex.from_product([("none", "image", "foreground"), ("squash", "pad"), ("background", "otsu")],
                                       names=["match_scope", "aspect", "mask_method"]).to_frame(index=False)
    audit = cells.merge(pd.DataFrame({"pair": [f"P{i}" for i in range(n)], "excluded": ""}), how="cross")
    audit = audit.assign(iou=RNG.beta(20, 4, len(audit)), cc_area=RNG.beta(5, 15, len(audit)))
    audit["mlo_area"] = audit["cc_area"] * 1.1
    audit.loc[(audit["match_scope"] == "none") & audit["pair"].isin(["P0", "P1"]), "iou"] = np.nan
    shuffled = cells.merge(pd.DataFrame({"draw": np.repeat(range(3), n)}), how="cross")
    return audit, shuffled.assign(iou=RNG.beta(10, 6, len(shuffled)))


def rate_tables():
    """Three rates, two seeds, forty steps and four milestones; one run diverged before its last one."""
    runs = pd.MultiIndex.from_product([(1e-4, 5e-5, 1e-5), (1, 2)], names=["learning_rate", "seed"])
    runs = runs.to_frame(index=False)
    steps = runs.merge(pd.DataFrame({"step": range(1, 41)}), how="cross")
    steps = steps.assign(loss=0.02 + RNG.random(len(steps)) / steps["step"], grad_norm=RNG.lognormal(size=len(steps)))
    looks = runs.merge(pd.DataFrame({"epoch": [2.0, 4.0, 6.0, 8.0]}), how="cross")
    looks = looks.assign(emd=RNG.random(len(looks)) / 10, iou_median=RNG.uniform(0.8, 0.9, len(looks)), plausible=0.9)
    looks.loc[3, ["emd", "iou_median", "plausible"]] = np.nan
    return steps, looks


def channel_runs():
    runs = pd.MultiIndex.from_product([(*ENCODINGS, "copy", "noise", "other"), (1, 2, 3)], names=["encoding", "seed"])
    runs = runs.to_frame(index=False)
    return runs.assign(emd=RNG.random(len(runs)) / 10, iou_median=RNG.uniform(0.8, 0.9, len(runs)),
                       gain=RNG.uniform(0.05, 0.1, len(runs)))


def profile_rows():
    rows = pd.MultiIndex.from_product([("real", "sum", "zero"), ("own", "shuffled", "like_area"),
                                       ("emd", "jsd", "overlap")], names=["set", "pairing", "measure"])
    rows = rows.to_frame(index=False)
    mean = RNG.uniform(0.01, 0.02, len(rows))
    return rows.assign(mean=mean, mean_low=mean - 0.002, mean_high=mean + 0.002, delta=20.0, delta_low=5.0,
                       delta_high=40.0, as_is=2 * mean)


def sampler_rows():
    rows = pd.MultiIndex.from_product([("ddim", "dpmsolver++"), (8, 15, 25, 50, 100)], names=["sampler", "steps"])
    rows = rows.to_frame(index=False)
    shift = RNG.normal(0, 0.02, len(rows))
    return rows.assign(emd=RNG.random(len(rows)) / 20, band_low=0.005, band_high=0.02, hodges_lehmann=shift,
                       hodges_lehmann_low=shift - 0.02, hodges_lehmann_high=shift + 0.02, margin=0.05,
                       pixel_difference=1 / rows["steps"], kid=4 / rows["steps"], kid_reference=0.1,
                       safe=rows["steps"] > 20)


def draw(name):
    cdf = (np.linspace(0, 1, 11), np.linspace(0, 1, 11))
    rgb = np.stack([*PAIRS[0], PAIRS[0].mean(0)], axis=-1)
    return {
        "preprocessing_steps": lambda: pictures.preprocessing_steps(
            {view: [("Decoded", RNG.random((40, 30))), ("Resized", RNG.random((16, 16)))] for view in ("CC", "MLO")}),
        "reference_cdf": lambda: pictures.reference_cdf(list(PAIRS[:3]), [cdf] * 3, cdf),
        "encodings": lambda: pictures.encodings(PAIRS[0], {name: rgb for name in ENCODINGS}),
        "cohort_flow": lambda: diagrams.cohort_flow(flow_table()),
        "gallery_real": lambda: pictures.gallery(PAIRS, [f"pair {i}" for i in range(5)], title="Real", columns=3),
        "training_curves": lambda: diagrams.training_curves(stats(), max_grad_norm=1.0),
        "matching_audit": lambda: audit.figure(*audit_tables()),
        "overlap_distributions": lambda: overlap.figures.overlap_distributions(overlap_table(), overlap_table()),
        "distances": lambda: statistics.figures.distances(distance_rows(), {"emd": 0.02, "ks": 0.077}),
        "contrasts": lambda: statistics.figures.contrasts(contrast_rows()),
        "consistency": lambda: consistency.figures.consistency(consistency_rows()),
        "profile_distances": lambda: consistency.figures.profile_distances(profile_rows()),
        "learning_rates": lambda: learning_rate.figure(
            *rate_tables(), max_grad_norm=1.0, real={"iou_median": 0.84, "plausible": 0.95}, floor=(0.005, 0.02)),
        "third_channel": lambda: third_channel.figure(
            channel_runs(), real={"iou_median": 0.84, "gain": 0.11}, floor=(0.005, 0.02)),
        "samplers": lambda: samplers.figure(sampler_rows()),
        "reader_study": lambda: score.figure(*simulated_tables()),
    }[name]()


DRAWN = ("preprocessing_steps", "reference_cdf", "encodings", "cohort_flow", "gallery_real", "training_curves",
         "matching_audit", "overlap_distributions", "distances", "contrasts", "consistency", "profile_distances",
         "learning_rates", "third_channel", "samplers", "reader_study")
