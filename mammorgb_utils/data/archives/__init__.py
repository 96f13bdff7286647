"""From an archive to a manifest: one adapter an archive, each from the archive's own index files and layout."""

from mammorgb_utils.data.archives.base import AdapterError
from mammorgb_utils.data.archives.build import ADAPTERS, Summary, build_manifest

__all__ = ["ADAPTERS", "AdapterError", "Summary", "build_manifest"]
