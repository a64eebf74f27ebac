"""The static site: executed notebooks, findings and glossary as pages that open without a server (`make report`).

May import: `run_notebooks`, `notebook`, `study`, `plots`, `execution`, `reports`, `exploring`, `paths`, `profiles`.
"""

from lib.site.pages import clean_notebook
from lib.site.sources import write_sources

__all__ = [
    "clean_notebook",
    "write_sources",
]
