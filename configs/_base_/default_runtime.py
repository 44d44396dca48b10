# What every config here needs: MMSegmentation's defaults, the plugin, its checks before training
# and its multi-scale test.
_base_ = ['mmseg::_base_/default_runtime.py', './checks.py']
custom_imports = dict(imports=['mmseg_faseg'], allow_failed_imports=False)
tta_model = dict(type='FASegTTAModel')
