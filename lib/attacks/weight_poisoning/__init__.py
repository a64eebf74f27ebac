"""Attackers who train or edit weights so that a backdoor survives what users do with them: one file per idea.

Edits of single rows stand in `lib.attacks.weights`, the list of all attackers in `lib.attacks.edits`.
"""
