"""Write the generated documents from the tables that are there: `python -m lib.reports`."""

from lib.reports.writing import write_reports

if __name__ == "__main__":
    print(*(f"wrote {path}" for path in write_reports()), sep="\n")
