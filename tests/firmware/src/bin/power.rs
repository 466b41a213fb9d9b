//! Power cuts while an entry is written: in every step of the flash, and then at every so many
//! instructions. After each the journal opens, says what became of the payment, and goes on.
#![no_std]
#![no_main]

use core::fmt::Write;

use cardvault::Secret;
use cardvault::card::{CardRecord, Pan};
use cardvault::journal::{ChainKey, Entry, FRAME_MAX_LEN, FlashState, Identity, Journal};
use cardvault_firmware::day::{self, Cut};
use cardvault_firmware::kept::{Kept, Supply};
use cardvault_firmware::machine::{self, Console};
use cardvault_firmware::nor::{Chip, LOG_LEN, Nor, STATE_LEN};
use cardvault_firmware::random::Sequence;

/// Between two cuts at an instruction: a prime, so that they fall everywhere.
const INSTRUCTIONS: u32 = 1_499;

#[derive(Clone, Copy, PartialEq)]
enum How {
    Step,
    Instruction,
}

struct Memory {
    how: How,
    cut: u32,
    /// Whether power went in the write.
    went: bool,
    starts: u64,
    /// After how many cuts the payment was in doubt, and after how many its entry stood.
    doubtful: u32,
    written: u32,
    torn: u32,
    log: Chip<LOG_LEN>,
    state: Chip<STATE_LEN>,
}

const FRESH: Memory = Memory {
    how: How::Step,
    cut: 0,
    went: false,
    starts: 0,
    doubtful: 0,
    written: 0,
    torn: 0,
    log: Chip::new(),
    state: Chip::new(),
};

#[unsafe(link_section = ".noinit")]
static mut MEMORY: Kept<Memory> = Kept::new(FRESH);

type Terminal<'a> = Journal<Nor<'a, Supply, LOG_LEN>, FlashState<Nor<'a, Supply, STATE_LEN>>>;

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    // SAFETY: the one reference; nothing runs beside this function.
    let memory = unsafe { &mut *&raw mut MEMORY };
    let memory = memory.get(FRESH);
    memory.starts += 1;
    if memory.went {
        recover(memory);
        memory.went = false;
        memory.cut += 1;
    }
    write_with_cut(memory);
    // The entry was written before the cut came: every place was tried.
    let unit = match memory.how {
        How::Step => "steps of the flash",
        How::Instruction => "instructions",
    };
    writeln!(
        Console,
        "power cuts by {unit}: {}; in doubt {}, written {}, torn {}",
        memory.cut, memory.doubtful, memory.written, memory.torn
    )
    .unwrap();
    assert!(memory.doubtful > 10 && memory.torn > 10 && memory.written > 0);
    assert_eq!(memory.cut, memory.doubtful + memory.written);
    if memory.how == How::Instruction {
        machine::exit(0);
    }
    *memory = FRESH;
    memory.how = How::Instruction;
    machine::reset()
}

fn write_with_cut(memory: &mut Memory) {
    memory.log = Chip::new();
    memory.state = Chip::new();
    let supply = Supply::default();
    let identity = Identity::new(day::TERMINAL, day::EPOCH, day::BASE_VERSION).unwrap();
    let key = ChainKey::new(Secret::new(day::CHAIN_KEY), identity);
    let state = FlashState::new(Nor {
        chip: &mut memory.state,
        power: &supply,
    })
    .unwrap();
    let log = Nor {
        chip: &mut memory.log,
        power: &supply,
    };
    let mut journal = Journal::create(log, state, key).unwrap();
    let mut random = Sequence(memory.starts);
    append(
        &mut journal,
        b"first",
        &card(b"4111111111111111"),
        &mut random,
    );
    let second = card(SECOND);
    journal.open_pending(&second, &mut random).unwrap();
    memory.went = true;
    match memory.how {
        How::Step => supply.arm(Some(memory.cut)),
        How::Instruction => machine::reset_after((memory.cut + 1) * INSTRUCTIONS),
    }
    append(&mut journal, b"second", &second, &mut random);
    machine::no_reset();
}

const SECOND: &[u8] = b"378282246310005";

fn recover(memory: &mut Memory) {
    let supply = Supply::default();
    let state = FlashState::new(Nor {
        chip: &mut memory.state,
        power: &supply,
    })
    .unwrap();
    let log = Nor {
        chip: &mut memory.log,
        power: &supply,
    };
    let mut journal = Journal::open(log, state).unwrap();
    let found = journal.recovery();
    assert_eq!((found.lost, found.damaged_pages), (None, 0));
    let mut random = Sequence(memory.starts);
    match journal.pending().unwrap() {
        Some(card) => {
            assert_eq!(journal.count(), 1);
            assert_eq!(card.pan.mask().as_str(), "378282*****0005");
            append(&mut journal, b"reversal", &card, &mut random);
            memory.doubtful += 1;
        }
        None => {
            assert_eq!(journal.count(), 2);
            memory.written += 1;
        }
    }
    memory.torn += u32::from(found.torn);
    assert_eq!(journal.recovery(), Default::default());
    let mut item = [0; FRAME_MAX_LEN];
    let first = journal.read(0, &mut item).unwrap().unwrap();
    assert_eq!(first.sequence, 0);
    let mut items = 0;
    let count = journal.count();
    let mut upload = journal.upload().unwrap();
    while upload.next(&mut item).unwrap().is_some() {
        items += 1;
    }
    // Header and trailer are items, too.
    assert_eq!(items, count + 2);
}

fn card(number: &[u8]) -> CardRecord {
    CardRecord::new(Pan::parse(number).unwrap())
}

fn append(journal: &mut Terminal<'_>, payment: &[u8], card: &CardRecord, random: &mut Sequence) {
    let entry = Entry {
        time: day::OPENING,
        payment,
        truncated: None,
        token: b"",
        card: Some(card),
    };
    journal.append(&entry, random).unwrap();
}
