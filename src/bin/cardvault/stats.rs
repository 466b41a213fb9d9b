//! `stats` and `rewrap`: over all rows of a vault.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use cardvault::vault::{MAX_BATCH, RowKey, VaultStats};
use serde_json::{Value, json};

use crate::args::{Rewrap, Stats};
use crate::failure::{Exit, Failure, Outcome};
use crate::folder::{Folder, show_mark};
use crate::progress::{Unit, progress};

/// Off a terminal a rewrap says after so many rows where it stands.
const REPORT_ROWS: u64 = 1_000_000;

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

pub(crate) fn rewrap(args: &Rewrap, quiet: bool) -> Outcome<Exit> {
    let mut after = args.after.as_deref().map(read_cursor).transpose()?;
    let folder = Folder::open(&args.vault)?;
    let ring = folder.ring()?;
    show_mark(&ring);
    let vault = folder.vault(ring)?;
    let rows = vault
        .count()
        .map_err(|error| Failure::vault("rewrap", error))?;
    let bar = progress(Some(rows), Unit::Rows, "", quiet);
    let limit = args.limit.unwrap_or(u64::MAX);
    let (mut seen, mut moved, mut left) = (0, 0, 0);
    let mut reported = 0;
    while seen < limit {
        let step = usize::try_from(limit - seen)
            .unwrap_or(MAX_BATCH)
            .min(MAX_BATCH);
        let step = vault.rewrap(after, step).map_err(|error| {
            let failure = Failure::vault("rewrap", error);
            match &after {
                Some(row) => failure.hint(format!("go on with --after {}", cursor(row))),
                None => failure,
            }
        })?;
        seen += step.seen;
        moved += step.moved;
        left += step.left;
        after = step.cursor;
        bar.set_position(seen);
        let Some(row) = &after else { break };
        if bar.is_hidden() && !quiet && seen - reported >= REPORT_ROWS {
            reported = seen;
            crate::say(&format!("{seen} rows; this far: --after {}", cursor(row)));
        }
    }
    bar.finish_and_clear();
    let mut text = format!("rows {seen}\nsealed anew {moved}\nleft {left}\n");
    if let Some(row) = &after {
        text.push_str(&format!("go on with --after {}\n", cursor(row)));
    }
    crate::show(&text)?;
    if left > 0 {
        return Err(Failure::keys(
            "rewrap",
            format!("{left} records could not be opened, or changed meanwhile"),
        )
        .hint("run it again; `cardvault stats` counts what no key opens"));
    }
    Ok(Exit::Done)
}

fn cursor(row: &RowKey) -> String {
    letters(row.as_bytes())
}

fn read_cursor(text: &str) -> Outcome<RowKey> {
    let row = from_letters(text).and_then(|bytes| RowKey::new(&bytes).ok());
    row.ok_or_else(|| Failure::usage("--after", "not a cursor that rewrap printed"))
}

/// Bytes as letters `a` to `p`, one for four bits: no digits, so that none of it can be taken for
/// a card number.
pub(crate) fn letters(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .map(|nibble| char::from(b'a' + nibble))
        .collect()
}

pub(crate) fn from_letters(text: &str) -> Option<Vec<u8>> {
    let nibble = |letter: u8| match letter {
        b'a'..=b'p' => Some(letter - b'a'),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|&[high, low]| Some((nibble(high)? << 4) | nibble(low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_printed() {
        let row = RowKey::new(&[0, 1, 0x7f, 0xff, b'4']).unwrap();
        assert_eq!(cursor(&row), "aaabhpppde");
        assert_eq!(read_cursor("aaabhpppde").unwrap(), row);
        for bad in ["", "a", "aq", "AA", "41", "aaabhpppd"] {
            assert!(read_cursor(bad).is_err(), "{bad}");
        }
    }
}
