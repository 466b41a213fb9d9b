//! `init`: a new vault with one active version of every key.
#![forbid(unsafe_code)]

use std::fmt::Write;

use cardvault::keys::{Cryptoperiod, Kek, KeyRing, KeyUse, RingMark};
use cardvault::seal::Argon2Cost;
use cardvault::{SystemRandom, UnixSeconds};

use crate::args::Init;
use crate::failure::{Exit, Failure, Outcome};
use crate::folder::{Folder, show_mark};
use crate::secrets::{Protector, draw_components};

pub(crate) fn run(args: &Init) -> Outcome<Exit> {
    let cost = cost(args)?;
    let protector = protector(args)?;
    let mark = match protector {
        Protector::Kek(_) => RingMark::Production,
        Protector::Passphrase(_) => RingMark::Development,
    };
    let kek = match &protector {
        Protector::Kek(kek) => Some(kek.check_value()),
        Protector::Passphrase(_) => None,
    };
    let ring = new_ring(mark, UnixSeconds::now())?;
    Folder::create(&args.folder, args.place.place()?, &ring, protector, cost)?;
    show_mark(&ring);

    let mut text = String::new();
    let shown = writeln!(text, "vault  {}", args.folder.display())
        .and_then(|()| writeln!(text, "ring   {} ({mark})", ring.id()));
    shown.map_err(|error| Failure::files("standard output", error))?;
    if let Some(check_value) = kek {
        text.push_str(&format!(
            "KEK    {check_value} (write this check value down)\n"
        ));
    }
    for info in ring.versions() {
        text.push_str(&format!(
            "key    {:<15} {}\n",
            info.name.to_string(),
            info.check_value
        ));
    }
    crate::show(&text)?;
    Ok(Exit::Done)
}

/// A ring with one version of every use, active from `now` on.
pub(crate) fn new_ring(mark: RingMark, now: UnixSeconds) -> Outcome<KeyRing> {
    let mut ring = KeyRing::new(mark, &mut SystemRandom)?;
    for usage in KeyUse::ALL {
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, now, &mut SystemRandom)?;
        ring.activate(name, now)?;
    }
    Ok(ring)
}

fn protector(args: &Init) -> Outcome<Protector> {
    if !args.new_component.is_empty() {
        let components = draw_components(&args.new_component)?;
        return Ok(Protector::Kek(Kek::combine(&components, args.expect_kek)?));
    }
    if !args.unlock.component_file.is_empty() {
        return args.unlock.kek(args.expect_kek);
    }
    args.unlock.passphrase(true)
}

fn cost(args: &Init) -> Outcome<Argon2Cost> {
    match (args.argon2_memory, args.argon2_passes) {
        (None, None) => Ok(Argon2Cost::DEFAULT),
        (memory, passes) => Argon2Cost::new(
            memory.unwrap_or(Argon2Cost::MIN_MEMORY_KIB),
            passes.unwrap_or(Argon2Cost::MIN_PASSES),
            1,
        )
        .map_err(|error| Failure::usage("Argon2id", error)),
    }
}
