//! The demo's terminals: three of them, on three media, take a day's payments.
#![forbid(unsafe_code)]

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

/// Three terminals are given their keys and take a day's payments.
pub(super) fn day(
    paper: &mut Paper,
    host: &Host,
    centre: &mut Centre,
    folder: &Path,
) -> Outcome<Fleet> {
    story::set(1, 10, 0);
    let files = folder.join("terminals");
    owner_folder(&files).map_err(Failure::at(&files))?;
    paper.chapter(
        "The terminals",
        "each has one key of its own, replaced with every entry; it can write cards, not read them",
    )?;
    let power = Power::default();
    let chips = (Chip::new(LOG_PAGES, &power), Chip::new(STATE_PAGES, &power));
    let numbers = Numbers::new("T0000001", 100)?;
    let key = host.chain_key(&numbers.terminal)?;
    let state = FlashState::new(chips.1.clone()).map_err(failed("state"))?;
    let mut counter = Till::new(numbers, chips.0.clone(), state, key)?;
    let blank = vec![chips.0.image(), chips.1.image()];

    let open = |name: &str, pages| FileFlash::open(files.join(name), pages).map_err(failed(name));
    let numbers = Numbers::new("T0000002", 200)?;
    let key = host.chain_key(&numbers.terminal)?;
    let state = FlashState::new(open("T0000002.state", 4)?).map_err(failed("state"))?;
    let mut cafe = Till::new(numbers, open("T0000002.log", 8)?, state, key)?;

    let stall_memory = (Chip::new(LOG_PAGES, &Power::default()), Battery::new());
    let numbers = Numbers::new("T0000003", 300)?;
    let key = host.chain_key(&numbers.terminal)?;
    let state = BatteryState::new(stall_memory.1.clone());
    let mut stall = Till::new(numbers, stall_memory.0.clone(), state, key)?;

    let mut rows = Vec::new();
    let sale = take(
        &mut counter,
        centre,
        &mut rows,
        &Purchase::card("128.00", SHOWN),
    )?;
    let sold = story::now();
    take(
        &mut counter,
        centre,
        &mut rows,
        &Purchase::card("300.00", UNIONPAY),
    )?;
    let order = take(
        &mut counter,
        centre,
        &mut rows,
        &Purchase::qr("45.00", "ORDER-20117"),
    )?;
    let ordered = story::now();
    take(&mut cafe, centre, &mut rows, &Purchase::card("35.00", AMEX))?;
    take(&mut cafe, centre, &mut rows, &Purchase::card("210.00", JCB))?;
    let noon = cafe.items(0)?.concat();
    let lost = Purchase {
        answered: false,
        ..Purchase::card("89.00", DISCOVER)
    };
    take(&mut cafe, centre, &mut rows, &lost)?;
    take(
        &mut cafe,
        centre,
        &mut rows,
        &Purchase::qr("12.50", "ORDER-20118"),
    )?;
    take(
        &mut stall,
        centre,
        &mut rows,
        &Purchase::card("58.00", MASTERCARD),
    )?;
    for _ in 0..5 {
        take(
            &mut stall,
            centre,
            &mut rows,
            &Purchase::card("9.90", MAESTRO),
        )?;
    }
    story::pass(20);

    let media = [
        (
            counter.numbers,
            "NOR flash (simulated), state in flash pages",
        ),
        (cafe.numbers, "files, state in a file"),
        (
            stall.numbers,
            "NOR flash (simulated), state in battery-backed memory",
        ),
    ];
    for (numbers, medium) in media {
        paper.line(&format!("   {}  journal in {medium}", numbers.terminal))?;
    }
    paper.table(
        [
            "TERMINAL",
            "ENTRY",
            "VOUCHER",
            "KIND",
            "AMOUNT",
            "PAID WITH",
            "CENTRE",
        ],
        &rows,
    )?;
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

/// One payment, as a row.
fn take<F: NorFlash, S: StateStore>(
    till: &mut Till<F, S>,
    centre: &mut Centre,
    rows: &mut Vec<[String; 7]>,
    purchase: &Purchase,
) -> Outcome<Open> {
    story::pass(1);
    let before = till.journal.count();
    let open = till.pay(centre, purchase)?;
    told(
        till.journal.count() == before + 1,
        "the entry is acknowledged",
    )?;
    let fields = &open.fields;
    let with = match (&open.card, fields.order) {
        (Some(card), _) => card.pan.mask().as_str().to_owned(),
        (None, Some(order)) => order.to_string(),
        (None, None) => "-".to_owned(),
    };
    let answer = match fields.response {
        Some(code) => format!(
            "{code} {}",
            fields.rrn.map(|rrn| rrn.to_string()).unwrap_or_default()
        ),
        None => "no answer".to_owned(),
    };
    rows.push([
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
