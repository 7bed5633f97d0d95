"""Results for people: tables for a terminal, plots, and a page that needs nothing else.

Tables need only the package itself; plots and pages need the ``report`` extra and say so.
"""

from modeldeed.reporting.page import demo_page, require_report_extra, write_demo_report
from modeldeed.reporting.report_tables import report_table
from modeldeed.reporting.tables import demo_table

__all__ = ["demo_page", "demo_table", "report_table", "require_report_extra", "write_demo_report"]
