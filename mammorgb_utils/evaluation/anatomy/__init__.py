"""What the two views of a breast share, measured against the phantoms' truth."""
