//! Where secrets come from: files, the environment, a terminal. Never arguments.
#![forbid(unsafe_code)]

use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use cardvault::SystemRandom;
use cardvault::keys::{COMPONENT_TEXT_LEN, CheckValue, Component, Kek};
use cardvault::seal::PASSPHRASE_MAX_LEN;
use console::Term;
use zeroize::Zeroizing;

use crate::args::Unlock;
use crate::failure::{Failure, Outcome};
use crate::files::for_owner;

const PASSPHRASE_VARIABLE: &str = "CARDVAULT_PASSPHRASE";

/// What opens and seals a ring.
pub(crate) enum Protector {
    Passphrase(Zeroizing<Vec<u8>>),
    Kek(Kek),
}

impl Unlock {
    /// The passphrase, from the file, the environment or a prompt.
    pub(crate) fn passphrase(&self, is_new: bool) -> Outcome<Protector> {
        if let Some(path) = &self.passphrase_file {
            return read_secret(path, PASSPHRASE_MAX_LEN).map(Protector::Passphrase);
        }
        if let Some(text) = env::var_os(PASSPHRASE_VARIABLE) {
            let bytes = text.into_encoded_bytes();
            return Ok(Protector::Passphrase(Zeroizing::new(bytes)));
        }
        prompt(is_new).map(Protector::Passphrase)
    }

    /// The KEK, from the component files.
    pub(crate) fn kek(&self, expected: Option<CheckValue>) -> Outcome<Protector> {
        let components = self
            .component_file
            .iter()
            .map(|path| read_component(path))
            .collect::<Outcome<Vec<_>>>()?;
        Ok(Protector::Kek(Kek::combine(&components, expected)?))
    }
}

pub(crate) fn read_component(path: &Path) -> Outcome<Component> {
    let text = read_secret(path, COMPONENT_TEXT_LEN)?;
    Component::parse(&text).map_err(|error| {
        Failure::keys(path.display().to_string(), error)
            .hint("a component file holds one line, as `keys components` wrote it")
    })
}

/// Draws a component for each path and writes it there, for its custodian alone.
pub(crate) fn draw_components(paths: &[PathBuf]) -> Outcome<Vec<Component>> {
    paths
        .iter()
        .map(|path| {
            let component = Component::random(&mut SystemRandom)
                .map_err(|error| Failure::keys("component", error))?;
            write_component(path, &component).map_err(Failure::at(path))?;
            Ok(component)
        })
        .collect()
}

fn write_component(path: &Path, component: &Component) -> io::Result<()> {
    let mut options = File::options();
    let mut file = for_owner(options.write(true).create_new(true)).open(path)?;
    component.expose_text(|text| {
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")
    })?;
    file.sync_all()
}

/// Reads a short file whose last line break does not count.
fn read_secret(path: &Path, max: usize) -> Outcome<Zeroizing<Vec<u8>>> {
    let too_long = || {
        Failure::usage(
            path.display().to_string(),
            format!("longer than {max} bytes"),
        )
    };
    // Never grows, so that no copy is left behind.
    let mut bytes = Zeroizing::new(vec![0; max + 3]);
    let mut file = File::open(path).map_err(Failure::at(path))?;
    let mut len = 0;
    loop {
        let rest = bytes.get_mut(len..).unwrap_or_default();
        match file.read(rest).map_err(Failure::at(path))? {
            0 => break,
            read => len += read,
        }
        if len == max + 3 {
            return Err(too_long());
        }
    }
    bytes.truncate(len);
    for ending in [b'\n', b'\r'] {
        if bytes.last() == Some(&ending) {
            bytes.pop();
        }
    }
    if bytes.len() > max {
        return Err(too_long());
    }
    Ok(bytes)
}

fn prompt(is_new: bool) -> Outcome<Zeroizing<Vec<u8>>> {
    let term = Term::stderr();
    let missing = || {
        Failure::usage(
            "passphrase",
            "none was given and there is no terminal to ask on",
        )
        .hint(
            "use --passphrase-file FILE or the variable CARDVAULT_PASSPHRASE; for a production \
             ring --component-file FILE, once for each component",
        )
    };
    if !term.is_term() {
        return Err(missing());
    }
    let ask = |what: &str| -> Outcome<Zeroizing<Vec<u8>>> {
        let asked = term.write_str(what).and_then(|()| term.read_secure_line());
        let text = asked.map_err(|_| missing())?;
        Ok(Zeroizing::new(text.into_bytes()))
    };
    let passphrase = ask("passphrase: ")?;
    if is_new && *ask("once more: ")? != *passphrase {
        return Err(Failure::usage("passphrase", "the two are not the same"));
    }
    Ok(passphrase)
}
