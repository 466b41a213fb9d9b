//! `stats`: over all rows of a vault.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use cardvault::vault::VaultStats;
use serde_json::{Value, json};

use crate::args::Stats;
use crate::failure::{Exit, Failure, Outcome};
use crate::folder::{Folder, show_mark};

pub(crate) fn stats(args: &Stats) -> Outcome<Exit> {
    let folder = Folder::open(&args.vault)?;
    let ring = folder.ring()?;
    show_mark(&ring);
    let vault = folder.vault(ring)?;
    let stats = vault
        .stats()
        .map_err(|error| Failure::vault("stats", error))?;
    if args.json {
        crate::show(&format!("{:#}\n", stats_json(&stats)))?;
    } else {
        crate::show(&format!("{stats}\n"))?;
    }
    Ok(Exit::Done)
}

fn stats_json(stats: &VaultStats) -> Value {
    let brands: BTreeMap<_, _> = stats
        .by_brand
        .iter()
        .map(|(brand, count)| (brand.to_string(), *count))
        .collect();
    let keys: BTreeMap<_, _> = stats
        .by_key
        .iter()
        .map(|(key, count)| (key.to_string(), *count))
        .collect();
    json!({
        "tokens": stats.tokens,
        "convergent": stats.convergent,
        "expired": stats.expired,
        "unreadable": stats.unreadable,
        "brands": brands,
        "keys": keys,
    })
}
