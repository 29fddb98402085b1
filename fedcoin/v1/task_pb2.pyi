from fedcoin.v1 import model_pb2 as _model_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Aggregation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGGREGATION_UNSPECIFIED: _ClassVar[Aggregation]
    AGGREGATION_UNWEIGHTED: _ClassVar[Aggregation]
    AGGREGATION_WEIGHTED: _ClassVar[Aggregation]

class Utility(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UTILITY_UNSPECIFIED: _ClassVar[Utility]
    UTILITY_ACCURACY: _ClassVar[Utility]
    UTILITY_NEGATIVE_LOSS: _ClassVar[Utility]

class Baseline(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BASELINE_UNSPECIFIED: _ClassVar[Baseline]
    BASELINE_ZERO: _ClassVar[Baseline]
    BASELINE_STARTING_MODEL: _ClassVar[Baseline]

class Sampler(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SAMPLER_UNSPECIFIED: _ClassVar[Sampler]
    SAMPLER_PERMUTATION: _ClassVar[Sampler]
    SAMPLER_ANTITHETIC: _ClassVar[Sampler]
    SAMPLER_HYBRID: _ClassVar[Sampler]
    SAMPLER_EXACT: _ClassVar[Sampler]

class RaceKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RACE_KIND_UNSPECIFIED: _ClassVar[RaceKind]
    RACE_KIND_TASK: _ClassVar[RaceKind]
    RACE_KIND_AUDIT: _ClassVar[RaceKind]
AGGREGATION_UNSPECIFIED: Aggregation
AGGREGATION_UNWEIGHTED: Aggregation
AGGREGATION_WEIGHTED: Aggregation
UTILITY_UNSPECIFIED: Utility
UTILITY_ACCURACY: Utility
UTILITY_NEGATIVE_LOSS: Utility
BASELINE_UNSPECIFIED: Baseline
BASELINE_ZERO: Baseline
BASELINE_STARTING_MODEL: Baseline
SAMPLER_UNSPECIFIED: Sampler
SAMPLER_PERMUTATION: Sampler
SAMPLER_ANTITHETIC: Sampler
SAMPLER_HYBRID: Sampler
SAMPLER_EXACT: Sampler
RACE_KIND_UNSPECIFIED: RaceKind
RACE_KIND_TASK: RaceKind
RACE_KIND_AUDIT: RaceKind

class UpdateRef(_message.Message):
    __slots__ = ("digest", "samples")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    samples: int
    def __init__(self, digest: _Optional[bytes] = ..., samples: _Optional[int] = ...) -> None: ...

class Problem(_message.Message):
    __slots__ = ("model", "aggregation", "utility", "baseline", "sampler", "base_model", "evaluation_set", "updates")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    AGGREGATION_FIELD_NUMBER: _ClassVar[int]
    UTILITY_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_SET_FIELD_NUMBER: _ClassVar[int]
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelSpec
    aggregation: Aggregation
    utility: Utility
    baseline: Baseline
    sampler: Sampler
    base_model: bytes
    evaluation_set: bytes
    updates: _containers.RepeatedCompositeFieldContainer[UpdateRef]
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelSpec, _Mapping]] = ..., aggregation: _Optional[_Union[Aggregation, str]] = ..., utility: _Optional[_Union[Utility, str]] = ..., baseline: _Optional[_Union[Baseline, str]] = ..., sampler: _Optional[_Union[Sampler, str]] = ..., base_model: _Optional[bytes] = ..., evaluation_set: _Optional[bytes] = ..., updates: _Optional[_Iterable[_Union[UpdateRef, _Mapping]]] = ...) -> None: ...

class Contributor(_message.Message):
    __slots__ = ("public_key", "signature")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    signature: bytes
    def __init__(self, public_key: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class UpdateCommitment(_message.Message):
    __slots__ = ("order", "round", "base_model", "digest", "samples")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    order: bytes
    round: int
    base_model: bytes
    digest: bytes
    samples: int
    def __init__(self, order: _Optional[bytes] = ..., round: _Optional[int] = ..., base_model: _Optional[bytes] = ..., digest: _Optional[bytes] = ..., samples: _Optional[int] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("server", "order", "round", "parent", "train_price", "com_price", "sap_price", "problem", "contributors", "norm", "difficulty", "opened_at", "expiry", "signature")
    SERVER_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    TRAIN_PRICE_FIELD_NUMBER: _ClassVar[int]
    COM_PRICE_FIELD_NUMBER: _ClassVar[int]
    SAP_PRICE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTORS_FIELD_NUMBER: _ClassVar[int]
    NORM_FIELD_NUMBER: _ClassVar[int]
    DIFFICULTY_FIELD_NUMBER: _ClassVar[int]
    OPENED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    server: bytes
    order: bytes
    round: int
    parent: bytes
    train_price: int
    com_price: int
    sap_price: int
    problem: Problem
    contributors: _containers.RepeatedCompositeFieldContainer[Contributor]
    norm: int
    difficulty: int
    opened_at: int
    expiry: int
    signature: bytes
    def __init__(self, server: _Optional[bytes] = ..., order: _Optional[bytes] = ..., round: _Optional[int] = ..., parent: _Optional[bytes] = ..., train_price: _Optional[int] = ..., com_price: _Optional[int] = ..., sap_price: _Optional[int] = ..., problem: _Optional[_Union[Problem, _Mapping]] = ..., contributors: _Optional[_Iterable[_Union[Contributor, _Mapping]]] = ..., norm: _Optional[int] = ..., difficulty: _Optional[int] = ..., opened_at: _Optional[int] = ..., expiry: _Optional[int] = ..., signature: _Optional[bytes] = ...) -> None: ...
