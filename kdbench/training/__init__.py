"""One training: the loop, its optimizer, captured steps, checkpoints, what it computed, what a method may not do in it.

May import data, networks, records and what lies below.
"""
