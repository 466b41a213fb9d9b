//! Certificates of the test's own, made by the command `openssl`, which Debian's PostgreSQL brings.
#![allow(dead_code, reason = "each test uses its part")]
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// An authority's certificate, and that and the key of a server that it vouches for.
pub(crate) struct Certificates {
    pub(crate) authority: PathBuf,
    pub(crate) server: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// For a server that is called `name`, in files that begin with `prefix` in `folder`.
    pub(crate) fn make(folder: &Path, prefix: &str, name: &str) -> Self {
        let path = |end: &str| folder.join(format!("{prefix}-{end}"));
        let (authority, authority_key) = (path("authority.pem"), path("authority.key"));
        let (request, server, key) = (path("server.csr"), path("server.pem"), path("server.key"));
        let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        openssl(|command| {
            command
                .args(["req", "-x509", "-nodes", "-days", "2"])
                .args(new_key);
            command.args(["-subj", "/CN=test authority", "-keyout"]);
            command.arg(&authority_key).arg("-out").arg(&authority);
        });
        openssl(|command| {
            command.args(["req", "-nodes"]).args(new_key);
            command.args(["-subj", "/CN=test server", "-keyout"]);
            command.arg(&key).arg("-out").arg(&request);
        });
        let extensions = path("extensions");
        let text = format!("basicConstraints=CA:FALSE\nsubjectAltName=DNS:{name}\n");
        std::fs::write(&extensions, text).unwrap();
        openssl(|command| {
            command.args(["x509", "-req", "-days", "2", "-set_serial", "2", "-in"]);
            command
                .arg(&request)
                .arg("-CA")
                .arg(&authority)
                .arg("-CAkey");
            command.arg(&authority_key).arg("-extfile").arg(&extensions);
            command.arg("-out").arg(&server);
        });
        Self {
            authority,
            server,
            key,
        }
    }
}

/// TLS to servers that this authority vouches for.
pub(crate) fn trusting(authority: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority).unwrap())
        .unwrap();
    let provider = Arc::new(rustls_graviola::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

fn openssl(arguments: impl FnOnce(&mut Command)) {
    let mut command = Command::new("openssl");
    arguments(&mut command);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}
