"""One file a family of networks, all found by their names.

Outside packages add families through entry points of the group `chiron.models.families`; the models of a family carry
the entry point's name after `chiron_`.
"""
