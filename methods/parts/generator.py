"""A generator of images for the methods that see no training image."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ImageGenerator(nn.Module):
    """From latents (B, L) to normalised images (B, C, H, W), through two upsamplings and three convolutions.

    The batch norm at the end has no parameters, unless `affine`, so that over a batch each channel has mean 0 and
    variance 1, as the normalised training images have. The layers are those of DAFL, DFAD and ZSKT, where the width is
    64.

    Args:
        latent: L.
        image_shape: (C, H, W).
        width: channels before the last convolution, and half of those before.
        tanh: whether pixels pass through it before the last batch norm.
        eps: of the batch norms between the first and the last.
        affine: whether the last batch norm has a weight and a bias.
    """

    def __init__(
        self,
        latent: int,
        image_shape: tuple[int, int, int],
        width: int = 64,
        tanh: bool = False,
        eps: float = 1e-5,
        affine: bool = False,
    ) -> None:
        super().__init__()
        channels, rows, columns = image_shape
        quarter, half = ((max(1, rows // n), max(1, columns // n)) for n in (4, 2))
        self.latent, self.first_map = latent, (2 * width, *quarter)
        self.project = nn.Linear(latent, 2 * width * quarter[0] * quarter[1])
        self.layers = nn.Sequential(
            nn.BatchNorm2d(2 * width),
            nn.Upsample(size=half),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width, eps),
            nn.LeakyReLU(0.2),
            nn.Upsample(size=(rows, columns)),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.BatchNorm2d(width, eps),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, channels, 3, padding=1),
            nn.Tanh() if tanh else nn.Identity(),
            nn.BatchNorm2d(channels, affine=affine),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Images (B, C, H, W) of latents (B, L)."""
        return self.layers(self.project(latents).unflatten(1, self.first_map))

    def draw(self, size: int, random: torch.Generator) -> Tensor:
        """(B, L) normal latents."""
        return torch.randn(size, self.latent, generator=random, device=random.device).to(self.project.weight)

    @torch.no_grad()
    def evaluated(self, latents: Tensor) -> Tensor:
        """Images of latents in evaluation mode, where one does not depend on the others."""
        training = self.training
        images = self.eval()(latents)
        self.train(training)
        return images
