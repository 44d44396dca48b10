# Before training time is spent: what will run is said, and the settings, the data and a checkpoint
# to start from are looked at. docs/checks.md has the names of all checks, for skip_checks.
skip_checks = []
custom_hooks = [
    dict(type='RunStartHook'),
    dict(type='RunLockHook'),  # one run in a work dir
    dict(type='SettingsCheckHook'),
    dict(type='OutputNamesHook'),  # label maps and paintings keep the subfolders of their images
    dict(type='UnlabelledTestHook'),  # a test set without labels is predicted
    dict(type='DataCheckHook'),
    dict(type='CheckpointCheckHook'),
    dict(type='BrokenImagesHook'),  # on_broken='skip-and-list' replaces what breaks later
    dict(type='NonFiniteHook'),  # policy='skip' leaves iterations with NaN out
    dict(type='StopSignalHook'),  # SIGTERM, SIGINT, SIGUSR1: a checkpoint, then the end
    dict(type='ExactResumeHook'),
]
