# As default_runtime.py, for MMDetection: instances and panoptic segments.
_base_ = './checks.py'
custom_imports = dict(imports=['mmseg_faseg'], allow_failed_imports=False)
runner_type = 'ReadableRunner'
default_scope = 'mmdet'
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
visualizer = dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(type='LossKindsLogProcessor', by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
