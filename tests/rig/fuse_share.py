"""A network share whose server can die: a FUSE file system of one file, served by this process.

``python fuse_share.py TARGET`` mounts it and prints a line when it is there. Told SIGUSR1, it goes on reading what is
asked and answers nothing more, as a server that is gone: whoever asks is held by the kernel, and not even SIGKILL ends
that. SIGUSR2 has it answer everything. When it ends, its file system is dead and says so (ENOTCONN). Standard library
only: it also runs where nothing of ours is installed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import struct
import sys

CONTENT = b"hello from the share\n"
NAME = b"hello.txt"
ROOT, FILE = 1, 2
LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE = 1, 2, 3, 14, 15, 17, 18
FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, DESTROY, BATCH_FORGET = 25, 26, 27, 28, 29, 36, 38, 42
"""Of enum fuse_opcode in linux/fuse.h."""
HEADER = struct.Struct("<IIQQIIII")
REPLY = struct.Struct("<IiQ")


def attributes(node: int) -> bytes:
    """struct fuse_attr."""
    mode, size, links = (0o40755, 0, 2) if node == ROOT else (0o100644, len(CONTENT), 1)
    return struct.pack("<QQQQQQIIIIIIIIII", node, size, 1, 0, 0, 0, 0, 0, 0, mode, links, 0, 0, 0, 4096, 0)


def entries() -> bytes:
    """The folder, as struct fuse_dirent."""
    listed = b""
    for node, kind, name in ((ROOT, 4, b"."), (ROOT, 4, b".."), (FILE, 8, NAME)):
        entry = struct.pack("<QQII", node, len(listed) + 1, len(name), kind) + name
        listed += entry.ljust((len(entry) + 7) & ~7, b"\0")
    return listed


def answer(opcode: int, node: int, body: bytes) -> bytes | int:
    """What an operation gives, or its error."""
    match opcode:
        case _ if opcode == INIT:
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, 0, 0, 0, 65536, 1, 0, 0, 0)
        case _ if opcode == LOOKUP:
            if body.rstrip(b"\0") != NAME:
                return errno.ENOENT
            return struct.pack("<QQQQII", FILE, 0, 0, 0, 0, 0) + attributes(FILE)
        case _ if opcode == GETATTR:
            return struct.pack("<QII", 0, 0, 0) + attributes(node)
        case _ if opcode in {OPEN, OPENDIR}:
            return struct.pack("<QII", 0, 0, 0)
        case _ if opcode == READDIR:
            return entries() if struct.unpack_from("<QQ", body)[1] == 0 else b""
        case _ if opcode == READ:
            offset, size = struct.unpack_from("<QI", body, 8)
            return CONTENT[offset : offset + size]
        case _ if opcode == STATFS:
            return struct.pack("<QQQQQIIII24x", 1000, 400, 400, 2, 0, 4096, 255, 4096, 0)
        case _ if opcode in {RELEASE, FLUSH, RELEASEDIR, DESTROY}:
            return b""
        case _:
            return errno.ENOSYS


class Share:
    """One file system and whoever asks it."""

    def __init__(self, target: str) -> None:
        self.device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"share", target.encode(), b"fuse", 0, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), "mount", target)
        self.answers = True
        self.unanswered: list[bytes] = []

    def fall_silent(self, *_: object) -> None:
        """Answer nothing more."""
        self.answers = False

    def answer_again(self, *_: object) -> None:
        """Answer, also what was asked meanwhile."""
        self.answers = True
        for request in self.unanswered:
            self.reply(request)
        self.unanswered.clear()

    def serve(self) -> None:
        """Until it is unmounted."""
        while True:
            try:
                request = os.read(self.device, 1 << 20)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in {errno.EINTR, errno.ENOENT}:
                    continue
                raise
            if self.answers:
                self.reply(request)
            else:
                self.unanswered.append(request)
                with contextlib.suppress(BrokenPipeError):  # nobody wants to know
                    print("asked", flush=True)  # whoever asks is held by the kernel from here on

    def reply(self, request: bytes) -> None:
        """Answer one request, if it wants an answer."""
        _, opcode, unique, node, *_ = HEADER.unpack_from(request)
        if opcode in {FORGET, BATCH_FORGET, INTERRUPT}:
            return
        given = answer(opcode, node, request[HEADER.size :])
        body, error = (b"", -given) if isinstance(given, int) else (given, 0)
        try:
            os.write(self.device, REPLY.pack(REPLY.size + len(body), error, unique) + body)
        except OSError as failure:
            if failure.errno != errno.ENOENT:  # whoever asked is gone
                raise


def main() -> None:
    """Serve one share."""
    share = Share(sys.argv[1])
    signal.signal(signal.SIGUSR1, share.fall_silent)
    signal.signal(signal.SIGUSR2, share.answer_again)
    print("mounted", flush=True)
    share.serve()


if __name__ == "__main__":
    main()
