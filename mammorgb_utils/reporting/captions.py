"""A title and a sentence for every figure and table that a study may hold, as its report shows them."""

from __future__ import annotations

from typing import NamedTuple


class Caption(NamedTuple):
    """What a figure or table is called, and what it shows."""

    title: str
    sentence: str


FIGURE_CAPTIONS = {
    "cohort_flow": Caption("Cohort flow", "Images and pairs left after each step, and why the others were left out."),
    "preprocessing_steps": Caption("Preprocessing, step by step", "One pair from the stored pixels to what the model "
                                   "sees."),
    "reference_cdf": Caption("Histogram matching", "Grey levels of sample images before and after matching; the bold "
                             "line is the reference."),
    "encodings": Caption("Encodings", "One pair, and the image that each encoding makes of it above its blue channel."),
    "gallery_real": Caption("Real pairs", "Pairs of the real set after preprocessing, CC on the left."),
    "matching_audit": Caption("What matching and framing do to the masks", "Overlap and areas of the same real breasts "
                              "under each way of matching and framing; grey halves are shuffled pairs."),
    "gallery_sum": Caption("Synthetic pairs, sum", "The first pairs drawn with the sum in the blue channel, not "
                           "chosen."),
    "gallery_absdiff": Caption("Synthetic pairs, absolute difference", "The first pairs drawn with the absolute "
                               "difference in the blue channel, not chosen."),
    "gallery_zero": Caption("Synthetic pairs, zero", "The first pairs drawn with an empty blue channel, not chosen."),
    "overlap_distributions": Caption("Overlap of the two views", "IoU and Dice of the CC and MLO breast mask by set; "
                                     "grey halves are shuffled pairs, so what two different breasts give."),
    "training_curves": Caption("Training", "Loss and gradient norm over the steps; heights of the loss can't be "
                               "compared between encodings."),
    "distances": Caption("Distances to real", "EMD and KS of each encoding beside the band that chance alone gives; "
                         "open markers are the paper's figures."),
    "contrasts": Caption("Encodings against each other", "Cliff's delta of overlap with its interval; above 0 the "
                         "first set tends to larger values, which isn't better as such."),
    "consistency": Caption("Does pairing matter?", "Overlap of pairs beside that of shuffled pairs, and the gain as a "
                           "share of the real gain."),
    "learning_rates": Caption("Learning rates", "Loss, gradients and quality on the way at each rate; thin lines are "
                              "trainings, thick ones their mean."),
    "third_channel": Caption("Third channels and controls", "A dot is a training, its shape the seed, a bar the mean: "
                             "what differs less than the trainings of one channel do shows nothing."),
    "samplers": Caption("Samplers", "Fast samplers against DDPM with every step; filled markers are safe."),
}
TABLE_CAPTIONS = {
    "cohort_flow": Caption("Cohort flow", "Images excluded, by step and reason."),
    "matching_audit": Caption("Matching and framing", "Masks of the same real breasts under each matching, framing and "
                              "mask method; areas in percent."),
    "overlap_summary": Caption("Overlap by set", "Medians and quartiles, pairs without a mask, and the share of pairs "
                               "with plausible masks."),
    "distances": Caption("Distances to real", "Value, null band, p-values, and what real against real gives."),
    "effects": Caption("Size of the difference", "Shift against real with its interval, beside the margin that was "
                       "fixed beforehand."),
    "contrasts": Caption("Contrasts between encodings", "Difference in overlap, and which set lies nearer to real; one "
                         "training each, so encoding and seed can't be told apart."),
    "consistency": Caption("Paired against shuffled", "What pairing adds to overlap, and its share of the real gain."),
    "claims": Caption("Claims", "The paper's claims, the criterion of each and the verdict."),
    "paper_arithmetic": Caption("The paper's own figures", "What its numbers imply, with the sampling error that they "
                                "carry."),
    "learning_rates": Caption("Learning rates", "Stability of each training, and the quality of what it drew at its "
                              "end."),
    "learning_rates_claim": Caption("The claim about learning rates", "Judged over trainings that share all draws."),
    "third_channel": Caption("Trainings by third channel", "Overlap of what each training drew, and its distance to "
                             "real."),
    "third_channel_contrasts": Caption("Contrasts over trainings", "Differences within a seed; the exact p-value can't "
                                       "fall below its floor."),
    "third_channel_claim": Caption("The claim about encodings", "Judged over several trainings of each."),
    "samplers": Caption("Samplers", "Each sampler and number of steps against the reference."),
}
