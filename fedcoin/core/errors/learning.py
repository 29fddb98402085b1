"""Data sets, models, updates, and the process that evaluates them."""

from __future__ import annotations

from fedcoin.core.errors.base import InvalidInput, LimitExceeded, NotFound, Unavailable


class DatasetNotFound(NotFound):
    """No data set of that name or at that place."""

    code = "DATASET_NOT_FOUND"


class DatasetMalformed(InvalidInput):
    """A data file is truncated, too long, of another format, or its parts do not fit together."""

    code = "DATASET_MALFORMED"


class DatasetNotFinite(InvalidInput):
    """A data file holds NaN or infinite features."""

    code = "DATASET_NOT_FINITE"


class DatasetLabelOutOfRange(InvalidInput):
    """A label is negative or not below the number of classes."""

    code = "DATASET_LABEL_OUT_OF_RANGE"


class PartitionImpossible(InvalidInput):
    """The samples cannot be divided among the clients as asked."""

    code = "PARTITION_IMPOSSIBLE"


class UnknownModel(InvalidInput):
    """No preset or torchvision model of that name is allowed."""

    code = "UNKNOWN_MODEL"


class ModelDoesNotFit(InvalidInput):
    """An architecture's layers, input shape and classes do not fit together."""

    code = "MODEL_DOES_NOT_FIT"


class ModelTooLarge(LimitExceeded):
    """An architecture needs more parameters, activations or work than a node takes on."""

    code = "MODEL_TOO_LARGE"


class TrainingSettingsInvalid(InvalidInput):
    """The settings of local training contradict each other or the data."""

    code = "TRAINING_SETTINGS_INVALID"


class SamplesDoNotFit(InvalidInput):
    """Samples and labels are not of the shape, type or range that the architecture takes."""

    code = "SAMPLES_DO_NOT_FIT"


class TrainingDiverged(InvalidInput):
    """Local training ended in weights that are not finite; use a smaller learning rate."""

    code = "TRAINING_DIVERGED"


class DeviceUnavailable(Unavailable):
    """The computing device asked for is not there."""

    code = "DEVICE_UNAVAILABLE"


class UpdateMalformed(InvalidInput):
    """A model update is not a safetensors file with exactly the tensors of its architecture."""

    code = "UPDATE_MALFORMED"


class UpdateTooLarge(LimitExceeded):
    """A model update has more bytes than its architecture can need."""

    code = "UPDATE_TOO_LARGE"


class UpdateWrongShape(InvalidInput):
    """A tensor of a model update has another shape or type than its architecture says."""

    code = "UPDATE_WRONG_SHAPE"


class UpdateNotFinite(InvalidInput):
    """A model update holds NaN or infinite parameters."""

    code = "UPDATE_NOT_FINITE"


class UpdateOutOfRange(InvalidInput):
    """A model update holds a parameter beyond ±10,000; train with a lower learning rate."""

    code = "UPDATE_OUT_OF_RANGE"


class EvaluationSetMalformed(InvalidInput):
    """An evaluation set is not a safetensors file of samples x and labels y that fit the architecture."""

    code = "EVALUATION_SET_MALFORMED"


class EvaluationSetTooLarge(LimitExceeded):
    """An evaluation set has more bytes than a node takes on."""

    code = "EVALUATION_SET_TOO_LARGE"


class EvaluationSetNotFinite(InvalidInput):
    """An evaluation set holds NaN or infinite features."""

    code = "EVALUATION_SET_NOT_FINITE"


class EvaluationSetOutOfRange(InvalidInput):
    """An evaluation set holds a feature beyond ±1,000,000; scale the features down, for all data alike."""

    code = "EVALUATION_SET_OUT_OF_RANGE"


class EvaluationSetLabelOutOfRange(InvalidInput):
    """An evaluation set holds a label that is no class of the architecture."""

    code = "EVALUATION_SET_LABEL_OUT_OF_RANGE"


class AggregationImpossible(InvalidInput):
    """Updates or sample counts that cannot be averaged together."""

    code = "AGGREGATION_IMPOSSIBLE"


class CoalitionsMalformed(InvalidInput):
    """Coalitions or permutations that do not name each client as they should."""

    code = "COALITIONS_MALFORMED"


class EvaluationTooLarge(LimitExceeded):
    """A task's updates together need more memory than a node takes on."""

    code = "EVALUATION_TOO_LARGE"


class MemoryTooSmall(LimitExceeded):
    """The memory allowed for evaluating coalitions is too little for one block of samples."""

    code = "MEMORY_TOO_SMALL"


class EvaluatorFailed(Unavailable):
    """The evaluator process has died twice over one request."""

    code = "EVALUATOR_FAILED"


class RayUnavailable(Unavailable):
    """Coalitions are to be evaluated on a Ray cluster, but Ray is not installed or the cluster cannot be used."""

    code = "RAY_UNAVAILABLE"


class WorkerFailed(Unavailable):
    """The process that decodes, aggregates and trains has failed."""

    code = "WORKER_FAILED"
