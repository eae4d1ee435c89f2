"""Parts of networks that several systems share, losses, and the building of ONNX graphs."""
