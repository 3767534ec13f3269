"""Servers that vaults lie on: restic's REST protocol by rclone, over TLS; S3 by moto, which checks signatures."""

from __future__ import annotations

import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import field, frozen

from tests.rig.service_process import ServiceProcess, free_port
from tests.rig.vault_key import make_cheap
from tests.workspace import ROOT

MOTO = ROOT / ".tools" / "moto" / "bin" / "moto_server"
LOGIN, PASSWORD = "rooftree", "hunter2@night"


@frozen
class RestServer:
    """A REST server that asks for a login and shows a certificate of an authority of its own."""

    folder: Path
    port: int = field(factory=free_port)

    def place(self, password: str = PASSWORD, path: str = "vault") -> str:
        """An address on it."""
        return f"rest:https://{LOGIN}:{urllib.parse.quote(password, safe='')}@127.0.0.1:{self.port}/{path}"

    @property
    def authority(self) -> str:
        """The certificate of its authority, as PEM."""
        return (self.folder / "ca.pem").read_text()

    def prepare(self) -> None:
        """Make its certificates."""
        (self.folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        for command in (
            ("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=the house", "-days", "30"),
            ("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=nas"),
            ("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
             "-out", "server.pem", "-days", "30", "-extfile", "names"),
        ):  # fmt: skip
            subprocess.run(["openssl", *command], cwd=self.folder, check=True, capture_output=True)

    def running(self) -> ServiceProcess:
        """It, for the length of a block."""
        command = ("rclone", "serve", "restic", "--config", "/dev/null", "--addr", f"127.0.0.1:{self.port}",
                   "--user", LOGIN, "--pass", PASSWORD, "--cert", self.folder / "server.pem",
                   "--key", self.folder / "server.key", self.folder)  # fmt: skip
        return ServiceProcess(command, port=self.port, log=self.folder / "rclone.log")


@frozen
class S3Server:
    """An S3 server that knows one access key."""

    port: int
    access_key: str
    secret: str

    def place(self, bucket: str = "cellar") -> str:
        """An address on it."""
        return f"s3:http://127.0.0.1:{self.port}/{bucket}/vault"

    @property
    def credentials(self) -> dict[str, str]:
        """What it lets in."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret}

    def make_cheap(self, folder: Path, password: str) -> None:
        """Make the vault in the bucket quickly opened, by way of an empty folder; the four calls that it takes need no
        access key."""
        _call(self.port, "moto-api/reset-auth", b"4", method="POST")
        (name,) = re.findall("<Key>vault/keys/(.*?)</Key>", _call(self.port, "cellar?prefix=vault/keys/").decode())
        keys = folder / "keys"
        keys.mkdir(parents=True)
        (keys / name).write_bytes(_call(self.port, f"cellar/vault/keys/{name}"))
        make_cheap(folder, password)
        (cheap,) = keys.iterdir()
        _call(self.port, f"cellar/vault/keys/{cheap.name}", cheap.read_bytes(), method="PUT")
        _call(self.port, f"cellar/vault/keys/{name}", method="DELETE")


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """One for the length of a block; its first three calls, which make the access key, need none."""
    port = free_port()
    command = ("env", "INITIAL_NO_AUTH_ACTION_COUNT=3", MOTO, "-H", "127.0.0.1", "-p", str(port))
    with ServiceProcess(command, port=port, log=folder / "moto.log", start_s=60):
        _iam(port, Action="CreateUser", UserName="u")
        made = _iam(port, Action="CreateAccessKey", UserName="u")
        everything = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
        _iam(port, Action="PutUserPolicy", UserName="u", PolicyName="all", PolicyDocument=everything)
        yield S3Server(port, _told(made, "AccessKeyId"), _told(made, "SecretAccessKey"))


def _iam(port: int, **query: str) -> str:
    return _call(port, "", urllib.parse.urlencode({**query, "Version": "2010-05-08"}).encode(), service="iam").decode()


def _call(port: int, path: str, data: bytes | None = None, method: str | None = None, service: str = "s3") -> bytes:
    credential = f"Credential=x/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=x"
    form = {"iam": "application/x-www-form-urlencoded"}
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 {credential}",
        "Content-Type": form.get(service, "application/octet-stream"),
    }
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        content: bytes = answer.read()
    return content


def _told(answer: str, name: str) -> str:
    found = re.search(f"<{name}>(.*?)</{name}>", answer)
    assert found is not None, answer
    return found[1]
