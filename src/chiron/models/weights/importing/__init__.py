"""One file a kind of checkpoint: what it is recognized by, and how its tensors get the names of timm or torchvision.

A file holds `KIND`, what such a checkpoint is called; `NAMES_AS_THEY_ARE`, whether its own names may fit a network too;
`NOTE`, what the user must know; `MEAN` and `STD`, where the pixels that the weights were trained on are known;
`recognizes(tensors)` and `convert(tensors, name)`, which leaves out what no network has a place for. Prefixes of
wrappers are gone before.
"""
