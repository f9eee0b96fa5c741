"""What an attacker reaches with so many queries, who sees no gradient.

Two attacks that are given scores, at one epsilon, beside random signs drawn
anew for every query; one that is given decisions, and comes as near as it can.
"""
