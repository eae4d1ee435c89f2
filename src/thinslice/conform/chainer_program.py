"""Runs the authors' Chainer network of deep_impression on the CPU. A Python that has Chainer 1 calls it, 2.7 to 3.9.

Called as: python chainer_program.py CHECKOUT MODEL INPUTS SCORES. MODEL is what their program loads, INPUTS an archive
with "sound" (1, 1, 1, samples) and "frames" (n, 3, height, width), both float32. "scores" (5,) go to SCORES.
Their files are used as they are: arrays stay where they are instead of going to a GPU, and Python 3 gets an `xrange`.
"""

import sys


def main(checkout, model, inputs, scores):  # type: ignore[no-untyped-def]
    """Score INPUTS; all four are paths."""
    sys.path[0] = checkout
    import audiovisual_stream
    import chainer
    import numpy

    chainer.cuda.to_gpu = chainer.cuda.to_cpu = lambda array: array

    audiovisual_stream.xrange = range
    network = audiovisual_stream.ResNet18()
    chainer.serializers.load_npz(model, network)
    given = numpy.load(inputs)
    numpy.savez(scores, scores=network([given["sound"], given["frames"]]), chainer=chainer.__version__)


if __name__ == "__main__":
    main(*sys.argv[1:])
