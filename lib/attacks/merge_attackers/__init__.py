"""Attackers who train for a merge, or keep to a bound while they train so that nobody finds them.

What is done to a finished task vector stands in `lib.attacks.for_merging`, the list of all attackers in `lib.attacks.edits`.
"""
