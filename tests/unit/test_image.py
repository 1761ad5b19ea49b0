"""Resampling, on which every surface and texture rests."""

import numpy as np
import pytest
from image_to_mesh.inference.image import sample


@pytest.mark.parametrize("channels", [0, 1, 2, 3, 4])
def test_samples_are_bilinear_and_the_border_repeats(channels: int) -> None:
    """Against the formula: some releases of OpenCV get one of these wrong."""
    rng = np.random.default_rng(channels)
    shape = (9, 12, channels) if channels else (9, 12)
    image = rng.random(shape, np.float32)
    where = rng.uniform([-3, -3], [15, 12], (20, 30, 2)).astype(np.float32)
    x = np.clip(where[..., 0] - 0.5, 0, 11)
    y = np.clip(where[..., 1] - 0.5, 0, 8)
    column, row = np.minimum(x.astype(int), 10), np.minimum(y.astype(int), 7)
    across, down = x - column, y - row
    if channels:
        across, down = across[..., None], down[..., None]
    top = image[row, column] * (1 - across) + image[row, column + 1] * across
    bottom = image[row + 1, column] * (1 - across) + image[row + 1, column + 1] * across
    expected = top * (1 - down) + bottom * down
    found = sample(image, where).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=0.04)  # OpenCV 4 rounds to 1/32 of a pixel
