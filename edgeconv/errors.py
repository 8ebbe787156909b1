"""The exception tree. Every error a user can cause is one of these; the command line catches the root once.

    EdgeconvError                  exit code 2
    ├── UsageError                 a flag, name or combination that means nothing
    ├── ModelError                 the model cannot be built, loaded or traced
    │   └── CheckpointError        weights do not fit the model, or are not finite
    ├── DataError                  calibration or evaluation data cannot be used
    ├── ExportError                a stage of the export failed
    │   ├── UnsupportedOperatorError   the lowering does not know an operator
    │   ├── RewriteError           a graph rewrite was asked for and is not exact
    │   └── TargetMissedError      the quality that was asked for cannot be reached
    ├── BundleError                a bundle is damaged, foreign or unsafe
    ├── RecordError                a run record is damaged, foreign or newer than we are
    ├── RuntimeUnavailableError    a runtime is not installed, or did not run what was asked
    └── DeviceError                a device cannot be reached or does not fit
        └── ConnectionLostError    the connection to it dropped

A message says what was wrong and where; ``hint`` says what to do next.  This module is part of the device agent:
Python 3.8, standard library only.
"""

from __future__ import annotations

__all__ = [
    "BundleError",
    "CheckpointError",
    "ConnectionLostError",
    "DataError",
    "DeviceError",
    "EdgeconvError",
    "ExportError",
    "ModelError",
    "RecordError",
    "RewriteError",
    "RuntimeUnavailableError",
    "TargetMissedError",
    "UnsupportedOperatorError",
    "UsageError",
]


class EdgeconvError(Exception):
    """Root of the tree.

    Args:
        message: what was wrong, where, and what was expected, in a sentence or two.
        hint: what the user can do next; empty when the message already says it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(EdgeconvError):
    """A flag, a name or a combination of them that means nothing."""


class ModelError(EdgeconvError):
    """The model cannot be built, loaded or traced."""


class CheckpointError(ModelError):
    """The weights do not fit the model or are not finite."""


class DataError(EdgeconvError):
    """Calibration or evaluation data cannot be used."""


class ExportError(EdgeconvError):
    """A stage of the export failed."""


class UnsupportedOperatorError(ExportError):
    """The lowering does not know an operator; raised before any conversion starts."""


class RewriteError(ExportError):
    """A graph rewrite changed the function it was to preserve."""


class TargetMissedError(ExportError):
    """The quality that was asked for cannot be reached; a verdict, not bad input."""


class BundleError(EdgeconvError):
    """A bundle is damaged, foreign or unsafe to open."""


class RecordError(EdgeconvError):
    """A run record is damaged, foreign or of a newer schema."""


class RuntimeUnavailableError(EdgeconvError):
    """A runtime is not installed here, or did not run what it was asked to run."""


class DeviceError(EdgeconvError):
    """A device cannot be reached, or a profile does not describe it."""


class ConnectionLostError(DeviceError):
    """A connection that had worked dropped; the device may still be at work, so trying again makes sense."""
