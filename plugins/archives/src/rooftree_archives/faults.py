"""What can be wrong with an archive, or with what goes into one. They cross from the worker to the daemon by kind."""

from __future__ import annotations


class Damaged(Exception):
    """The archive is not what it has to be; the message names the part, and what in it."""


class PasswordRefused(Exception):
    """The password does not open the archive, or it needs one."""


class SourceRefused(Exception):
    """Something that was to be archived can't be read."""


class TargetFailed(Exception):
    """What is written can't be written: the disk is full, or fails."""


class TargetExists(Exception):
    """There is an archive of that name."""
