"""Records, their evidence and what follows from them: metrics, keys, rows, statistics, the gate of the board.

May import the ground floor alone; never torch.
"""
