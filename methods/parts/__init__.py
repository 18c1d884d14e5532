"""What several methods share: base classes, layers, generators, banks of images. No method is registered here."""
