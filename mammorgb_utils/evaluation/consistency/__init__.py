"""Do two views belong together: own pairs against strangers."""
