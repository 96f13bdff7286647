"""IoU and DSC of the two views of a breast."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["figures"], {
    "pairs": ["PairMasks", "dsc", "iou", "masks_by_method", "pair_masks", "pair_metrics", "plausible"],
})
