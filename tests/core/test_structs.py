"""Every layout: round trips, one encoding only, and nothing but MalformedEncoding for hostile bytes."""

from dataclasses import fields

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedcoin.core import block, estimate, fraud, genesis, header, model, params, task, transaction
from fedcoin.core.encoding import Codec, Struct
from fedcoin.core.errors import MalformedEncoding

STRUCTS = {
    f"{module.__name__.rsplit('.', 1)[1]}.{name}": value
    for module in (params, model, task, transaction, estimate, header, block, fraud, genesis)
    for name, value in vars(module).items()
    if isinstance(value, Struct)
}
DISTINCT = list({id(struct): struct for struct in STRUCTS.values()}.values())
BLOCK = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def values(codec: Codec) -> st.SearchStrategy:
    """Anything that a codec can carry, drawn from its description."""
    kind = codec.kind
    if kind.startswith("u"):
        if kind == "union":
            return st.one_of([struct_values(struct) for struct in codec.inner.values()])
        return st.integers(0, 2 ** int(kind[1:]) - 1)
    if kind == "i64":
        return st.integers(-(2**63), 2**63 - 1)
    if kind.startswith("bytes"):
        size = int(kind[5:])
        return st.binary(min_size=size, max_size=size)
    if kind.startswith("text"):
        limit = int(kind.rsplit("≤", 1)[1])
        return st.text(max_size=8).filter(lambda word: len(word.encode()) <= limit)
    if kind.startswith("blob"):
        return st.binary(max_size=min(64, int(kind.rsplit("≤", 1)[1])))
    if kind.startswith("vector"):
        return st.lists(values(codec.inner), max_size=3).map(tuple)
    if kind.startswith("enum"):
        return st.sampled_from(list(codec.inner))
    if kind == "optional":
        return st.none() | values(codec.inner)
    assert kind.startswith("struct"), kind
    return struct_values(codec.inner)


def struct_values(struct: Struct) -> st.SearchStrategy:
    names = {field.name for field in fields(struct.kind)}
    # The layout that is signed leaves the signature out; a value needs one all the same.
    missing = {name: st.just(b"") for name in names - set(struct.fields)}
    return st.builds(struct.kind, **{name: values(codec) for name, codec in struct.fields.items()}, **missing)


every_struct = pytest.mark.parametrize("struct", [pytest.param(s, id=s.tag) for s in DISTINCT])
# The layouts that are signed have no bytes of their own on the wire.
decodable = pytest.mark.parametrize(
    "struct", [pytest.param(s, id=s.tag) for s in DISTINCT if {f.name for f in fields(s.kind)} == set(s.fields)]
)


def test_the_layouts_of_all_modules_are_found():
    assert len(DISTINCT) >= 18


def test_no_two_layouts_share_a_tag():
    tags = [struct.tag for struct in DISTINCT]
    assert len(tags) == len(set(tags))
    assert all(tag.startswith("fedcoin/v1/") for tag in tags)


@every_struct
def test_a_layout_names_the_fields_of_its_value_in_their_order(struct):
    names = [field.name for field in fields(struct.kind)]
    assert list(struct.fields) == [name for name in names if name in struct.fields]
    assert set(names) - set(struct.fields) <= {"signature"}


@decodable
@BLOCK
@given(data=st.data())
def test_round_trip(struct, data):
    value = data.draw(struct_values(struct))
    assert struct.decode(struct.encode(value)) == value


@decodable
@BLOCK
@given(data=st.data())
def test_bytes_left_over_or_missing_are_refused(struct, data):
    encoded = struct.encode(data.draw(struct_values(struct)))
    with pytest.raises(MalformedEncoding):
        struct.decode(encoded + b"\x00")
    if not encoded:
        return  # a layout without fields
    with pytest.raises(MalformedEncoding):
        struct.decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


def only_one_encoding(struct, hostile: bytes) -> None:
    """Either it is refused, or it is exactly what the value encodes to."""
    try:
        value = struct.decode(hostile)
    except MalformedEncoding:
        return
    assert struct.encode(value) == hostile


@decodable
@BLOCK
@given(hostile=st.binary(max_size=400))
def test_random_bytes_are_refused_or_canonical(struct, hostile):
    only_one_encoding(struct, hostile)


@decodable
@BLOCK
@given(data=st.data())
def test_mutated_bytes_are_refused_or_canonical(struct, data):
    encoded = bytearray(struct.encode(data.draw(struct_values(struct))))
    for _ in range(data.draw(st.integers(1, 4)) if encoded else 0):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    only_one_encoding(struct, bytes(encoded))


@decodable
def test_counts_of_four_billion_take_no_memory(struct):
    with pytest.raises(MalformedEncoding):
        struct.decode(b"\xff" * 64)


def test_a_body_of_an_unknown_kind_is_refused(samples):
    encoded = bytearray(transaction.TRANSACTION.encode(samples.transaction))
    encoded[33 + 8 + 8] = 9
    with pytest.raises(MalformedEncoding, match="none of the kinds"):
        transaction.TRANSACTION.decode(bytes(encoded))


def test_a_body_of_another_type_cannot_be_written(samples):
    from dataclasses import replace

    with pytest.raises(MalformedEncoding):
        transaction.TRANSACTION.encode(replace(samples.transaction, body=samples.task))
