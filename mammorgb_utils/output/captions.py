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
    "mask_agreement": Caption("Mask methods", "Contours of every mask method on example pairs, and how well they "
                              "agree."),
    "anatomy_consistency": Caption("Anatomy in both views", "What pairing adds in every measure of anatomy, and the "
                                   "share of the real gain that synthetic pairs reach."),
    "match_test": Caption("Match test", "How often a CC's own MLO is picked among K, beside chance."),
    "fidelity": Caption("Texture", "Distance to real, coverage and diversity of texture, beside what real against real "
                        "gives."),
    "nearest_training": Caption("Nearest training pairs", "How near synthetic pairs come to the training pairs, beside "
                                "real pairs that were never trained on, and the nearest ones side by side."),
    "open_choices": Caption("Map of open choices", "How far each choice that the paper leaves open moves the main "
                            "results."),
    "artefacts": Caption("Artefacts by set", "Rate of each artefact with its interval, beside the paper's range."),
    "artefact_examples": Caption("Flagged pairs", "Pairs in which a detector saw an artefact, for the eye to judge."),
    "preprocessing_variants": Caption("One pair under every preprocessing", "The same real breast, and the first drawn "
                                      "pair, under each preprocessing."),
    "preprocessing_effects": Caption("What preprocessing does", "Overlap, consistency and artefacts under each "
                                     "preprocessing, one training each."),
    "reader_study": Caption("Reader study", "What readers could tell, how consistent they found the views and which "
                            "artefacts they saw; the figure says where answers are simulated."),
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
    "claims_ledger": Caption("Claims, appendices included", "Each with the verdict of whichever notebook judged it."),
    "paper_arithmetic": Caption("The paper's own figures", "What its numbers imply, with the sampling error that they "
                                "carry."),
    "mask_agreement": Caption("Agreement of mask methods", "How well each two methods agree on the same views."),
    "mask_verdicts": Caption("Claims by mask method", "What becomes of each verdict when another method makes the "
                             "masks."),
    "mask_effects": Caption("Effects by mask method", "The main figures of each set under each mask method."),
    "anatomy": Caption("Anatomy in both views", "Agreement of the views of a pair in each measure, against strangers' "
                       "views, with the share of the real gain."),
    "anatomy_truth": Caption("Anatomy against the truth", "How well each measure finds what was planted in the "
                             "phantoms: only a valid one can judge."),
    "match_test": Caption("Match test", "How often each CC's own MLO is picked among K, by anatomy and by area alone."),
    "fidelity": Caption("Texture", "Distance, density, coverage, spread and diversity with intervals and null bands."),
    "texture_shift": Caption("Shift of each texture feature", "Difference of the medians to real, in real standard "
                             "deviations."),
    "memorisation": Caption("Memorisation", "Pairs nearer to a training pair than held-out ones come; rows of planted "
                            "copies tell what the search would miss."),
    "open_choices": Caption("Open choices", "Main results under each value of each choice that the paper leaves open."),
    "artefact_detectors": Caption("Detectors", "What each detector finds, and flags wrongly, on a cohort that its "
                                  "threshold wasn't taken from."),
    "artefacts": Caption("Artefacts by set", "Rates by set and kind, with Wilson intervals."),
    "artefact_differences": Caption("Artefacts against training pairs", "Rates minus those of the training pairs."),
    "artefact_facts": Caption("What artefacts go with", "Rate of any artefact by what is known of a real pair."),
    "artefact_check": Caption("Pairs checked", "Flagged pairs among those drawn from all sets."),
    "artefacts_claim": Caption("The claim about artefacts", "Judged by the detectors' rates."),
    "preprocessing_references": Caption("References", "Reference CDFs of the preprocessings that were tried."),
    "preprocessing_effects": Caption("What preprocessing does", "Drawn pairs against real ones under each "
                                     "preprocessing."),
    "preprocessing_artefacts": Caption("Artefacts by preprocessing", "Rates in real and drawn pairs under each "
                                       "preprocessing."),
    "reader_study": Caption("Readers", "Accuracy, AUC and agreement, with the sizes that would have been needed; "
                            "simulated answers say so."),
    "reader_study_artefacts": Caption("Artefacts that readers saw", "Rates by set and kind; simulated answers say so."),
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
