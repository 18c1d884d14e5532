"""What each command does, a file a command; `request`, `estimate` and `report` are what several of them share.

May import every room below: checks, running, training, data, networks, records.
"""
