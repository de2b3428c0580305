"""From run folders to cells, tables, verdicts, figures and the report."""
