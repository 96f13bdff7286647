"""Work over many files: in processes that may die, resumable after a kill. The method itself stands one folder up."""
