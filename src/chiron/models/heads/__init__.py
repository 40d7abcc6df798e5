"""One file a head: what stands between a backbone's features and the logits, on any network (`model.head`).

A file holds `OPTIONS`, the names that `model.head_args` may have (read without importing the file), and
`make_head(width, num_classes, **options)`, which gives a `chiron.models.head.Head`.
"""
