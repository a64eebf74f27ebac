"""What is written for readers from the tables in `figures/`: all findings, and the generated parts of the READMEs.

May import: `tables` and everything below it. Nothing is trained or scored: it reads CSV files.
"""

from lib.reports import later_sentences, sentences
from lib.reports.chapters import findings_document
from lib.reports.learning_path import learning_path
from lib.reports.overview import answer_block, findings_block
from lib.reports.reading import read
from lib.reports.writing import replace_block, write_reports

__all__ = [
    "answer_block",
    "findings_block",
    "findings_document",
    "later_sentences",
    "learning_path",
    "read",
    "replace_block",
    "sentences",
    "write_reports",
]
