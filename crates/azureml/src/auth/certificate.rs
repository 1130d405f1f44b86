//! The certificate of an application, which signs that the application is itself.
//!
//! Source: "Microsoft identity platform application authentication certificate credentials": a JSON web token that is
//! signed with PS256 and names the certificate by its SHA-256 (`x5t#S256`).

use crate::error::{Error, Result};
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// How long a signed text is good for, in seconds. It is used at once.
const LIFETIME: u64 = 600;

/// Forms that hold their keys behind a password. The crates that open them bring 48 others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Locked {
    /// A `.pfx` or `.p12` file (RFC 7292), whether it has a password or not.
    Pkcs12,
    /// PEM with an encrypted key.
    Pem,
}

impl Locked {
    fn of(content: &[u8]) -> Option<Locked> {
        if content.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED) {
            return Some(Locked::Pem);
        }
        // A SEQUENCE, of any length, that begins with the INTEGER 3: the version.
        let [0x30, length, rest @ ..] = content else { return None };
        let further = if length & 0x80 == 0 { 0 } else { usize::from(length & 0x7f) };
        rest.get(further..)?.starts_with(&[2, 1, 3]).then_some(Locked::Pkcs12)
    }

    fn refusal(self, path: &Path) -> Error {
        let from = path.display();
        let to = path.with_extension("unlocked.pem");
        let to = to.display();
        let (form, convert) = match self {
            Locked::Pkcs12 => ("a PKCS#12 file", format!("openssl pkcs12 -in '{from}' -nodes -out '{to}'")),
            Locked::Pem => (
                "PEM with an encrypted key",
                format!("(openssl x509 -in '{from}'; openssl pkey -in '{from}') > '{to}'"),
            ),
        };
        Error::Certificate { path: path.to_owned(), form, convert }
    }
}

/// Stands in the first line of an encrypted key, in its older form in the second.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// A certificate with its private key.
pub struct Certificate {
    key: RsaKeyPair,
    /// In base64.
    thumbprint: String,
}

impl Certificate {
    /// Reads a PEM file that has both.
    ///
    /// # Errors
    /// It cannot be read, lacks one of them, has another kind of key, or is in a form that needs a password.
    pub async fn read(path: &Path) -> Result<Certificate> {
        let text = tokio::fs::read(path).await.map_err(|source| Error::Io {
            action: "read the certificate",
            path: path.into(),
            source,
        })?;
        if let Some(locked) = Locked::of(&text) {
            return Err(locked.refusal(path));
        }
        Certificate::parse(&text).ok_or_else(|| Error::Invalid {
            what: "the certificate",
            value: path.display().to_string(),
            expected: "expected a PEM file with a certificate and its RSA key, without a password",
        })
    }

    fn parse(text: &[u8]) -> Option<Certificate> {
        let certificate = CertificateDer::from_pem_slice(text).ok()?;
        let key = match PrivateKeyDer::from_pem_slice(text).ok()? {
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok()?,
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).ok()?,
            _ => return None,
        };
        Some(Certificate { key, thumbprint: URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate)) })
    }

    /// A text that only the owner of the certificate can sign: that the application asks `audience` for a token, now.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn assertion(&self, audience: &str, client_id: &str, now: SystemTime) -> Result<Secret> {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint});
        let claims = json!({"aud": audience, "iss": client_id, "sub": client_id, "jti": uuid::Uuid::new_v4().to_string(),
            "iat": seconds, "nbf": seconds, "exp": seconds + LIFETIME});
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        let random = SystemRandom::new();
        self.key.sign(&RSA_PSS_SHA256, &random, signed.as_bytes(), &mut signature).map_err(|_| {
            Error::Invalid {
                what: "the key of the certificate of",
                value: client_id.into(),
                expected: "expected one that can sign",
            }
        })?;
        Ok(Secret::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}
