"""Networks that kdbench adds to timm's registry; importing this package registers them."""

import kdbench.lean  # noqa: F401  (before timm)
from kdbench.models import alexnet, convnet, densenet, digits, mobilenet, resnet, shufflenet, vgg, wideresnet

__all__ = ["alexnet", "convnet", "densenet", "digits", "mobilenet", "resnet", "shufflenet", "vgg", "wideresnet"]
