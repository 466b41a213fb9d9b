//! `stats`: what a vault holds, as tables and as JSON.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;

use cardvault::UnixSeconds;
use cardvault::keys::{KeyName, KeyRing};
use cardvault::ledger::{Ledger, LedgerStats};
use cardvault::vault::{FILE_NAME, VaultStats};
use serde_json::{Map, Value, json};

use crate::args::Stats;
use crate::desk::grid::facts;
use crate::failure::{Exit, Failure, Outcome};
use crate::folder::{Folder, show_mark};
use crate::listing;
use crate::table::{Cell, Look, Side, Table, Tone, bar, bytes, percent, thousands};

/// So many domains have a line of their own in the table.
const DOMAINS: usize = 10;

pub(crate) fn stats(args: &Stats) -> Outcome<Exit> {
    let folder = Folder::open(&args.vault)?;
    let ring = folder.ring()?;
    show_mark(&ring);
    let vault = folder.vault(folder.ring()?)?;
    let failed = |error| Failure::vault("stats", error);
    let tokens = vault.stats().map_err(failed)?;
    let ledger = Ledger::new(vault.vault().clone()).blocking();
    let holdings = Holdings {
        tokens,
        ledger: ledger.stats().map_err(crate::desk::failure)?,
        size: fs::metadata(folder.path().join(FILE_NAME))
            .ok()
            .map(|file| file.len()),
        now: UnixSeconds::now(),
        ring,
    };
    if args.json {
        crate::show(&format!("{:#}\n", holdings.json()))?;
    } else {
        crate::show(&holdings.table(Look::of_stdout()))?;
    }
    Ok(Exit::Done)
}

/// All that is told.
struct Holdings {
    tokens: VaultStats,
    ledger: LedgerStats,
    /// Of the file on disk, if there is one, in bytes.
    size: Option<u64>,
    ring: KeyRing,
    now: UnixSeconds,
}

impl Holdings {
    fn table(&self, look: Look) -> String {
        let (tokens, ring) = (&self.tokens, &self.ring);
        let state = format!("{}, generation {}", ring.mark(), ring.generation());
        let mut text = facts(&[
            ("ring", Some(ring.id().to_string())),
            ("", Some(state)),
            (
                "size",
                self.size.map(|size| format!("{} on disk", bytes(size))),
            ),
        ]);
        text.push('\n');
        let mut table = Counts::new(look);
        table.section("TOKENS", tokens.tokens);
        table.row("all", tokens.tokens, Tone::Plain);
        table.row("convergent", tokens.convergent, Tone::Plain);
        table.row("expired", tokens.expired, Tone::Plain);
        let unreadable = match tokens.unreadable {
            0 => Tone::Plain,
            _ => Tone::Bad,
        };
        table.row("unreadable", tokens.unreadable, unreadable);
        table.section("BY BRAND", tokens.tokens);
        table.largest(&tokens.by_brand);
        table.section("BY KEY", tokens.tokens);
        for (name, count) in &tokens.by_key {
            table.row(self.key(*name), *count, self.key_tone(*name));
        }
        table.section("BY INDEX VERSION", tokens.tokens);
        for (version, count) in &tokens.by_index {
            table.row(format!("index-{version}"), *count, Tone::Plain);
        }
        table.section("BY DOMAIN", tokens.tokens);
        table.largest(&tokens.by_domain);
        table.section("LEDGER", 0);
        table.row("payments", self.ledger.payments, Tone::Plain);
        table.row("requests", self.ledger.requests, Tone::Plain);
        table.row("events", self.ledger.events, Tone::Plain);
        text.push_str(&table.table.show(look));
        let due = listing::due(ring, self.now);
        if !due.is_empty() {
            text.push('\n');
        }
        text + &listing::due_lines(&due, self.now, look)
    }

    /// A version and its state, if it is not the active one.
    fn key(&self, name: KeyName) -> String {
        match self.ring.info(name) {
            Ok(info) if !info.state.may_seal() => format!("{name} {}", info.state),
            _ => name.to_string(),
        }
    }

    fn key_tone(&self, name: KeyName) -> Tone {
        let info = self.ring.info(name);
        info.map_or(Tone::Plain, |info| listing::tone(info.state))
    }

    fn json(&self) -> Value {
        let tokens = &self.tokens;
        let due = listing::due(&self.ring, self.now);
        json!({
            "ring": self.ring.id().to_string(),
            "mark": self.ring.mark().as_str(),
            "generation": self.ring.generation(),
            "bytes_on_disk": self.size,
            "tokens": tokens.tokens,
            "convergent": tokens.convergent,
            "expired": tokens.expired,
            "unreadable": tokens.unreadable,
            "brands": counts(&tokens.by_brand),
            "keys": counts(&tokens.by_key),
            "index_versions": counts(&tokens.by_index),
            "domains": counts(&tokens.by_domain),
            "ledger": {
                "payments": self.ledger.payments,
                "requests": self.ledger.requests,
                "events": self.ledger.events,
            },
            "due": due.iter().map(|due| listing::due_json(due, self.now)).collect::<Vec<_>>(),
        })
    }
}

fn counts<K: Display>(counts: &BTreeMap<K, u64>) -> Value {
    let counts = counts.iter();
    let fields = counts.map(|(key, count)| (key.to_string(), Value::from(*count)));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// Names and counts in sections; where there is a whole, with shares of it.
struct Counts {
    table: Table<4>,
    look: Look,
    whole: u64,
}

impl Counts {
    fn new(look: Look) -> Self {
        let sides = [Side::Left, Side::Right, Side::Right, Side::Left];
        Self {
            table: Table::new(sides, &[3, 2]),
            look,
            whole: 0,
        }
    }

    fn section(&mut self, head: &str, whole: u64) {
        self.whole = whole;
        self.table.heads([head, "", "", ""]);
    }

    fn row(&mut self, name: impl Into<String>, count: u64, tone: Tone) {
        let bar = match self.whole {
            0 => String::new(),
            whole => bar(count, whole, self.look),
        };
        self.table.row([
            Cell::new(name, tone),
            Cell::plain(thousands(count)),
            Cell::plain(percent(count, self.whole)),
            Cell::new(bar, Tone::Faint),
        ]);
    }

    /// The largest counts, largest first, and the sum of the others.
    fn largest<K: Display>(&mut self, counts: &BTreeMap<K, u64>) {
        let mut counts: Vec<_> = counts.iter().collect();
        // Those of one size stay in the order of their names.
        counts.sort_by_key(|(_, count)| core::cmp::Reverse(**count));
        let (shown, others) = counts.split_at(counts.len().min(DOMAINS));
        for (name, count) in shown {
            self.row(name.to_string(), **count, Tone::Plain);
        }
        if !others.is_empty() {
            let sum = others.iter().map(|(_, count)| **count).sum();
            self.row(
                format!("{} others", thousands(others.len() as u64)),
                sum,
                Tone::Faint,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_vault_holds_in_a_table_and_as_json() {
        use cardvault::card::Brand;
        use cardvault::keys::{Cryptoperiod, KeyUse, RingMark};

        let start = UnixSeconds(1_799_971_200);
        let mut ring = KeyRing::new(RingMark::Development, &mut cardvault::SystemRandom).unwrap();
        let period = Cryptoperiod::new(365 * UnixSeconds::DAY, 1_460 * UnixSeconds::DAY).unwrap();
        for at in [start, start.plus(10 * UnixSeconds::DAY)] {
            let name = ring
                .add(KeyUse::Card, period, at, &mut cardvault::SystemRandom)
                .unwrap();
            ring.activate(name, at).unwrap();
        }
        let card = |version| KeyName::new(KeyUse::Card, version);
        let mut tokens = VaultStats {
            tokens: 1_234_567,
            expired: 12,
            convergent: 1_200_000,
            unreadable: 1,
            ..VaultStats::default()
        };
        tokens.by_brand = [(Brand::Visa, 1_000_000), (Brand::UnionPay, 234_567)].into();
        tokens.by_key = [(card(1), 34_566), (card(2), 1_200_000)].into();
        tokens.by_index = [(1, 1_234_567)].into();
        for shop in 0..13 {
            let domain = format!("shop-{shop:02}").parse().unwrap();
            tokens
                .by_domain
                .insert(domain, if shop == 7 { 1_234_555 } else { 1 });
        }
        let mut ledger = LedgerStats::default();
        (ledger.payments, ledger.requests, ledger.events) = (12_345, 67, 8_901);
        let holdings = Holdings {
            tokens,
            ledger,
            size: Some(126_353_408),
            now: start.plus(350 * UnixSeconds::DAY),
            ring,
        };
        let look = Look {
            width: 80,
            rich: false,
        };
        let text = holdings.table(look);
        let id = holdings.ring.id().to_string();
        assert_eq!(
            text.replace(&id, "(ring)"),
            include_str!("../../../tests/golden/stats.txt")
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80));
        let text = format!("{:#}\n", holdings.json());
        assert_eq!(
            text.replace(&id, "(ring)"),
            include_str!("../../../tests/golden/stats.json")
        );
    }
}
