"""A trained segmentor as one file that runs without it: ONNX, OpenVINO, ``torch.export``."""
