//! A disk in memory that can lose power and fail: a backend for the embedded store's engine that
//! records every write and sync.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use redb::StorageBackend;

/// What is torn apart when power goes: a device writes a sector or does not.
const SECTOR: usize = 512;

/// One call that changes the disk.
#[derive(Clone, Debug)]
pub enum Op {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
    Sync,
}

/// Which call fails, counted from when the fault is set, and how.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub call: Call,
    /// 0 is the next one.
    pub nth: usize,
    pub kind: ErrorKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Read,
    Write,
    SetLen,
    Sync,
}

/// Handles on one disk.
#[derive(Clone, Debug)]
pub struct Disk(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    log: Vec<Op>,
    fault: Option<Fault>,
    failed: usize,
    holds_syncs: bool,
    held: usize,
    syncs: usize,
}

impl Disk {
    pub fn new(bytes: Vec<u8>) -> Self {
        let state = State {
            bytes,
            ..State::default()
        };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    /// The number of calls so far that changed the disk.
    pub fn position(&self) -> usize {
        self.state().log.len()
    }

    pub fn log(&self) -> Vec<Op> {
        self.state().log.clone()
    }

    pub fn syncs(&self) -> usize {
        self.state().syncs
    }

    pub fn set_fault(&self, fault: Fault) {
        self.state().fault = Some(fault);
    }

    /// How many calls have failed, and no fault from now on.
    pub fn clear_fault(&self) -> usize {
        let mut state = self.state();
        state.fault = None;
        state.failed
    }

    /// Holds every sync until [`Self::release`].
    pub fn hold_syncs(&self) {
        self.state().holds_syncs = true;
    }

    /// Waits until a sync is held.
    pub fn wait_for_held(&self) {
        let mut state = self.state();
        while state.held == 0 {
            state = self.0.1.wait(state).unwrap();
        }
    }

    pub fn release(&self) {
        self.state().holds_syncs = false;
        self.0.1.notify_all();
    }

    fn call(&self, call: Call) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if let Some(fault) = &mut state.fault
            && fault.call == call
        {
            if fault.nth == 0 {
                let kind = fault.kind;
                state.failed += 1;
                return Err(kind.into());
            }
            fault.nth -= 1;
        }
        Ok(state)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.call(Call::Read)?;
        let start = usize::try_from(offset).unwrap();
        let from = state.bytes.get(start..start + out.len());
        out.copy_from_slice(from.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.call(Call::SetLen)?;
        let op = Op::SetLen(usize::try_from(len).unwrap());
        apply(&mut state.bytes, &op);
        state.log.push(op);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.call(Call::Sync)?;
        state.held += 1;
        self.0.1.notify_all();
        while state.holds_syncs {
            state = self.0.1.wait(state).unwrap();
        }
        state.held -= 1;
        state.syncs += 1;
        state.log.push(Op::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.call(Call::Write)?;
        let op = Op::Write {
            offset: usize::try_from(offset).unwrap(),
            data: data.to_vec(),
        };
        apply(&mut state.bytes, &op);
        state.log.push(op);
        Ok(())
    }
}

/// What becomes of writes that no sync covered.
#[derive(Clone, Copy, Debug)]
pub enum Unsynced {
    Dropped,
    Kept,
    /// Each is dropped, kept or torn, in any order.
    Shuffled,
}

/// The disk after each call, as it may look when power goes there.
pub struct Cuts {
    log: Vec<Op>,
    /// All calls up to the last sync.
    synced: Vec<u8>,
    first_unsynced: usize,
    at: usize,
}

impl Cuts {
    pub fn new(start: Vec<u8>, log: Vec<Op>) -> Self {
        Self {
            log,
            synced: start,
            first_unsynced: 0,
            at: 0,
        }
    }

    /// Goes on by one call. `None` at the end.
    pub fn step(&mut self) -> Option<usize> {
        let op = self.log.get(self.at)?;
        self.at += 1;
        if matches!(op, Op::Sync) {
            for op in &self.log[self.first_unsynced..self.at] {
                apply(&mut self.synced, op);
            }
            self.first_unsynced = self.at;
        }
        Some(self.at)
    }

    pub fn has_unsynced(&self) -> bool {
        self.first_unsynced < self.at
    }

    pub fn image(&self, unsynced: Unsynced, random: &mut ChaCha8Rng) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let mut lost: Vec<&Op> = self.log[self.first_unsynced..self.at].iter().collect();
        match unsynced {
            Unsynced::Dropped => {}
            Unsynced::Kept => lost.into_iter().for_each(|op| apply(&mut bytes, op)),
            Unsynced::Shuffled => {
                for at in (1..lost.len()).rev() {
                    lost.swap(at, below(random, at + 1));
                }
                for op in lost {
                    match below(random, 3) {
                        0 => {}
                        1 => apply(&mut bytes, op),
                        _ => tear(&mut bytes, op, random),
                    }
                }
            }
        }
        bytes
    }
}

pub fn below(random: &mut ChaCha8Rng, bound: usize) -> usize {
    usize::try_from(random.next_u64() % bound as u64).unwrap()
}

fn apply(bytes: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Sync => {}
        Op::SetLen(len) => bytes.resize(*len, 0),
        Op::Write { offset, data } => {
            let end = offset + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset..end].copy_from_slice(data);
        }
    }
}

/// Some sectors of a write, and not the others.
fn tear(bytes: &mut Vec<u8>, op: &Op, random: &mut ChaCha8Rng) {
    let Op::Write { offset, data } = op else {
        return;
    };
    let mut at = 0;
    while at < data.len() {
        let end = (((offset + at) / SECTOR + 1) * SECTOR - offset).min(data.len());
        if random.next_u32() & 1 == 0 {
            let part = Op::Write {
                offset: offset + at,
                data: data[at..end].to_vec(),
            };
            apply(bytes, &part);
        }
        at = end;
    }
}
