import hashlib
import hmac

from chiron.core.hashing import canonical_json, keyed_hash, seed_of, sha256_json


def test_canonical_json_ignores_key_order():
    assert canonical_json({"b": 1, "a": [1.5, "é"]}) == '{"a":[1.5,"é"],"b":1}'
    assert sha256_json({"b": 1, "a": 2}) == sha256_json({"a": 2, "b": 1})


def test_seed_is_a_function_of_names():
    """A golden value: seeds must be the same on every machine and in every version, or no run can be repeated."""
    assert seed_of("augment", 0, 1, "img", 0) == seed_of("augment", 0, 1, "img", 0)
    assert seed_of("a", "bc") != seed_of("ab", "c")
    assert seed_of("order", 0, 0) == int.from_bytes(hashlib.sha256(b'["order",0,0]').digest()[:8], "big") >> 1


def test_hash_is_hmac_sha256():
    assert keyed_hash(b"k", "Müller") == hmac.new(b"k", "Müller".encode(), hashlib.sha256).hexdigest()[:12]
    assert keyed_hash(b"other", "Müller") != keyed_hash(b"k", "Müller")
