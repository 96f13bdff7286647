"""From archives and phantoms to normalised pairs of views.

A newcomer's way from one DICOM file to a pair: dicom, headers, kinds, decode, grey_scale, lut, orientation →
breast_region, geometry → preprocess → manifest, cohort, pairs. Beside it: `archives/` make manifests, `phantom/` makes
mammograms, `batch/` works over many files, `quality` looks at every file, `pair_folder` gives and takes pairs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["archives", "batch", "breast_region", "cohort", "dicom", "geometry", "manifest", "pairs", "phantom",
                "preprocess", "quality"],
    submod_attrs={
        "archives": ["build_manifest"],
        "batch.reference": ["reference_from_manifest"],
        "cohort": ["CohortError", "cohort_flow"],
        "dicom": ["Mammogram", "RejectedImage", "read_mammogram"],
        "manifest": ["ManifestError", "load_manifest", "write_manifest"],
        "pair_folder": ["export_pairs", "load_pair_folder"],
        "pairs": ["example_steps", "load_pairs", "preprocess_cohort", "real_pairs"],
        "phantom": ["make_breast", "render_view", "write_cohort"],
        "preprocess": ["ReferenceCDF", "load_reference_cdf", "preprocess_view"],
        "quality": ["check_images", "find_odd"],
    })
