"""IoU and DSC of the two views of a breast."""
