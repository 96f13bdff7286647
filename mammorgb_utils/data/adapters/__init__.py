"""From an archive to a manifest: one adapter an archive, each from the archive's own index files and layout."""

from mammorgb_utils.data.adapters.base import AdapterError
from mammorgb_utils.data.adapters.build import ADAPTERS, Summary, build_manifest

__all__ = ["ADAPTERS", "AdapterError", "Summary", "build_manifest"]
