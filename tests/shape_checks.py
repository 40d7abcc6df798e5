"""The checker that compares arrays with their annotations while tests run; whole numbers pass as floats."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
