"""Run records as something to read: one HTML file that needs no network, or Markdown for a pull request."""

from edgeconv.benchmarks.report.html import html_report, write_report
from edgeconv.benchmarks.report.markdown import markdown_report

__all__ = ["html_report", "markdown_report", "write_report"]
