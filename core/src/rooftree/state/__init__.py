"""What is kept: the data folder, the database in it, documents in memory and on the disk, the audit log."""

from rooftree.state.audit_log import (
    AUDIT,
    AUDIT_SCHEMA,
    KEEPING,
    PAGE,
    AuditEntry,
    AuditKeeping,
    AuditLog,
    record_audit,
)
from rooftree.state.database import Change, Database, View
from rooftree.state.documents import Collection, State, document
from rooftree.state.exhaustion import explained
from rooftree.state.failpoints import reach
from rooftree.state.folder import DataFolder, close_to_others, write_file_atomically

__all__ = [
    "AUDIT",
    "AUDIT_SCHEMA",
    "KEEPING",
    "PAGE",
    "AuditEntry",
    "AuditKeeping",
    "AuditLog",
    "Change",
    "Collection",
    "DataFolder",
    "Database",
    "State",
    "View",
    "close_to_others",
    "document",
    "explained",
    "reach",
    "record_audit",
    "write_file_atomically",
]
