"""What a person types, configuration and key files, data folders."""

from __future__ import annotations

from fedcoin.core.errors.base import Conflict, FedCoinError, InvalidInput, NotFound, Refused, Unavailable


class AmountMalformed(InvalidInput):
    """An amount is not written as FDC with at most eight decimals."""

    code = "AMOUNT_MALFORMED"


class ConfigFileInvalid(InvalidInput):
    """A configuration file cannot be read, is no TOML, or has a setting that there is not."""

    code = "CONFIG_FILE_INVALID"


class IdMalformed(InvalidInput):
    """A hash, id or public key is not written as hexadecimal digits of the right number."""

    code = "ID_MALFORMED"


class NotASettlement(InvalidInput):
    """An AUDIT block settles no round, so there is no payout to check."""

    code = "NOT_A_SETTLEMENT"


class ProcessFailed(Unavailable):
    """A process of a local network has ended too early or has not become ready."""

    code = "PROCESS_FAILED"


class MoneyDoesNotAddUp(Conflict):
    """The balances of a chain do not sum to what its genesis gave out."""

    code = "MONEY_DOES_NOT_ADD_UP"


class OutputNotWritable(Unavailable):
    """A file that was asked for cannot be written."""

    code = "OUTPUT_NOT_WRITABLE"


class ConfigInvalid(InvalidInput):
    """A setting is missing or has a value that is not possible."""

    code = "CONFIG_INVALID"


class MalformedGenesis(InvalidInput):
    """A genesis file cannot be read."""

    code = "MALFORMED_GENESIS"


class WrongGenesis(Conflict):
    """A genesis file belongs to another chain than it says, or than is wanted."""

    code = "WRONG_GENESIS"


class KeyFileExists(Conflict):
    """There is a key file of that name already; key files are never overwritten."""

    code = "KEY_FILE_EXISTS"


class KeyFileUnreadable(NotFound):
    """A key file is not there, or may not be read."""

    code = "KEY_FILE_UNREADABLE"


class KeyFileOpen(Conflict):
    """A key file that is not encrypted can be read by other users: run chmod 600 on it, or encrypt it."""

    code = "KEY_FILE_OPEN"


class MalformedKeyFile(InvalidInput):
    """A key file is damaged, or is no key file."""

    code = "MALFORMED_KEY_FILE"


class WrongPassphrase(Refused):
    """The passphrase does not open the key file."""

    code = "WRONG_PASSPHRASE"


class PassphraseNeeded(Refused):
    """The key file is encrypted: a passphrase is needed."""

    code = "PASSPHRASE_NEEDED"


class DataFolderInUse(Conflict):
    """Another process has the data folder open: stop it first, or use another folder."""

    code = "DATA_FOLDER_IN_USE"


class WrongChain(Conflict):
    """The data folder belongs to another chain: use another folder, or the genesis file that it was made with."""

    code = "WRONG_CHAIN"


class WrongDataFolder(Conflict):
    """The data folder was written by another role or by another version of the storage format."""

    code = "WRONG_DATA_FOLDER"


class StoreCorrupt(FedCoinError):
    """A file in the data folder is damaged: restore a copy, or remove the folder and sync again."""

    code = "STORE_CORRUPT"
    status = "DATA_LOSS"


class StoreUnavailable(Unavailable):
    """The data folder cannot be read or written: look at free space, permissions and the disk."""

    code = "STORE_UNAVAILABLE"
