"""The study as one static site: claims, notebooks and documents, with search, and nothing loaded from elsewhere."""

from mammorgb_utils.reporting.site.build import build_site

__all__ = ["build_site"]
