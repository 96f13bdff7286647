"""From archives and phantoms to normalised pairs of views."""
