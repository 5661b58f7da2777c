"""Additional listeners for the local Kafka, for trying out credentials and TLS; the broker itself keeps the plain one."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headrace.cluster.java import Java
from headrace.foundation.errors import UnavailableError

_STORE_WORD = "headrace-local"  # for a key that never leaves this machine
_PATIENCE_SECONDS = 60.0
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """Users and their passwords, valid for PLAIN and both SCRAMs, and the listeners' ports; None: no such listener."""

    users: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    sasl_port: int | None = None
    tls_port: int | None = None
    sasl_tls_port: int | None = None
    unsigned_tokens: bool = False
    """Also OAUTHBEARER with unsigned tokens: the broker believes any name. Only for trying out a client."""

    def listeners(self) -> dict[str, tuple[int, str]]:
        """Name → port and protocol."""
        given = (
            ("SASL_PLAINTEXT", self.sasl_port), ("SSL", self.tls_port), ("SASL_SSL", self.sasl_tls_port),
        )  # fmt: skip
        return {name: (port, name) for name, port in given if port is not None}

    @property
    def with_tls(self) -> bool:
        return self.tls_port is not None or self.sasl_tls_port is not None

    def properties(self, directory: Path) -> dict[str, str]:
        """Lines of server.properties."""
        found: dict[str, str] = {}
        users = " ".join(f'user_{name}="{_quoted(word)}"' for name, word in self.users.items())
        for name, (_, protocol) in self.listeners().items():
            if not protocol.startswith("SASL"):
                continue
            prefix = f"listener.name.{name.lower()}"
            found[f"{prefix}.sasl.enabled.mechanisms"] = ",".join(self._mechanisms())
            found[f"{prefix}.plain.sasl.jaas.config"] = (
                f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
            )
            for mechanism in SCRAM:
                found[f"{prefix}.{mechanism.lower()}.sasl.jaas.config"] = (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                )
            if self.unsigned_tokens:
                found[f"{prefix}.oauthbearer.sasl.jaas.config"] = (
                    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
                    'unsecuredLoginStringClaim_sub="broker";'
                )
        if self.with_tls:
            found |= {"ssl.keystore.type": "PKCS12", "ssl.keystore.location": str(directory / "tls" / "server.p12"),
                      "ssl.keystore.password": _STORE_WORD, "ssl.key.password": _STORE_WORD}  # fmt: skip
        return found

    def _mechanisms(self) -> tuple[str, ...]:
        return ("PLAIN", *SCRAM, "OAUTHBEARER") if self.unsigned_tokens else ("PLAIN", *SCRAM)


def certificate(directory: Path) -> Path:
    """The self-signed certificate as PEM, for a client's `ssl.ca.location`. `directory`: Kafka's."""
    return directory / "tls" / "ca.pem"


def make_certificate(java: Java, directory: Path) -> None:
    """Creates the key and certificate for localhost and 127.0.0.1, once. UnavailableError contains keytool's output."""
    if certificate(directory).exists():
        return
    store = directory / "tls" / "server.p12"
    store.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    store.unlink(missing_ok=True)
    word = ("-keystore", str(store), "-storetype", "PKCS12", "-storepass", _STORE_WORD, "-alias", "kafka")
    _keytool(
        java, "-genkeypair", *word, "-keyalg", "RSA", "-keysize", "2048", "-validity", "3650", "-dname", "CN=localhost",
        "-ext", "SAN=dns:localhost,ip:127.0.0.1", "-ext", "bc:c=ca:true",
    )  # fmt: skip
    fresh = certificate(directory).with_suffix(".new")
    _keytool(java, "-exportcert", *word, "-rfc", "-file", str(fresh))
    fresh.replace(certificate(directory))


def _keytool(java: Java, *arguments: str) -> None:
    done = subprocess.run(
        [java.keytool, *arguments], capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False
    )
    if done.returncode != 0:
        raise UnavailableError(
            f"keytool did not create a certificate: {(done.stdout + done.stderr).strip()[:500]}",
            next_step=f"run {java.keytool} by hand",
        )


def _quoted(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"')
