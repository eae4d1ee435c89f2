"""A Deep Impression network as the authors' program would have written it, and its scores computed another way.

Nothing here comes from `thinslice.systems`: names and layers are written down again from the authors' definition.
"""

import numpy as np

WIDTHS = {"2": (32, 32), "3": (32, 64), "4": (64, 128), "5": (128, 256)}


def chainer_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Return random weights under Chainer's names, so that scores differ and every number matters."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}

    def convolution(name: str, shape: tuple[int, ...]) -> None:
        arrays[f"{name}/W"] = rng.normal(0, np.sqrt(1 / np.prod(shape[1:])), shape).astype(np.float32)
        arrays[f"{name}/b"] = rng.normal(0, 0.1, shape[0]).astype(np.float32)

    def norm(name: str, channels: int) -> None:
        arrays[f"{name}/gamma"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)
        arrays[f"{name}/beta"] = rng.normal(0, 0.2, channels).astype(np.float32)
        arrays[f"{name}/avg_mean"] = rng.normal(0, 0.2, channels).astype(np.float32)
        arrays[f"{name}/avg_var"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)
        arrays[f"{name}/N"] = np.array(0)

    for stream, channels, first, kernel in (("aud", 1, (1, 49), (1, 9)), ("vis", 3, (7, 7), (3, 3))):
        convolution(f"{stream}/conv1_relu/conv", (32, channels, *first))
        norm(f"{stream}/conv1_relu/bn_conv", 32)
        for stage, (before, after) in WIDTHS.items():
            for block in "ab":
                at = f"{stream}/res{stage}{block}_relu"
                into = before if block == "a" else after
                convolution(f"{at}/res_branch2a", (after, into, *kernel))
                norm(f"{at}/bn_branch2a", after)
                convolution(f"{at}/res_branch2b", (after, after, *kernel))
                norm(f"{at}/bn_branch2b", after)
                if into != after:
                    convolution(f"{at}/res_branch1", (after, into, 1, 1))
                    norm(f"{at}/bn_branch1", after)
    arrays["vis/conv1_relu/conv/W"] /= 100  # Pictures are 0 to 255.
    arrays["fc/W"] = rng.normal(0, 0.03, (5, 512)).astype(np.float32)
    arrays["fc/b"] = rng.normal(0, 0.3, 5).astype(np.float32)
    return arrays


def run_chainer(arrays: dict[str, np.ndarray], sound: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return the five scores in the authors' order, in float64 NumPy: two-dimensional throughout, as in Chainer.

    Args:
        arrays: see `chainer_arrays`.
        sound: (samples,).
        frames: (frames, height, width, 3).
    """
    weights = {name: array.astype(np.float64) for name, array in arrays.items()}
    heard = _stream(weights, "aud", sound.astype(np.float64)[None, None, None], (1, 4), (0, 24), (1, 9), (1, 4), (0, 4))
    pictures = frames.astype(np.float64).transpose(0, 3, 1, 2)
    seen = np.stack(
        [_stream(weights, "vis", picture[None], (2, 2), (3, 3), (3, 3), (2, 2), (1, 1)) for picture in pictures]
    )
    features = np.concatenate([heard, seen.mean(0)])
    return (np.tanh(weights["fc/W"] @ features + weights["fc/b"]) + 1) / 2


def _stream(weights, stream, x, stride, pad, pool, pool_stride, block_pad):  # type: ignore[no-untyped-def]
    def convolve(x, name, stride, pad):  # type: ignore[no-untyped-def]
        kernel = weights[f"{name}/W"]
        x = np.pad(x[0], ((0, 0), (pad[0],) * 2, (pad[1],) * 2))
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], (1, 2))[:, :: stride[0], :: stride[1]]
        return np.einsum("chwij,ocij->ohw", windows, kernel, optimize=True)[None] + weights[f"{name}/b"][:, None, None]

    def norm(x, name):  # type: ignore[no-untyped-def]
        mean, var, gamma, beta = (
            weights[f"{name}/{k}"][:, None, None] for k in ("avg_mean", "avg_var", "gamma", "beta")
        )
        return (x - mean) / np.sqrt(var + 2e-5) * gamma + beta

    def relu(x):  # type: ignore[no-untyped-def]
        return np.maximum(x, 0)

    x = relu(norm(convolve(x, f"{stream}/conv1_relu/conv", stride, pad), f"{stream}/conv1_relu/bn_conv"))[0]
    # Chainer's max pooling covers all: windows go on until the last value is in one.
    sizes = [-(-(n + 2 * p - k) // s) + 1 for n, p, k, s in zip(x.shape[1:], block_pad, pool, pool_stride, strict=True)]
    need = [(n - 1) * s + k for n, s, k in zip(sizes, pool_stride, pool, strict=True)]
    after = [max(m - n - p, 0) for m, n, p in zip(need, x.shape[1:], block_pad, strict=True)]
    x = np.pad(x, ((0, 0), *zip(block_pad, after, strict=True)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, pool, (1, 2))
    x = windows[:, :: pool_stride[0], :: pool_stride[1]].max((3, 4))[None]
    for stage, (before, width) in WIDTHS.items():
        for block in "ab":
            at = f"{stream}/res{stage}{block}_relu"
            by = pool_stride if block == "a" and before != width else (1, 1)
            y = relu(norm(convolve(x, f"{at}/res_branch2a", by, block_pad), f"{at}/bn_branch2a"))
            y = norm(convolve(y, f"{at}/res_branch2b", (1, 1), block_pad), f"{at}/bn_branch2b")
            if by != (1, 1):
                x = norm(convolve(x, f"{at}/res_branch1", by, (0, 0)), f"{at}/bn_branch1")
            x = relu(x + y)
    return x[0].mean((1, 2))
