"""Models of other people: opened, checked, screened, merged file by file, described and evaluated (`python -m lib.sanitize`).

May import: `attacks`, `models`, `datasets`, `merging`, `metrics`, `profiles`, `folders`, `bars`.
Nothing is imported here: the command starts its hashing process before torch is loaded.
"""
