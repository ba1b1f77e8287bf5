"""Every exception that Ouvroir raises, as a small tree.

OuvroirError
├── UsageError            the call itself is wrong: an unknown name, an option out of range (exit status 2)
├── DataError             the user's files cannot serve
│   ├── Refused           one row cannot serve; carries a reason code
│   └── ManifestError     a manifest is missing, damaged or no longer true
├── RecipeError           a setting is unknown or out of range
├── RunError              a run folder is missing, damaged, busy or unfinished
│   ├── RunBusy           another process is working on the run
│   └── CheckpointError   no undamaged checkpoint could be read
├── TrainingError         training cannot go on
│   ├── NonFiniteLoss     the loss became NaN or infinite; carries the rows of the batch
│   └── Untried           a trial cannot come to a verdict here
├── ExportError           the exported file does not answer like the model
├── DiskFull              no room left; what was being written is not left half done
├── NotWritable           a place that may not be written to
├── DeviceError           the device asked for is not there or lacks what was asked
├── MissingExtra          an optional library is not installed; says which extra brings it
└── UnsupportedSystem     Ouvroir does not run on this operating system

Messages say what happened, where, and what to do next. The command line prints them without a traceback.
"""

from __future__ import annotations


class OuvroirError(Exception):
    """Base of all errors meant for the user. `str(error)` is a sentence fit to be shown."""


class UsageError(OuvroirError):
    """The call is wrong; nothing was started."""


class DataError(OuvroirError):
    """The user's files cannot serve as they are."""


class Refused(DataError):
    """One row cannot serve. `code` is a short stable word (`empty`, `truncated`, ...), `reason` a sentence."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class ManifestError(DataError):
    """A manifest is missing, damaged, or its files have changed since."""


class RecipeError(OuvroirError):
    """A setting is unknown, of the wrong type or out of range."""


class RunError(OuvroirError):
    """A run folder is missing, damaged, busy or not finished."""


class RunBusy(RunError):
    """Another process is working on the run, whose files are left to it."""


class CheckpointError(RunError):
    """No undamaged checkpoint could be read."""


class TrainingError(OuvroirError):
    """Training cannot go on; the last good checkpoint is kept."""


class Untried(TrainingError):
    """Something cannot be tried: too few items, nothing that makes samples, or none of these is worth it. Trying again is vain."""


class NonFiniteLoss(TrainingError):
    """The loss became NaN or infinite. `rows` are the ids of the rows in the batch."""

    def __init__(self, message: str, rows: list[str]) -> None:
        super().__init__(message)
        self.rows = rows


class ExportError(OuvroirError):
    """The exported file could not be made, or does not answer like the model it came from."""


class DiskFull(OuvroirError):
    """No room left on the disk. Files are written whole or not at all, so nothing is half written."""


class NotWritable(OuvroirError):
    """A folder or file may not be written to by this user, or is in the way."""


class DeviceError(OuvroirError):
    """The device asked for is not there, or cannot do what was asked of it."""


class MissingExtra(OuvroirError):
    """An optional library is not installed."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs an optional library: pip install 'ouvroir[{extra}]'")
        self.extra = extra


class UnsupportedSystem(OuvroirError):
    """Ouvroir does not run on this operating system."""
