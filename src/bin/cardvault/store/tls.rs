//! TLS to a database: rustls, with the ciphers that the command brings.
#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::failure::{Failure, Outcome};

/// Trusts servers whose certificate one of the authorities in the file at `path` vouches for.
pub(super) fn config(path: &Path) -> Outcome<Arc<ClientConfig>> {
    let what = || path.display().to_string();
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| Failure::files(what(), error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| Failure::files(what(), error))?;
        roots
            .add(certificate)
            .map_err(|error| Failure::files(what(), error))?;
    }
    if roots.is_empty() {
        return Err(Failure::files(what(), "no certificate stands there")
            .hint("give the authority's certificate in PEM"));
    }
    let provider = Arc::new(rustls_graviola::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| Failure::files("TLS", error))?;
    Ok(Arc::new(
        config.with_root_certificates(roots).with_no_client_auth(),
    ))
}
