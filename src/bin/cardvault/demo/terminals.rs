//! The demo's terminals: three of them, on three media, take a day's payments.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use cardvault::journal::{BatteryState, FileFlash, FlashState, StateStore};
use embedded_storage::nor_flash::NorFlash;

use super::cards::{AMEX, DISCOVER, JCB, MAESTRO, MASTERCARD, SHOWN, UNIONPAY};
use super::centre::Centre;
use super::chip::{Battery, Chip, Power};
use super::host::Host;
use super::outage::power_cut;
use super::paper::Paper;
use super::receipt::Receipt;
use super::till::{Numbers, Open, Purchase, Till};
use super::{failed, story, told};
use crate::failure::{Failure, Outcome};
use crate::files::owner_folder;

/// Where the terminals' files are.
const FOLDER: &str = "terminals";
const LOG_PAGES: usize = 8;
const STATE_PAGES: usize = 4;

/// The terminals at the end of their day.
pub(super) struct Fleet {
    pub(super) counter: Till<Chip, FlashState<Chip>>,
    pub(super) cafe: Till<FileFlash, FlashState<FileFlash>>,
    pub(super) stall: Till<Chip, BatteryState<Battery>>,
    /// What the cafe's terminal uploaded at noon.
    pub(super) noon: Vec<u8>,
    /// The counter's chips: log and state.
    pub(super) chips: (Chip, Chip),
    pub(super) stall_memory: (Chip, Battery),
    /// What the counter's chips held before its first payment.
    pub(super) blank: Vec<Vec<u8>>,
}

impl Fleet {
    /// Copies of what chips hold go to files, beside those of the cafe's terminal.
    pub(super) fn keep(&self, folder: &Path) -> Outcome<()> {
        let files = folder.join(FOLDER);
        for (name, image) in [
            ("T0000001.log", self.chips.0.image()),
            ("T0000001.state", self.chips.1.image()),
            ("T0000003.log", self.stall_memory.0.image()),
            ("T0000003.battery", self.stall_memory.1.image()),
        ] {
            let path = files.join(name);
            fs::write(&path, image).map_err(Failure::at(&path))?;
        }
        Ok(())
    }
}

/// Three terminals are given their keys and take a day's payments.
pub(super) fn day(
    paper: &mut Paper,
    host: &Host,
    centre: &mut Centre,
    folder: &Path,
) -> Outcome<Fleet> {
    story::set(1, 10, 0);
    paper.chapter(
        "The terminals",
        "each has one key of its own, replaced with every entry; it can write cards, not read them",
    )?;
    let power = Power::default();
    let chips = (Chip::new(LOG_PAGES, &power), Chip::new(STATE_PAGES, &power));
    let numbers = Numbers::new("T0000001", 100)?;
    let state = FlashState::new(chips.1.clone()).map_err(failed("state"))?;
    let key = host.chain_key(&numbers.terminal)?;
    let mut counter = Till::new(numbers, chips.0.clone(), state, key)?;
    let blank = vec![chips.0.image(), chips.1.image()];
    paper.line(
        "   T0000001  its journal in NOR flash (simulated), its state in pages of another chip",
    )?;

    let files = folder.join(FOLDER);
    owner_folder(&files).map_err(Failure::at(&files))?;
    let open = |name: &str, pages| FileFlash::open(files.join(name), pages).map_err(failed(name));
    let (log, state) = (open("T0000002.log", 8)?, open("T0000002.state", 4)?);
    let numbers = Numbers::new("T0000002", 200)?;
    let state = FlashState::new(state).map_err(failed("state"))?;
    let key = host.chain_key(&numbers.terminal)?;
    let mut cafe = Till::new(numbers, log, state, key)?;
    paper.line("   T0000002  its journal in a file, its state in another")?;

    let stall_memory = (Chip::new(LOG_PAGES, &Power::default()), Battery::new());
    let numbers = Numbers::new("T0000003", 300)?;
    let state = BatteryState::new(stall_memory.1.clone());
    let key = host.chain_key(&numbers.terminal)?;
    let mut stall = Till::new(numbers, stall_memory.0.clone(), state, key)?;
    paper.line(
        "   T0000003  its journal in NOR flash (simulated), its state in battery-backed memory",
    )?;

    let mut book = Book::new(centre);
    let sale = book.take(&mut counter, &Purchase::card("128.00", SHOWN))?;
    let sold = story::now();
    book.take(&mut counter, &Purchase::card("300.00", UNIONPAY))?;
    let order = book.take(&mut counter, &Purchase::qr("45.00", "ORDER-20117"))?;
    let ordered = story::now();
    book.take(&mut cafe, &Purchase::card("35.00", AMEX))?;
    book.take(&mut cafe, &Purchase::card("210.00", JCB))?;
    let noon = cafe.items(0)?.concat();
    book.take(&mut cafe, &Purchase::card("89.00", DISCOVER).unanswered())?;
    book.take(&mut cafe, &Purchase::qr("12.50", "ORDER-20118"))?;
    book.take(&mut stall, &Purchase::card("58.00", MASTERCARD))?;
    for _ in 0..5 {
        book.take(&mut stall, &Purchase::card("9.90", MAESTRO))?;
    }
    story::pass(20);
    paper.table(HEAD, &book.rows)?;
    let card = sale.card.map(|card| card.pan.mask());
    let card = card.as_ref().map(|mask| mask.as_str());
    paper.receipts(&[
        Receipt::payment(&sale.fields, sold, card)?,
        Receipt::payment(&order.fields, ordered, None)?,
    ])?;
    let counter = power_cut(paper, centre, counter, &chips, &power)?;
    Ok(Fleet {
        counter,
        cafe,
        stall,
        noon,
        chips,
        stall_memory,
        blank,
    })
}

/// The day's payments, as they are shown.
struct Book<'a> {
    centre: &'a mut Centre,
    rows: Vec<[String; 7]>,
}

const HEAD: [&str; 7] = [
    "TERMINAL",
    "ENTRY",
    "VOUCHER",
    "KIND",
    "AMOUNT",
    "PAID WITH",
    "CENTRE",
];

impl<'a> Book<'a> {
    const fn new(centre: &'a mut Centre) -> Self {
        let rows = Vec::new();
        Self { centre, rows }
    }

    fn take<F: NorFlash, S: StateStore>(
        &mut self,
        till: &mut Till<F, S>,
        purchase: &Purchase,
    ) -> Outcome<Open> {
        story::pass(1);
        let before = till.journal.count();
        let open = till.pay(self.centre, purchase)?;
        let acknowledged = till.journal.count() == before + 1;
        told(acknowledged, "the entry is acknowledged")?;
        let fields = &open.fields;
        let with = match (&open.card, fields.order) {
            (Some(card), _) => card.pan.mask().as_str().to_owned(),
            (None, Some(order)) => order.to_string(),
            (None, None) => "-".to_owned(),
        };
        let answer = match (fields.response, fields.rrn) {
            (Some(code), Some(rrn)) => format!("{code} {rrn}"),
            _ => "no answer".to_owned(),
        };
        self.rows.push([
            fields.terminal.to_string(),
            before.to_string(),
            fields.voucher.to_string(),
            fields.kind.to_string(),
            fields.amount.to_string(),
            with,
            answer,
        ]);
        Ok(open)
    }
}
