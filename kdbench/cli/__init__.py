"""The command line: commands and their options are declared here, and what they do is imported when they run.

May import `commands` (inside functions) and the ground floor; never torch.
"""
