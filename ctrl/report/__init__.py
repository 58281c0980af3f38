"""The report of a comparison: one HTML page with sentences, tables and charts."""

from ctrl.report.page import FILE, page, write_report
from ctrl.report.summary import Answer, summary

__all__ = ["FILE", "Answer", "page", "summary", "write_report"]
