//! Flash that enforces what real NOR flash demands, and loses power at a chosen step.
//!
//! A step is one programmed word or one erased page. At a cut the word being programmed holds
//! anything (nothing, all, or some of the bits), the page being erased likewise, and neither may
//! be programmed before an erase.
#![allow(dead_code, unreachable_pub)]

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read,
    check_write,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The power supply and the records that all parts share.
pub struct World {
    /// Steps until the cut; `None` if there is none.
    pub left: Option<u64>,
    pub steps: u64,
    pub off: bool,
    /// One read in so many fails; 0 if none does.
    pub read_errors: u32,
    /// Reads until the one that fails; `None` if none does.
    pub read_left: Option<u64>,
    pub random: ChaCha20Rng,
    /// (journal id, sequence, nonce) of every frame that was ever begun to be written.
    pub nonces: HashSet<[u8; 28]>,
    pub frames: u64,
    /// The pending slot's or the batch's key in the newest state that was stored or loaded.
    pub slot_key: Option<[u8; 32]>,
    /// Every such key that ever was.
    pub slot_keys: HashSet<[u8; 32]>,
    batch_key: Option<[u8; 32]>,
    /// What was sealed under each (batch or pending key, nonce).
    pub slot_nonces: HashMap<[u8; 44], Vec<u8>>,
}

pub type Shared = Rc<RefCell<World>>;

pub fn world(seed: u8) -> Shared {
    Rc::new(RefCell::new(World {
        left: None,
        steps: 0,
        off: false,
        read_errors: 0,
        read_left: None,
        random: ChaCha20Rng::from_seed([seed; 32]),
        nonces: HashSet::new(),
        frames: 0,
        slot_key: None,
        slot_keys: HashSet::new(),
        batch_key: None,
        slot_nonces: HashMap::new(),
    }))
}

impl World {
    /// One step; `false` if power goes in it.
    pub fn step(&mut self) -> bool {
        self.steps += 1;
        if let Some(left) = &mut self.left {
            if *left == 0 {
                self.off = true;
                return false;
            }
            *left -= 1;
        }
        true
    }

    /// Whether the next read fails.
    pub fn read_fails(&mut self) -> bool {
        if let Some(left) = &mut self.read_left {
            if *left == 0 {
                self.read_left = None;
                return true;
            }
            *left -= 1;
        }
        let rate = self.read_errors;
        rate != 0 && self.below(rate) == 0
    }

    /// A state that is being stored, or that was loaded: its key, and what is sealed under it.
    pub fn record_state(&mut self, state: &[u8; 224]) {
        let (pending, batch) = (state[1] & 2 != 0, state[1] & 8 != 0);
        let key: [u8; 32] = state[160..192].try_into().unwrap();
        self.slot_key = (pending || batch).then_some(key);
        self.batch_key = batch.then_some(key);
        self.slot_keys.extend(self.slot_key);
        if pending {
            // The same record again with each state, and no other.
            let used = used(&key, &state[36..48]);
            let sealed = &state[192..];
            let before = self.slot_nonces.entry(used).or_insert(sealed.to_vec());
            assert_eq!(before, sealed, "a slot's (key, nonce) was used again");
        }
    }

    pub fn below(&mut self, limit: u32) -> u32 {
        self.random.next_u32() % limit
    }

    /// What a word or page holds when power goes while it changes.
    fn undefined(&mut self, old: &[u8], new: &[u8]) -> Vec<u8> {
        match self.below(4) {
            0 => old.to_vec(),
            1 => new.to_vec(),
            2 => {
                let at = self.below(u32::try_from(new.len()).unwrap() + 1) as usize;
                [&new[..at], &old[at..]].concat()
            }
            _ => old
                .iter()
                .zip(new)
                .map(|(old, new)| {
                    let bits = self.random.next_u32().to_le_bytes()[0];
                    (old & bits) | (new & !bits)
                })
                .collect(),
        }
    }

    fn record(&mut self, bytes: &[u8]) {
        if bytes.len() >= 40 && bytes[0] == 1 && (bytes[1] == 1 || bytes[1] == 2) {
            let mut used = [0; 28];
            used[..8].copy_from_slice(&bytes[4..12]);
            used[8..16].copy_from_slice(&bytes[12..20]);
            used[16..].copy_from_slice(&bytes[28..40]);
            self.frames += 1;
            assert!(self.nonces.insert(used), "a (key, nonce) was used again");
            let has_card = bytes[1] == 1 && bytes[40] & 1 == 1;
            if let Some(key) = self.batch_key.filter(|_| has_card) {
                let used = self::used(&key, &bytes[28..40]);
                let before = self.slot_nonces.insert(used, bytes[..20].to_vec());
                assert!(before.is_none(), "a batch's (key, nonce) was used again");
            }
        }
    }
}

fn used(key: &[u8; 32], nonce: &[u8]) -> [u8; 44] {
    [key, nonce].concat().try_into().unwrap()
}

/// What a flash chip holds.
#[derive(Clone)]
pub struct Chip {
    pub bytes: Vec<u8>,
    /// Words that may not be programmed.
    programmed: Vec<bool>,
    pub erases: Vec<u64>,
    word: usize,
    page: usize,
}

impl Chip {
    pub fn new(word: usize, page: usize, pages: usize) -> Self {
        Self {
            bytes: vec![0xFF; page * pages],
            programmed: vec![false; page * pages / word],
            erases: vec![0; pages],
            word,
            page,
        }
    }
}

/// A chip that is plugged in.
pub struct Nor<'a, const WORD: usize, const PAGE: usize> {
    pub chip: &'a mut Chip,
    pub world: Shared,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NorError {
    PowerCut,
    Read,
    Call(NorFlashErrorKind),
}

impl NorFlashError for NorError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl<const WORD: usize, const PAGE: usize> ErrorType for Nor<'_, WORD, PAGE> {
    type Error = NorError;
}

impl<const WORD: usize, const PAGE: usize> ReadNorFlash for Nor<'_, WORD, PAGE> {
    const READ_SIZE: usize = WORD;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorError> {
        check_read(self, offset, bytes.len()).map_err(NorError::Call)?;
        let mut world = self.world.borrow_mut();
        if world.off {
            return Err(NorError::PowerCut);
        }
        if world.read_fails() {
            return Err(NorError::Read);
        }
        let from = offset as usize;
        bytes.copy_from_slice(&self.chip.bytes[from..from + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.chip.bytes.len()
    }
}

impl<const WORD: usize, const PAGE: usize> NorFlash for Nor<'_, WORD, PAGE> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorError> {
        check_erase(self, from, to).map_err(NorError::Call)?;
        let mut world = self.world.borrow_mut();
        for page in from as usize / PAGE..to as usize / PAGE {
            if world.off {
                return Err(NorError::PowerCut);
            }
            let bytes = &mut self.chip.bytes[page * PAGE..(page + 1) * PAGE];
            let words = &mut self.chip.programmed[page * PAGE / WORD..(page + 1) * PAGE / WORD];
            self.chip.erases[page] += 1;
            if !world.step() {
                let undefined = world.undefined(bytes, &[0xFF; PAGE]);
                bytes.copy_from_slice(&undefined);
                words.fill(true);
                return Err(NorError::PowerCut);
            }
            bytes.fill(0xFF);
            words.fill(false);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorError> {
        check_write(self, offset, bytes.len()).map_err(NorError::Call)?;
        let mut world = self.world.borrow_mut();
        if world.off {
            return Err(NorError::PowerCut);
        }
        world.record(bytes);
        for (at, word) in (offset as usize..).step_by(WORD).zip(bytes.chunks(WORD)) {
            let place = &mut self.chip.bytes[at..at + WORD];
            let programmed = &mut self.chip.programmed[at / WORD];
            assert!(!*programmed, "the word at {at} was programmed twice");
            *programmed = true;
            if !world.step() {
                let undefined = world.undefined(place, word);
                place.copy_from_slice(&undefined);
                return Err(NorError::PowerCut);
            }
            place.copy_from_slice(word);
        }
        Ok(())
    }
}
