"""Do synthetic pairs look real, vary as real ones do, and repeat no training pair."""
