"""The reader study: a page that shows pairs blinded, a key apart from it, and the score of what readers answered."""

from mammorgb_utils.experiments.readers.build import build_study
from mammorgb_utils.experiments.readers.cases import ReaderStudyError
from mammorgb_utils.experiments.readers.files import Key, read_key, read_results
from mammorgb_utils.experiments.readers.score import artefact_rates, remark, score_readers
from mammorgb_utils.experiments.readers.simulate import readings_at_hand, simulated_result

__all__ = ["Key", "ReaderStudyError", "artefact_rates", "build_study", "read_key", "read_results", "readings_at_hand",
           "remark", "score_readers", "simulated_result"]
