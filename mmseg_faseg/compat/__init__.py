"""What keeps OpenMMLab working on today's PyTorch. Importing it does all of it, in this order."""

from .versions import check_versions

check_versions()

from . import mmcv_operators, optional_packages, panopticapi, torchvision  # noqa: E402

torchvision.ensure_importable()
mmcv_operators.ensure_importable()
panopticapi.ensure_importable()
optional_packages.import_open_mmlab()

from . import amp  # noqa: E402, F401  torchvision first: MMEngine and MMDet import it
from .activation_checkpointing import follow_all_tensors  # noqa: E402
from .attention_dropout import keep_dropout_apart  # noqa: E402
from .checkpoints import allow_mmengine_checkpoints  # noqa: E402
from .configs import config_path, register_config_names  # noqa: E402
from .dataloaders import prepare_dataloaders  # noqa: E402
from .deformable_attention import prepare_operator  # noqa: E402
from .mean_of_classes import tell_classes_left_out  # noqa: E402
from .metrics_file import write_metrics_once  # noqa: E402
from .mixed_batches import predict_mixed_batches  # noqa: E402
from .output_names import keep_subfolders  # noqa: E402
from .safetensors import register_safetensors  # noqa: E402
from .tta import keep_scores_in_tta  # noqa: E402
from .visualizer import draw_images_of_any_layout  # noqa: E402
from .whole_files import write_whole_files  # noqa: E402

allow_mmengine_checkpoints()
keep_dropout_apart()
keep_scores_in_tta()
predict_mixed_batches()
prepare_dataloaders()
keep_subfolders()
draw_images_of_any_layout()
follow_all_tensors()
register_config_names()
register_safetensors()
tell_classes_left_out()
write_metrics_once()
write_whole_files()
prepare_operator()

__all__ = ['config_path']
