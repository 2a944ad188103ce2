import pytest
import torch

from creps.networks.discriminator import PatchDiscriminator, logits_along, smallest_input
from creps.networks.residual import ResidualGenerator


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts_of_the_paper():
    assert count(ResidualGenerator()) == 1_468_096
    assert count(PatchDiscriminator()) == 431_456


def test_no_convolution_has_a_bias():
    for network in (ResidualGenerator(), PatchDiscriminator()):
        convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv3d)]
        assert convolutions
        assert all(m.bias is None for m in convolutions)


@pytest.mark.parametrize(("depth", "field"), [(4, 70), (3, 34), (2, 16)])
def test_the_receptive_field_by_gradient(depth, field):
    network = PatchDiscriminator((2,) * depth, norm="none")
    x = torch.rand(1, 1, 24, 24, 120, requires_grad=True)
    logits = network(x)
    middle = logits.shape[-1] // 2
    logits[..., middle].sum().backward()
    seen = torch.nonzero(x.grad.abs().sum(dim=(0, 1, 2, 3))).ravel()
    assert int(seen[-1] - seen[0]) + 1 == field


def test_the_smallest_input_of_the_discriminator():
    smallest = smallest_input()
    assert smallest == 24
    network = PatchDiscriminator((2, 2, 2, 2), norm="none")
    assert network(torch.zeros(1, 1, 24, 24, 24)).shape == (1, 1, 1, 1, 1)
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 1, 23, 24, 24))


@pytest.mark.parametrize("size", [24, 32, 45, 70, 168])
def test_logits_along_an_axis(size):
    network = PatchDiscriminator((1, 1, 1, 1), norm="none")
    assert network(torch.zeros(1, 1, size, 24, 24)).shape[2] == logits_along(size)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("shape", [(8, 8, 8), (7, 9, 10)])
def test_the_generator_keeps_the_shape(norm, shape):
    network = ResidualGenerator(2, 1, norm=norm)
    assert network(torch.rand(2, 1, *shape)).shape == (2, 1, *shape)


def test_the_generator_has_no_norm_and_no_activation_at_its_end():
    network = ResidualGenerator(4, 1)
    assert isinstance(network.head[-1], torch.nn.Conv3d)
    x = torch.rand(1, 1, 8, 8, 8)
    before = network.eval()(x)
    with torch.no_grad():
        network.head[-1].weight *= 7
    torch.testing.assert_close(network(x), 7 * before)  # linear in the last weights: any HU can be reached


def test_options_of_the_discriminator():
    x, mr = torch.rand(2, 1, 32, 32, 32), torch.rand(2, 1, 32, 32, 32)
    conditional = PatchDiscriminator((2, 2, 2, 2), conditional=True, norm="none")
    assert not torch.equal(conditional(x, mr), conditional(x, 0 * mr))


def test_in_eval_mode_a_patch_does_not_depend_on_its_batch_mates():
    network = ResidualGenerator(4, 2)
    network.train()(torch.rand(4, 1, 8, 8, 8))  # running statistics that are not the initial ones
    network.eval()
    patches = torch.rand(3, 1, 8, 8, 8)
    together = network(patches)
    alone = torch.cat([network(patch[None]) for patch in patches])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    network.train()
    assert not torch.allclose(network(patches), torch.cat([network(patch[None]) for patch in patches]), atol=1e-3)


def test_a_torch_without_the_undocumented_names_folds_as_well(monkeypatch):
    from creps.networks.folded import operations

    x, weight = torch.randn(1, 2, 4, 4, 4), torch.randn(3, 2, 3, 3, 3)
    expected = operations.convolved(x, weight, None, (1, 1, 1), padding=1)
    monkeypatch.delattr(torch, "mkldnn_convolution")
    assert not operations._onednn_convolves(torch.float32)
    found = operations.convolved(x, weight, None, (1, 1, 1), padding=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
