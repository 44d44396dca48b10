# How training reads images and label maps: from their files, or, with IMAGE_CACHE=/path, decoded
# once and kept in that folder, which grows to max_bytes at most. See docs/data.md.
load_image = dict(type='LoadImageFromFile')
load_annotations = dict(type='LoadAnnotations')
cache_dir = '{{$IMAGE_CACHE:none}}'
if cache_dir != 'none':
    cache = dict(cache_dir=cache_dir, max_bytes=32 * 2**30)
    load_image = dict(type='CachedLoadImageFromFile', **cache)
    load_annotations = dict(type='CachedLoadAnnotations', **cache)
    del cache
del cache_dir  # the two transforms have it
