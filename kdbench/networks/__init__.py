"""A suite's networks: built with timm, their outputs and which of them belong together, what they compute.

May import models and the ground floor.
"""

import kdbench.lean  # noqa: F401  (before timm)
