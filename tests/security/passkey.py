"""A security key in software, and its answers to a browser: as thieves and tests have it, it does what it is told."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

from allauth.mfa.models import Authenticator
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData, CollectedClientData

from terminals.models import Person

NAME = "localhost"
TOUCHED, VERIFIED = AuthenticatorData.FLAG.UP, AuthenticatorData.FLAG.UV


class SoftKey:
    """Belongs to `person` from now on."""

    def __init__(self, person: Person) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._id = secrets.token_bytes(16)
        public = ES256.from_cryptography_key(self._private.public_key())
        credential = AttestedCredentialData.create(Aaguid.NONE, self._id, public)
        data = AuthenticatorData.create(_name(), TOUCHED | AuthenticatorData.FLAG.AT, 0, credential)
        client = CollectedClientData.create("webauthn.create", b"x" * 32, f"http://{NAME}")
        made = {"clientDataJSON": client, "attestationObject": AttestationObject.create("none", data, {})}
        self._handle = format(person.pk, "x")
        Authenticator.objects.create(
            user=person, type="webauthn", data={"name": "key", "credential": self._shown(**made)}
        )

    def answer(self, challenge: str, *, is_verified: bool) -> str:
        """To a request of the portal; `is_verified` claims, truly, that its owner gave their PIN or finger."""
        data = AuthenticatorData.create(_name(), TOUCHED | (VERIFIED if is_verified else 0), 1)
        asked = {"type": "webauthn.get", "challenge": challenge, "origin": f"http://{NAME}"}
        client = json.dumps(asked).encode()
        signature = self._private.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        said = self._shown(clientDataJSON=client, authenticatorData=data, signature=signature)
        said["response"]["userHandle"] = websafe_encode(self._handle.encode())
        return json.dumps(said)

    def _shown(self, **response: bytes) -> dict[str, Any]:
        encoded = {name: websafe_encode(value) for name, value in response.items()}
        name = websafe_encode(self._id)
        return {"id": name, "rawId": name, "type": "public-key", "response": encoded}


def _name() -> bytes:
    return hashlib.sha256(NAME.encode()).digest()
