"""ResNet-34 and ResNet-50: names, sizes and values as torchvision's."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from thinslice.errors import UsageError  # noqa: E402
from thinslice.layers.resnet import LAYOUTS, ResNet, load_torchvision, normalise_imagenet  # noqa: E402


def derive_num_parameters(name: str, in_channels: int, width: int) -> int:
    """Weights of the paper's table 1, convolution by convolution."""

    def conv(inputs: int, outputs: int, side: int) -> int:
        return inputs * outputs * side**2 + 2 * outputs  # and a batch normalisation's scale and shift

    layout = LAYOUTS[name]
    total = conv(in_channels, width, 7)
    inputs = width
    for index, num_blocks in enumerate(layout.num_blocks):
        channels, outputs = width * 2**index, width * 2**index * layout.expansion
        for position in range(num_blocks):
            if layout.is_bottleneck:
                total += conv(inputs, channels, 1) + conv(channels, channels, 3) + conv(channels, outputs, 1)
            else:
                total += conv(inputs, channels, 3) + conv(channels, channels, 3)
            if position == 0 and (inputs != outputs or index):
                total += conv(inputs, outputs, 1)
            inputs = outputs
    return total


@pytest.mark.parametrize(
    ("name", "published"), [("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032)]
)
def test_number_of_parameters_is_torchvisions(name: str, published: int) -> None:
    network = ResNet(name)
    counted = sum(p.numel() for p in network.parameters())
    assert counted == derive_num_parameters(name, 3, 64)
    assert counted + network.num_features * 1000 + 1000 == published  # torchvision's figure has 1000 classes


def test_unrolled_has_as_many_weights() -> None:
    flat, unrolled = ResNet("resnet34", 1), ResNet("resnet34", 1, num_dimensions=1)
    assert sum(p.numel() for p in flat.parameters()) == sum(p.numel() for p in unrolled.parameters())
    assert unrolled(torch.zeros(2, 1, 4096)).shape == (2, 512)


def test_names_and_shapes_are_torchvisions() -> None:
    state = ResNet("resnet50").state_dict()
    assert state["layer2.0.downsample.0.weight"].shape == (512, 256, 1, 1)
    assert state["layer4.2.conv3.weight"].shape == (2048, 512, 1, 1)
    assert state["layer1.0.downsample.1.running_mean"].shape == (256,)
    names = ResNet("resnet34").state_dict()
    assert "layer1.0.downsample.0.weight" not in names
    assert names["layer3.5.bn2.num_batches_tracked"].shape == ()


def test_maps_of_a_picture_are_a_32nd_of_its_side() -> None:
    network = ResNet("resnet10", width=4).eval()
    maps = network.feature_maps(torch.rand(1, 3, 112, 96))
    assert maps.shape == (1, 32, 4, 3)
    torch.testing.assert_close(network(torch.ones(1, 3, 64, 64)).shape, torch.Size([1, 32]))


def test_a_block_adds_its_input() -> None:
    network = ResNet("resnet10", width=4).eval()
    block = network.layer1[0]
    for norm in (block.bn1, block.bn2):
        torch.nn.init.zeros_(norm.weight)
    x = torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(block(x), x.clamp(min=0))


def test_loads_a_state_dict_with_fc(tmp_path: Path) -> None:
    source, other = ResNet("resnet10", width=4), ResNet("resnet10", width=4)
    torch.save({**source.state_dict(), "fc.weight": torch.zeros(2, 32), "fc.bias": torch.zeros(2)}, tmp_path / "w.pth")
    load_torchvision(other, tmp_path / "w.pth")
    torch.testing.assert_close(other.conv1.weight, source.conv1.weight)
    with pytest.raises(UsageError, match="not the weights"):
        load_torchvision(ResNet("resnet18", width=4), tmp_path / "w.pth")
    with pytest.raises(UsageError, match="no such file"):
        load_torchvision(other, tmp_path / "none.pth")


def test_normalises_as_imagenet() -> None:
    picture = torch.tensor([124, 116, 104], dtype=torch.uint8).expand(1, 2, 2, 3)
    out = normalise_imagenet(picture)
    assert out.shape == (1, 3, 2, 2)
    expected = [(124 / 255 - 0.485) / 0.229, (116 / 255 - 0.456) / 0.224, (104 / 255 - 0.406) / 0.225]
    torch.testing.assert_close(out[0, :, 0, 0], torch.tensor(expected))
