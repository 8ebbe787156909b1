"""`--quality best`: the choices of an export by what wins on images that are held back from calibration."""

from edgeconv.export.search.report import Candidate, SearchReport

__all__ = ["Candidate", "SearchReport"]
