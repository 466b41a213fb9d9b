//! Power goes at every step of a long random run, and at every step of what follows: everything
//! that was acknowledged is there, nothing of a past key is, and no (key, nonce) comes twice.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    unsafe_code
)]

#[path = "support/nor.rs"]
mod nor;
#[path = "support/journal.rs"]
mod support;

use std::collections::HashSet;

use cardvault::Secret;
use cardvault::journal::{
    BATTERY_LEN, BatteryMemory, BatteryState, Cause, ChainKey, FlashState, Journal, JournalError,
    Position, StateStore,
};
use hmac::{Hmac, KeyInit, Mac};
use nor::{Chip, Nor, Shared, world};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use support::{Host, NOW, card, entry, items, report, rng, try_items};

const LOG_WORD: usize = 16;
const LOG_PAGE: usize = 1024;
const LOG_PAGES: usize = 4;
const STATE_WORD: usize = 32;
const STATE_PAGE: usize = 256;

type LogFlash<'a> = Nor<'a, LOG_WORD, LOG_PAGE>;
type StateFlash<'a> = Nor<'a, STATE_WORD, STATE_PAGE>;

/// What keeps the state: pages of flash, or battery-backed memory.
#[derive(Clone)]
enum Kept {
    Pages(Chip),
    Battery(Vec<u8>),
}

impl Kept {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Pages(chip) => &chip.bytes,
            Self::Battery(bytes) => bytes,
        }
    }
}

/// Both stores behind one type, so that one test runs them. Records each state.
struct Store<'a> {
    world: Shared,
    medium: Medium<'a>,
}

enum Medium<'a> {
    Pages(FlashState<StateFlash<'a>>),
    Battery(BatteryState<Battery<'a>>),
}

/// Battery-backed memory under the same power supply: 32 bytes a step, of which any part is
/// written at a cut.
struct Battery<'a> {
    bytes: &'a mut Vec<u8>,
    world: Shared,
}

#[derive(Debug)]
struct Off;

impl BatteryMemory for Battery<'_> {
    type Error = Off;

    fn read(&mut self, offset: usize, out: &mut [u8]) -> Result<(), Off> {
        let mut world = self.world.borrow_mut();
        if world.off || world.read_fails() {
            return Err(Off);
        }
        out.copy_from_slice(&self.bytes[offset..offset + out.len()]);
        Ok(())
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Off> {
        let mut world = self.world.borrow_mut();
        for (at, part) in (offset..).step_by(32).zip(bytes.chunks(32)) {
            if world.off {
                return Err(Off);
            }
            if !world.step() {
                let written = world.below(part.len() as u32 + 1) as usize;
                self.bytes[at..at + written].copy_from_slice(&part[..written]);
                return Err(Off);
            }
            self.bytes[at..at + part.len()].copy_from_slice(part);
        }
        Ok(())
    }
}

impl StateStore for Store<'_> {
    type Error = String;

    fn load(&mut self, out: &mut Secret<224>) -> Result<bool, String> {
        let found = match &mut self.medium {
            Medium::Pages(store) => store.load(out).map_err(|error| format!("{error:?}")),
            Medium::Battery(store) => store.load(out).map_err(|error| format!("{error:?}")),
        }?;
        if found {
            self.world.borrow_mut().record_state(out.expose());
        }
        Ok(found)
    }

    fn store(&mut self, state: &Secret<224>) -> Result<(), String> {
        self.world.borrow_mut().record_state(state.expose());
        match &mut self.medium {
            Medium::Pages(store) => store.store(state).map_err(|error| format!("{error:?}")),
            Medium::Battery(store) => store.store(state).map_err(|error| format!("{error:?}")),
        }
    }
}

/// What survives a cut.
#[derive(Clone)]
struct Terminal {
    log: Chip,
    kept: Kept,
}

type Writer<'a> = Journal<LogFlash<'a>, Store<'a>>;
type Fails = JournalError<nor::NorError, String>;

impl Terminal {
    fn new(state_pages: usize) -> Self {
        let kept = match state_pages {
            0 => Kept::Battery(vec![0; BATTERY_LEN]),
            pages => Kept::Pages(Chip::new(STATE_WORD, STATE_PAGE, pages)),
        };
        Self {
            log: Chip::new(LOG_WORD, LOG_PAGE, LOG_PAGES),
            kept,
        }
    }

    fn parts(&mut self, world: &Shared) -> (LogFlash<'_>, Store<'_>) {
        let world = || world.clone();
        let log = Nor {
            chip: &mut self.log,
            world: world(),
        };
        let medium = match &mut self.kept {
            Kept::Pages(chip) => {
                let chip = Nor {
                    chip,
                    world: world(),
                };
                Medium::Pages(FlashState::new(chip).unwrap())
            }
            Kept::Battery(bytes) => Medium::Battery(BatteryState::new(Battery {
                bytes,
                world: world(),
            })),
        };
        let world = world();
        (log, Store { world, medium })
    }

    fn open(&mut self, world: &Shared) -> Result<Writer<'_>, Fails> {
        let (log, store) = self.parts(world);
        Journal::open(log, store)
    }

    fn create(&mut self, world: &Shared, key: ChainKey) -> Result<Writer<'_>, Fails> {
        let (log, store) = self.parts(world);
        Journal::create(log, store, key)
    }

    fn memory(&self) -> [&[u8]; 2] {
        [&self.log.bytes, self.kept.bytes()]
    }
}

/// What the host and the cashier know.
#[derive(Clone)]
struct Known {
    epoch: u32,
    since: Position,
    /// Payments that were acknowledged and that the host has not confirmed.
    acked: Vec<Vec<u8>>,
    count: u64,
    pending: bool,
    /// The first entry of the open batch, and the number of the card of each of its entries.
    batch: Option<u64>,
    cards: Vec<(u64, usize)>,
    /// The number of the card of the operation that was tried last.
    tried: usize,
    /// It was cut: its entry can be there although it was not acknowledged.
    unsure: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Append,
    AppendNoCard,
    AppendInDoubt,
    Checkpoint,
    OpenPending,
    ClearPending,
    OpenBatch,
    CloseBatch,
    Upload,
    /// A new epoch, once this one is closed and uploaded.
    Renew,
    Restart,
}

fn choose(rng: &mut ChaCha20Rng) -> Op {
    match rng.next_u32() % 24 {
        0..7 => Op::Append,
        7..9 => Op::AppendInDoubt,
        9..11 => Op::AppendNoCard,
        11 => Op::Checkpoint,
        12..14 => Op::OpenPending,
        14 => Op::ClearPending,
        15..17 => Op::OpenBatch,
        17..19 => Op::CloseBatch,
        19..22 => Op::Upload,
        22 => Op::Renew,
        _ => Op::Restart,
    }
}

struct Run {
    host: Host,
    world: Shared,
    rng: ChaCha20Rng,
    written: u64,
}

impl Run {
    fn new(seed: u8) -> Self {
        Self {
            host: Host::new(1),
            world: world(seed),
            rng: rng(seed),
            written: 0,
        }
    }

    fn power(&self, left: Option<u64>) {
        let mut world = self.world.borrow_mut();
        world.left = left;
        world.off = false;
    }

    /// Opens the journal and performs one operation.
    fn act(&mut self, op: Op, terminal: &mut Terminal, known: &mut Known) -> Result<(), Fails> {
        let mut journal = terminal.open(&self.world)?;
        // A cut can have left a closed journal.
        if op != Op::Renew && !journal.is_closed() {
            return self.perform(op, &mut journal, known);
        }
        if known.pending {
            journal.clear_pending()?;
            known.pending = false;
        }
        journal.close_batch()?;
        known.batch = None;
        if !journal.is_closed() {
            if let Err(error) = journal.close(NOW, &mut self.rng) {
                if !matches!(error, JournalError::Full) {
                    return Err(error);
                }
                self.upload(&mut journal, known)?;
                journal.close(NOW, &mut self.rng)?;
            }
            known.count = journal.count();
        }
        self.upload(&mut journal, known)?;
        drop(journal);
        let epoch = known.epoch + 1;
        terminal.create(&self.world, self.host.chain_key(epoch))?;
        *known = self::known(epoch);
        Ok(())
    }

    /// Performs one operation on an open journal.
    fn perform(
        &mut self,
        op: Op,
        journal: &mut Writer<'_>,
        known: &mut Known,
    ) -> Result<(), Fails> {
        self.written += 1;
        known.tried = self.written as usize;
        let payment = self
            .written
            .to_be_bytes()
            .repeat(1 + (self.written % 3) as usize);
        let record = card(self.written as usize);
        match op {
            Op::Append | Op::AppendNoCard | Op::AppendInDoubt => {
                let record = (op != Op::AppendNoCard).then_some(&record);
                let entry = entry(&payment, record);
                let written = if op == Op::AppendInDoubt {
                    journal.append_in_doubt(&entry, &mut self.rng)
                } else {
                    journal.append(&entry, &mut self.rng)
                };
                match written {
                    Ok(sequence) => {
                        if record.is_some() && known.batch.is_some() {
                            known.cards.push((sequence, known.tried));
                        }
                        known.acked.push(payment);
                        known.pending &= op == Op::AppendInDoubt;
                        known.count = journal.count();
                    }
                    Err(JournalError::Full) => self.upload(journal, known)?,
                    Err(error) => return Err(error),
                }
            }
            Op::Checkpoint => match journal.checkpoint(NOW, &mut self.rng) {
                Ok(_) => known.count = journal.count(),
                Err(JournalError::Full) => self.upload(journal, known)?,
                Err(error) => return Err(error),
            },
            Op::OpenPending => match journal.open_pending(&record, &mut self.rng) {
                Ok(()) => {
                    known.pending = true;
                    let open = journal.pending().unwrap().unwrap();
                    assert!(bool::from(open.ct_eq(&record)));
                }
                Err(JournalError::PendingOpen) => assert!(known.pending),
                Err(error) => return Err(error),
            },
            Op::ClearPending => {
                journal.clear_pending()?;
                known.pending = false;
            }
            Op::OpenBatch => match journal.open_batch(&mut self.rng) {
                Ok(()) => {
                    known.batch = journal.batch();
                    known.cards.clear();
                }
                Err(JournalError::PendingOpen) => assert!(known.pending),
                Err(JournalError::BatchOpen) => assert!(known.batch.is_some()),
                Err(error) => return Err(error),
            },
            Op::CloseBatch => match journal.close_batch() {
                Ok(()) => known.batch = None,
                Err(JournalError::PendingOpen) => assert!(known.pending && known.batch.is_some()),
                Err(error) => return Err(error),
            },
            Op::Upload => self.upload(journal, known)?,
            Op::Renew => panic!("not on an open journal"),
            Op::Restart => {}
        }
        Ok(())
    }

    fn upload(&self, journal: &mut Writer<'_>, known: &mut Known) -> Result<(), Fails> {
        let sent = try_items(journal)?.concat();
        let read = self.host.read(known.epoch, &known.since, &sent);
        assert!(read.is_clean(), "{:?}", read.faults);
        let outcome = read.outcome.unwrap();
        // The host keeps first, then answers: a cut may swallow the answer.
        let payments = new_payments(&read);
        assert_eq!(payments[..known.acked.len()], known.acked);
        assert!(payments.len() <= known.acked.len() + usize::from(known.unsure));
        known.since = outcome.position;
        known.acked.clear();
        known.count = journal.count();
        journal.confirm(&outcome.receipt)
    }

    /// After a second cut: what was acknowledged before either is there.
    fn check_twice(&self, terminal: &mut Terminal, known: &Known, op: Op) {
        self.power(None);
        let mut journal = terminal.open(&self.world).unwrap();
        if journal.identity().epoch() != known.epoch {
            assert!(known.acked.is_empty() && journal.count() <= 2);
            return;
        }
        check_batch(&mut journal, known, op);
        let sent = items(&mut journal).concat();
        let read = self.host.read(known.epoch, &known.since, &sent);
        assert!(read.is_clean(), "{op:?}: {:?}", read.faults);
        let payments = new_payments(&read);
        assert_eq!(payments[..known.acked.len()], known.acked, "{op:?}");
        assert!(payments.len() <= known.acked.len() + 2, "{op:?}");
    }

    /// Opens after a cut and holds everything against what is known. `op` was under way.
    fn check(&mut self, terminal: &mut Terminal, known: &mut Known, op: Op) {
        self.power(None);
        let mut journal = terminal.open(&self.world).unwrap();
        if journal.identity().epoch() != known.epoch {
            // Only once the host had all of the one before.
            assert!(known.acked.is_empty());
            *known = self::known(known.epoch + 1);
        }
        let op = if journal.is_closed() { Op::Renew } else { op };
        assert!(
            journal.count() >= known.count,
            "an acknowledged frame is gone"
        );
        assert!(journal.count() <= known.count + 3);
        assert_eq!(journal.recovery().lost, None);
        assert_eq!(journal.recovery().damaged_pages, 0);
        let pending = journal.pending().unwrap().is_some();
        match op {
            Op::OpenPending | Op::ClearPending | Op::Renew => {}
            // The outcome and the slot's end are one step.
            Op::Append | Op::AppendNoCard => assert!(!pending || known.pending),
            _ => assert_eq!(pending, known.pending),
        }
        let sent = items(&mut journal).concat();
        let read = self.host.read(known.epoch, &known.since, &sent);
        assert!(read.is_clean(), "{op:?}: {:?}", read.faults);
        let payments = new_payments(&read);
        assert_eq!(payments[..known.acked.len()], known.acked, "{op:?}");
        assert!(payments.len() <= known.acked.len() + 1, "{op:?}");
        if payments.len() > known.acked.len() {
            assert!(matches!(
                op,
                Op::Append | Op::AppendNoCard | Op::AppendInDoubt
            ));
            if op == Op::Append && known.batch.is_some() {
                known.cards.push((journal.count() - 1, known.tried));
            }
        }
        check_batch(&mut journal, known, op);
        known.acked = payments;
        known.unsure = false;
        known.count = journal.count();
        known.pending = pending;
        known.batch = journal.batch();

        // No key of a slot that was emptied, and none of a batch that was closed.
        let world = self.world.borrow();
        let gone = |key: &&[u8; 32]| world.slot_key.as_ref() != Some(*key);
        let past = world.slot_keys.iter().filter(gone).flat_map(ends).collect();
        assert_eq!(count_in(ram(&journal), &past), 0, "in memory");
        drop(journal);
        for memory in terminal.memory() {
            assert_eq!(count_in(memory, &past), 0, "in flash");
        }
        let present: HashSet<_> = world.slot_key.iter().flat_map(ends).collect();
        assert_eq!(count_in(terminal.kept.bytes(), &present), present.len());
        // The other half of the story: the state says whether there is one.
        assert_eq!(
            world.slot_key.is_some(),
            known.pending || known.batch.is_some()
        );
    }
}

/// The cards of the open batch can be read, and none else. `op` may have been cut.
fn check_batch(journal: &mut Writer<'_>, known: &Known, op: Op) {
    match op {
        Op::OpenBatch | Op::CloseBatch | Op::Renew => {
            let started = op == Op::OpenBatch && journal.batch() == Some(known.count);
            assert!(journal.batch() == known.batch || journal.batch().is_none() || started);
        }
        _ => assert_eq!(journal.batch(), known.batch),
    }
    for &(sequence, at) in &known.cards {
        let opened = journal.batch_card(sequence).unwrap();
        match journal.batch() {
            Some(first) if sequence >= first => {
                assert!(bool::from(opened.unwrap().ct_eq(&card(at))), "{op:?}");
            }
            _ => assert!(opened.is_none(), "{op:?}"),
        }
    }
}

/// The first and the last half of a key.
fn ends(key: &[u8; 32]) -> [[u8; 16]; 2] {
    let (halves, _) = key.as_chunks();
    [halves[0], halves[1]]
}

fn new_payments(read: &support::Read) -> Vec<Vec<u8>> {
    let new = read.frames.iter().filter(|seen| !seen.again);
    new.filter_map(|seen| seen.payment.clone().ok()).collect()
}

fn known(epoch: u32) -> Known {
    Known {
        epoch,
        since: Position::START,
        acked: Vec::new(),
        count: 0,
        pending: false,
        batch: None,
        cards: Vec::new(),
        tried: 0,
        unsure: false,
    }
}

/// Runs `ops` operations; at each of their steps power goes once, and again at each step of the
/// recovery and of the payment after it.
fn cut_everywhere(seed: u8, state_pages: usize, ops: usize) {
    let mut run = Run::new(seed);
    let mut terminal = Terminal::new(state_pages);
    let mut now = known(1);
    terminal.create(&run.world, run.host.chain_key(1)).unwrap();
    let (mut first, mut second, mut batches) = (0_u64, 0_u64, 0);
    for at in 0..ops {
        // A new epoch now and then: the walk along the chain stays short.
        // Batches too begin and end.
        let op = match (at % 40, at % 12) {
            (39, _) => Op::Renew,
            (_, 2) => Op::OpenBatch,
            (_, 10) => Op::ClearPending,
            (_, 11) => Op::CloseBatch,
            _ => choose(&mut run.rng),
        };
        for cut in 0.. {
            let mut after = terminal.clone();
            let mut then = now.clone();
            run.power(Some(cut));
            let result = run.act(op, &mut after, &mut then);
            if result.is_ok() && !run.world.borrow().off {
                // The operation is over before the cut.
                break;
            }
            assert!(run.world.borrow().off, "{op:?} {cut}: {result:?}");
            first += 1;
            then.unsure = true;
            for again in 0.. {
                let mut twice = after.clone();
                let mut later = then.clone();
                run.power(Some(again));
                let result = run.act(Op::Append, &mut twice, &mut later);
                let over = result.is_ok() && !run.world.borrow().off;
                if over {
                    break;
                }
                assert!(run.world.borrow().off);
                second += 1;
                run.check_twice(&mut twice, &later, op);
            }
            run.check(&mut after, &mut then, op);
        }
        run.power(None);
        run.act(op, &mut terminal, &mut now).unwrap();
        batches += u32::from(op == Op::CloseBatch && !now.cards.is_empty());
    }
    let world = run.world.borrow();
    let state_erases = match &terminal.kept {
        Kept::Pages(chip) => chip.erases.clone(),
        Kept::Battery(_) => Vec::new(),
    };
    report(&format!(
        "{first} cuts, {second} more during recovery, {} steps, {} frames, {} slots, no \
         (key, nonce) twice; erases: log {:?}, state {state_erases:?}",
        world.steps,
        world.frames,
        world.slot_nonces.len(),
        terminal.log.erases
    ));
    assert!(batches > 0, "no batch with cards was closed");
}

#[test]
fn power_goes_at_every_step_with_the_state_in_two_pages() {
    cut_everywhere(1, 2, OPS);
}

#[test]
fn power_goes_at_every_step_with_the_state_in_five_pages() {
    cut_everywhere(2, 5, OPS);
}

#[test]
fn power_goes_at_every_step_with_the_state_in_battery_backed_memory() {
    cut_everywhere(3, 0, OPS / 2);
}

/// With debug assertions a step takes several times as long.
const OPS: usize = if cfg!(debug_assertions) { 100 } else { 200 };

/// A chain of cuts, one recovery on top of the other, with everything checked in between.
#[test]
fn a_run_of_nothing_but_cuts() {
    for (seed, pages) in [(4, 2), (5, 3), (6, 0)] {
        let mut run = Run::new(seed);
        let mut terminal = Terminal::new(pages);
        let mut now = known(1);
        terminal.create(&run.world, run.host.chain_key(1)).unwrap();
        let mut cuts = 0;
        let mut burns = 0;
        for _ in 0..10 * OPS {
            let op = choose(&mut run.rng);
            let cut = u64::from(run.rng.next_u32() % if pages == 0 { 200 } else { 60 });
            run.power(Some(cut));
            let mut then = now.clone();
            let result = run.act(op, &mut terminal, &mut then);
            now = then;
            let off = run.world.borrow().off;
            if result.is_err() {
                assert!(off);
                cuts += 1;
            }
            run.check(&mut terminal, &mut now, op);
            burns += u32::from(terminal.open(&run.world).unwrap().recovery().torn);
        }
        assert!(cuts > OPS && burns > 0);
        report(&format!(
            "{cuts} cuts in a row, {burns} times torn frames were there"
        ));
    }
}

/// A torn frame is reported by the next notice, and only then.
#[test]
fn a_torn_frame_is_told_from_an_entry() {
    let mut run = Run::new(7);
    let mut terminal = Terminal::new(2);
    terminal.create(&run.world, run.host.chain_key(1)).unwrap();
    let mut journal = terminal.open(&run.world).unwrap();
    journal.append(&entry(b"one", None), &mut run.rng).unwrap();
    let before = terminal.clone();
    // The first cut that leaves a part of the frame.
    for cut in 0.. {
        terminal = before.clone();
        run.power(Some(cut));
        let mut journal = terminal.open(&run.world).unwrap();
        assert!(journal.append(&entry(b"two", None), &mut run.rng).is_err());
        assert!(matches!(
            journal.append(&entry(b"two", None), &mut run.rng),
            Err(JournalError::Poisoned)
        ));
        run.power(None);
        if terminal.open(&run.world).unwrap().recovery().torn {
            break;
        }
    }
    let mut journal = terminal.open(&run.world).unwrap();
    assert_eq!(journal.count(), 1);
    journal
        .append(&entry(b"three", None), &mut run.rng)
        .unwrap();
    let read = run
        .host
        .read(1, &Position::START, &items(&mut journal).concat());
    assert!(read.is_clean());
    let notice = read.frames[1].payment.clone().unwrap_err();
    assert_eq!(
        (notice.cause, notice.first, notice.count),
        (Cause::Burn, 1, 0)
    );
    assert_eq!(read.payments(), [b"one".to_vec(), b"three".to_vec()]);
    // A deletion by hand is no torn frame: the state says that the frame was there.
    let mut deleted = before;
    let at = deleted
        .log
        .bytes
        .iter()
        .rposition(|&byte| byte != 0xFF)
        .unwrap();
    deleted.log.bytes[at - 60..].fill(0xFF);
    let journal = deleted.open(&run.world).unwrap();
    assert_eq!(journal.recovery().lost, Some((0, 1)));
}

/// HKDF-Expand of one block, written out.
fn expand(key: &[u8; 32], info: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    info.iter().for_each(|part| mac.update(part));
    mac.update(&[1]);
    mac.finalize().into_bytes().into()
}

/// Every 16 bytes of these in `memory`.
fn count_in(memory: &[u8], sought: &HashSet<[u8; 16]>) -> usize {
    memory
        .windows(16)
        .filter(|window| sought.contains::<[u8; 16]>((*window).try_into().unwrap()))
        .count()
}

fn windows_of(secret: &[u8; 32]) -> impl Iterator<Item = [u8; 16]> + '_ {
    secret.windows(16).map(|window| window.try_into().unwrap())
}

/// The memory of the journal's own structure, padding and all.
fn ram<'a>(journal: &'a Writer<'_>) -> &'a [u8] {
    // SAFETY: the structure lives as long as the slice; its bytes are only compared. Padding may
    // hold anything, which is what is looked for.
    unsafe {
        std::slice::from_raw_parts(
            std::ptr::from_ref(journal).cast::<u8>(),
            std::mem::size_of_val(journal),
        )
    }
}

#[test]
fn no_key_of_a_past_entry_is_left_in_flash_or_memory() {
    for pages in [2, 3, 0] {
        let mut run = Run::new(8);
        let mut terminal = Terminal::new(pages);
        let chain_key = run.host.chain_key(1);
        let chain = *chain_key.expose();
        let mut past: HashSet<[u8; 16]> = windows_of(&chain).collect();
        let mut e = expand(&chain, &[b"cardvault/1/journal-first"]);
        let mut a = expand(&chain, &[b"cardvault/1/journal-start"]);
        let mut now = known(1);
        terminal.create(&run.world, chain_key).unwrap();
        assert_eq!(count_in(&terminal.memory().concat(), &past), 0);
        let mut count = 0;
        let mut tears = 0;
        for round in 0..40 {
            if round % 3 == 1 {
                // A frame that is torn on the way.
                let cut = u64::from(run.rng.next_u32() % 20);
                run.power(Some(cut));
                let mut then = now.clone();
                let _ = terminal
                    .open(&run.world)
                    .and_then(|mut j| run.perform(Op::Append, &mut j, &mut then));
                now = then;
                run.power(None);
                run.check(&mut terminal, &mut now, Op::Append);
                tears += 1;
            }
            let mut journal = terminal.open(&run.world).unwrap();
            run.perform(Op::Append, &mut journal, &mut now).unwrap();
            let frames = items(&mut journal);
            while count < journal.count() {
                let number = |item: &&Vec<u8>| item[1] <= 2 && item[12..20] == count.to_be_bytes();
                let frame = frames.iter().find(number).unwrap();
                let tag = &frame[frame.len() - 20..frame.len() - 4];
                past.extend(windows_of(&a));
                a = expand(&e, &[b"cardvault/1/journal-aggregate", &a, tag]);
                past.extend(windows_of(&e));
                past.extend(windows_of(&expand(&e, &[b"cardvault/1/journal-entry"])));
                e = expand(&e, &[b"cardvault/1/journal-next"]);
                count += 1;
            }
            assert_eq!(count_in(ram(&journal), &past), 0, "in memory");
            // The search finds the key that is there.
            let present = windows_of(&e).chain(windows_of(&a)).collect();
            assert!(count_in(ram(&journal), &present) >= 2 * 17);
            drop(journal);
            for memory in terminal.memory() {
                assert_eq!(count_in(memory, &past), 0, "in flash");
            }
            assert!(count_in(terminal.kept.bytes(), &present) >= 2 * 17);
        }
        assert!(tears > 10 && count > 30);
    }
}

/// Old images put back, and the same chain key provisioned again: the numbers come again, the
/// (key, nonce) pairs do not. The simulator's record asserts it at each write.
#[test]
fn restored_and_provisioned_again_no_key_and_nonce_comes_twice() {
    let mut run = Run::new(11);
    let mut terminal = Terminal::new(3);
    let mut now = known(1);
    terminal.create(&run.world, run.host.chain_key(1)).unwrap();
    let mut images = vec![(terminal.clone(), now.clone())];
    let mut batches = 0;
    for round in 0..80 {
        if round % 5 == 4 {
            let at = run.rng.next_u32() as usize % images.len();
            (terminal, now) = images[at].clone();
        }
        if round % 20 == 19 {
            terminal = Terminal::new(3);
            now = known(1);
            terminal.create(&run.world, run.host.chain_key(1)).unwrap();
        }
        // A batch is open most of the time, and a payment half of it.
        let ops = match round % 10 {
            3 => [Op::ClearPending, Op::CloseBatch, Op::OpenBatch],
            0 | 6 => [Op::OpenPending, Op::Checkpoint, Op::Append],
            _ => [Op::OpenPending, Op::Append, Op::OpenPending],
        };
        for op in ops {
            run.act(op, &mut terminal, &mut now).unwrap();
        }
        batches += u32::from(now.batch.is_some());
        images.push((terminal.clone(), now.clone()));
    }
    assert!(batches > 20, "{batches}");
    let world = run.world.borrow();
    assert_eq!(world.nonces.len() as u64, world.frames);
    let numbers: HashSet<_> = world.nonces.iter().map(|used| &used[..16]).collect();
    assert!(numbers.len() < world.nonces.len(), "no number came again");
}

#[test]
fn a_generator_that_stands_still_is_refused() {
    struct Still;
    impl rand_core::TryRng for Still {
        type Error = core::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(7)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(7)
        }
        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
            out.fill(7);
            Ok(())
        }
    }
    impl rand_core::TryCryptoRng for Still {}
    let run = Run::new(10);
    let mut terminal = Terminal::new(2);
    terminal.create(&run.world, run.host.chain_key(1)).unwrap();
    let mut journal = terminal.open(&run.world).unwrap();
    journal.append(&entry(b"", None), &mut Still).unwrap();
    let mut journal = terminal.open(&run.world).unwrap();
    let refused = |result| {
        let repeated = JournalError::Random(cardvault::RandomError::Repeated);
        assert_eq!(result, Err::<(), Fails>(repeated));
    };
    refused(journal.append(&entry(b"", None), &mut Still).map(drop));

    // In a batch, the pending slot and the copies share a key.
    terminal = Terminal::new(2);
    terminal.create(&run.world, run.host.chain_key(2)).unwrap();
    let mut journal = terminal.open(&run.world).unwrap();
    journal.open_batch(&mut Still).unwrap();
    journal.open_pending(&card(0), &mut Still).unwrap();
    let record = card(1);
    refused(
        journal
            .append(&entry(b"", Some(&record)), &mut Still)
            .map(drop),
    );
    journal.clear_pending().unwrap();
    refused(journal.open_pending(&record, &mut Still));
}

/// Each read of each operation fails once: the call fails, nothing is lost.
#[test]
fn every_read_that_fails_loses_nothing() {
    for (seed, pages) in [(12, 2), (13, 0)] {
        let mut run = Run::new(seed);
        let mut terminal = Terminal::new(pages);
        let mut now = known(1);
        terminal.create(&run.world, run.host.chain_key(1)).unwrap();
        let mut failures = 0;
        for _ in 0..OPS {
            let op = choose(&mut run.rng);
            for read in 0.. {
                let mut after = terminal.clone();
                let mut then = now.clone();
                run.world.borrow_mut().read_left = Some(read);
                let result = run.act(op, &mut after, &mut then);
                let failed = run.world.borrow_mut().read_left.take().is_none();
                assert_eq!(result.is_err(), failed, "{op:?} {read}: {result:?}");
                run.check(&mut after, &mut then, op);
                if !failed {
                    break;
                }
                failures += 1;
            }
            run.act(op, &mut terminal, &mut now).unwrap();
        }
        report(&format!("{failures} reads failed, nothing was lost"));
    }
}

/// Reads that fail now and then: calls fail, nothing is lost.
#[test]
fn failing_reads_lose_nothing() {
    let mut run = Run::new(11);
    let mut terminal = Terminal::new(3);
    let mut now = known(1);
    terminal.create(&run.world, run.host.chain_key(1)).unwrap();
    let mut failures = 0;
    for _ in 0..100 {
        run.world.borrow_mut().read_errors = 25;
        let mut then = now.clone();
        let result = terminal
            .open(&run.world)
            .and_then(|mut journal| run.perform(Op::Append, &mut journal, &mut then));
        now = then;
        failures += u32::from(result.is_err());
        run.world.borrow_mut().read_errors = 0;
        run.check(&mut terminal, &mut now, Op::Append);
        if now.acked.len() > 2 {
            let mut journal = terminal.open(&run.world).unwrap();
            run.upload(&mut journal, &mut now).unwrap();
        }
    }
    assert!(failures > 10 && failures < 100, "{failures}");
}
