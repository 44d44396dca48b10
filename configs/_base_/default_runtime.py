# What every config here needs: MMSegmentation's defaults, the plugin, its checks before training,
# a log for people and its multi-scale test.
_base_ = ['mmseg::_base_/default_runtime.py', './checks.py']
custom_imports = dict(imports=['mmseg_faseg'], allow_failed_imports=False)
runner_type = 'ReadableRunner'  # log_level = 'DEBUG' shows all that MMEngine's own runner shows
log_processor = dict(type='LossKindsLogProcessor')  # per_prediction=True shows every term
tta_model = dict(type='FASegTTAModel')
