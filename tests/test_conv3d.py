"""The convolution that every network is made of."""

from __future__ import annotations

import pytest
import torch

from creps.networks.blocks import conv3d


@pytest.mark.parametrize(("depth", "kernel"), [(1, 3), (2, 3), (3, 3), (2, 4), (3, 4), (4, 4)])
def test_bfloat16_gradients_are_right_for_few_slices(depth: int, kernel: int) -> None:
    """Infinite or wrong by their own size on CPUs with AVX-512 bfloat16 units, before."""
    torch.manual_seed(0)
    convolution = conv3d(16, 16, kernel=kernel).to(memory_format=torch.channels_last_3d)
    x = torch.randn(1, 16, depth, 8, 8).to(memory_format=torch.channels_last_3d)
    gradients = []
    for enabled in (True, False):
        convolution.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = convolution(x)
        assert y.dtype == (torch.bfloat16 if enabled else torch.float32)
        y.float().square().sum().backward()
        assert convolution.weight.grad is not None
        gradients.append(convolution.weight.grad.clone())
    mixed, exact = gradients
    assert (mixed - exact).abs().max() < 0.03 * exact.abs().max()


def test_inference_and_float32_are_plain_convolutions() -> None:
    convolution = conv3d(2, 3)
    x = torch.randn(1, 2, 2, 5, 5)
    plain = torch.nn.functional.conv3d(x, convolution.weight, padding=1)
    torch.testing.assert_close(convolution(x), plain)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert convolution(x).dtype == torch.bfloat16
