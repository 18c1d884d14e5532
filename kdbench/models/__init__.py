"""Networks that kdbench adds to timm's registry; importing this package registers them."""

from kdbench.models import digits, resnet

__all__ = ["digits", "resnet"]
