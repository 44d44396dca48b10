from . import torchvision

torchvision.ensure_importable()
