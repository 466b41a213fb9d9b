//! What each operation takes on the device, in bytes of stack and in instructions, and whether the
//! instructions are the same for every secret.
#![no_std]
#![no_main]

use core::fmt::Write;
use core::hint::black_box;

use cardvault::card::{CardData, CardRecord, Pan, TruncationFormat, luhn};
use cardvault::ff1::Ff1;
use cardvault::fingerprint::Fingerprinter;
use cardvault::journal::{
    ChainKey, Entry, FRAME_MAX_LEN, FlashState, Identity, Journal, MemoryFlash,
};
use cardvault::keys::{Component, Cryptoperiod, Domain, Kek, KeyRing, KeyUse, RingMark};
use cardvault::seal::{
    Binding, MAX_SEALED_RING, NonceSource, Opener, SEALED_RECORD_LEN, Sealer,
    open_ring_with_kek_into, seal_ring_with_kek,
};
use cardvault::token::{KeepFirst, KeepLast, Token, Vaultless, VaultlessFormat};
use cardvault::{Secret, UnixSeconds};
use cardvault_firmware::machine::{self, Console, Timer};
use cardvault_firmware::random::Sequence;
use subtle::ConstantTimeEq;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const NUMBER: &[u8] = b"4111111111111111";
/// How many random inputs must take the same count of instructions.
const INPUTS: usize = 1_000;

/// Their length, in digits.
const DIGITS: usize = 16;

/// What the measured ring has keys for: so many, whatever uses are added.
const USES: [KeyUse; 4] = [
    KeyUse::Card,
    KeyUse::Index,
    KeyUse::Vaultless,
    KeyUse::Journal,
];

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    Timer::start();
    let mut meter = Meter::new();
    cards(&mut meter);
    journal(&mut meter);
    let ring = KeyRing::new(RingMark::Production, &mut Sequence(3)).unwrap();
    let ring = filled(ring);
    keys(&mut meter, &ring);
    records(&mut meter, &ring);
    tokens(&mut meter, &ring);
    sealed_ring(&mut meter, &ring);
    drop(ring);
    let mut random = Sequence(4);
    let constant = Constant(&meter);
    constant.leaky_twin(&mut random);
    constant.cards(&mut random);
    constant.ciphers(&mut random);
    machine::exit(0)
}

/// Measures and prints. What an empty operation takes is taken off.
struct Meter {
    stack: u32,
    instructions: u32,
}

impl Meter {
    fn new() -> Self {
        let mut nothing = || {
            black_box(());
        };
        Self {
            stack: machine::stack_of(&mut nothing),
            instructions: Timer::instructions(&mut nothing),
        }
    }

    /// One operation, that can be run twice.
    fn measure<T>(&mut self, name: &str, mut work: impl FnMut() -> T) {
        let mut work = || {
            black_box(work());
        };
        let stack = machine::stack_of(&mut work) - self.stack;
        let instructions = self.instructions(&mut work);
        writeln!(Console, "operation {name} {stack} {instructions}").unwrap();
    }

    fn instructions(&self, work: &mut dyn FnMut()) -> u32 {
        Timer::instructions(work) - self.instructions
    }
}

fn cards(meter: &mut Meter) {
    meter.measure("validate", || Pan::parse(black_box(NUMBER)).is_ok());
    let pan = Pan::parse(NUMBER).unwrap();
    let other = Pan::parse(b"378282246310005").unwrap();
    meter.measure("brand", || black_box(&pan).brand());
    meter.measure("mask", || black_box(&pan).mask());
    meter.measure("truncate", || {
        black_box(&pan)
            .truncate(TruncationFormat::FIRST_6_LAST_4)
            .is_ok()
    });
    meter.measure("compare", || {
        bool::from(black_box(&pan).ct_eq(black_box(&other)))
    });
    let track2 = b";4111111111111111=30121011234567890?";
    meter.measure("track-2", || {
        CardData::from_track2(black_box(track2), &[]).is_ok()
    });
    let track1 = b"%B4111111111111111^DOE/JANE^30121011234567890?";
    meter.measure("track-1", || {
        CardData::from_track1(black_box(track1), &[]).is_ok()
    });
    let emv = b"\x70\x0a\x5a\x08\x41\x11\x11\x11\x11\x11\x11\x11";
    meter.measure("emv", || CardData::from_emv(black_box(emv), &[]).is_ok());
    let record = CardRecord::new(pan);
    meter.measure("record-write", || black_box(&record).to_bytes());
    let bytes = record.to_bytes();
    meter.measure("record-read", || {
        CardRecord::from_bytes(black_box(&bytes)).is_ok()
    });
}

type Log<'a> = MemoryFlash<'a, 4, 2048>;

fn journal(meter: &mut Meter) {
    let mut log = [0xFF; 8192];
    let mut state = [0xFF; 4096];
    let mut random = Sequence(5);
    let record = CardRecord::new(Pan::parse(NUMBER).unwrap());
    let payment = [1; 60];
    let entry = Entry {
        time: NOW,
        payment: &payment,
        truncated: record.pan.truncate(TruncationFormat::FIRST_6_LAST_4).ok(),
        token: b"cvt_1",
        card: Some(&record),
    };
    meter.measure("journal-create", || {
        let identity = Identity::new(b"T0000001", 1, 1).unwrap();
        let key = ChainKey::new(Secret::new([7; 32]), identity);
        let store = FlashState::new(Log::new(&mut state)).unwrap();
        Journal::create(Log::new(&mut log), store, key).is_ok()
    });
    let store = FlashState::new(Log::new(&mut state)).unwrap();
    let mut journal = Journal::open(Log::new(&mut log), store).unwrap();
    journal.append(&entry, &mut random).unwrap();
    meter.measure("journal-append", || {
        journal.append(black_box(&entry), &mut random).is_ok()
    });
    meter.measure("journal-pending", || {
        journal
            .open_pending(black_box(&record), &mut random)
            .unwrap();
        journal.pending().unwrap().unwrap();
        journal.clear_pending().unwrap();
    });
    let mut item = [0; FRAME_MAX_LEN];
    meter.measure("journal-read", || {
        journal.read(black_box(2), &mut item).unwrap().is_some()
    });
    meter.measure("journal-upload", || {
        let mut upload = journal.upload().unwrap();
        while let Some(len) = upload.next(&mut item).unwrap() {
            black_box(len);
        }
    });
    drop(journal);
    meter.measure("journal-open", || {
        let store = FlashState::new(Log::new(&mut state)).unwrap();
        Journal::open(Log::new(&mut log), store).unwrap().count()
    });
}

fn filled(mut ring: KeyRing) -> KeyRing {
    let mut random = Sequence(6);
    for usage in USES {
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, NOW, &mut random).unwrap();
        ring.activate(name, NOW).unwrap();
    }
    ring
}

fn domain() -> Domain {
    Domain::new(b"terminal-1").unwrap()
}

fn keys(meter: &mut Meter, ring: &KeyRing) {
    meter.measure("derive-card-key", || ring.card_key(&domain(), NOW).is_ok());
    meter.measure("derive-journal-key", || {
        ring.journal_key(&domain(), NOW).is_ok()
    });
}

fn records(meter: &mut Meter, ring: &KeyRing) {
    let key = ring.card_key(&domain(), NOW).unwrap();
    let record = CardRecord::new(Pan::parse(NUMBER).unwrap());
    meter.measure("sealer", || Sealer::new(black_box(&key)));
    let sealer = Sealer::new(&key);
    let mut nonces = NonceSource::new(Sequence(7));
    let binding = Binding::default();
    let mut sealed = [0; SEALED_RECORD_LEN];
    meter.measure("seal", || {
        sealer
            .seal(black_box(&record), &binding, NOW, &mut nonces, &mut sealed)
            .is_ok()
    });
    let opener = Opener::new(&ring.card_key_for(&domain(), key.id()).unwrap());
    meter.measure("open", || opener.open(black_box(&sealed), &binding).is_ok());
}

fn tokens(meter: &mut Meter, ring: &KeyRing) {
    let pan = Pan::parse(NUMBER).unwrap();
    let fingerprinter = Fingerprinter::new(&ring.fingerprint_key(&domain(), 1).unwrap());
    meter.measure("fingerprint", || fingerprinter.fingerprint(black_box(&pan)));
    let ff1 = Ff1::new(&Secret::new([1; 32]));
    let mut digits = [1; DIGITS];
    meter.measure("ff1", || {
        ff1.encrypt(black_box(b"tweak"), &mut digits).is_ok()
    });
    let vaultless = vaultless(ring);
    meter.measure("vaultless-tokenize", || {
        vaultless.tokenize(black_box(&pan)).is_ok()
    });
    let token = vaultless.tokenize(&pan).unwrap();
    meter.measure("vaultless-open", || {
        vaultless.open(black_box(&token)).is_ok()
    });
    let text = token.text();
    meter.measure("token-parse", || {
        Token::parse(black_box(text.as_str())).is_ok()
    });
}

fn vaultless(ring: &KeyRing) -> Vaultless {
    let format = VaultlessFormat::new(KeepFirst::None, KeepLast::Four, 16).unwrap();
    Vaultless::new(format, &ring.vaultless_key(&domain(), NOW).unwrap())
}

fn sealed_ring(meter: &mut Meter, ring: &KeyRing) {
    let mut random = Sequence(8);
    let components = [
        Component::random(&mut random).unwrap(),
        Component::random(&mut random).unwrap(),
    ];
    let kek = Kek::combine(&components, None).unwrap();
    // The ring and its sealed form lie in the caller's memory.
    let mut sealed = [0; MAX_SEALED_RING];
    let mut len = 0;
    meter.measure("ring-seal", || {
        len = seal_ring_with_kek(ring, &kek, &mut random, &mut sealed).unwrap();
    });
    // It is opened in place, and measured twice.
    let mut copies = [sealed; 2];
    let mut copies = copies.iter_mut();
    let mut opened = KeyRing::blank();
    meter.measure("ring-open", || {
        let sealed = &mut copies.next().unwrap()[..len];
        open_ring_with_kek_into(sealed, &kek, &mut opened).unwrap();
    });
    assert_eq!(opened.commitment(), ring.commitment());
}

/// Counts instructions for many random secrets.
struct Constant<'a>(&'a Meter);

impl Constant<'_> {
    /// Runs `work` over [`INPUTS`] inputs that `input` makes: every count must be the same.
    fn check<I, T>(&self, name: &str, input: impl FnMut() -> I, work: impl FnMut(&I) -> T) {
        let (least, most) = self.counts(input, work);
        writeln!(Console, "constant {name}: {least} to {most} instructions").unwrap();
        assert_eq!(least, most, "{name} depends on a secret");
    }

    fn counts<I, T>(
        &self,
        mut input: impl FnMut() -> I,
        mut work: impl FnMut(&I) -> T,
    ) -> (u32, u32) {
        let mut counts = (u32::MAX, 0);
        for _ in 0..INPUTS {
            let input = black_box(input());
            let count = self.0.instructions(&mut || {
                black_box(work(&input));
            });
            counts = (counts.0.min(count), counts.1.max(count));
        }
        counts
    }

    /// A comparison that stops at the first difference must be noticed, else nothing is seen.
    fn leaky_twin(&self, random: &mut Sequence) {
        let mut random = random.clone();
        let (least, most) = self.counts(
            || (number(&mut random), number(&mut random)),
            |(one, other)| one == other,
        );
        assert!(least < most, "the leaky twin was not noticed");
    }

    fn cards(&self, random: &mut Sequence) {
        let mut random = random.clone();
        self.check(
            "validate",
            || number(&mut random),
            |number| Pan::parse(number).is_ok(),
        );
        self.check("mask", || pan(&mut random), Pan::mask);
        self.check(
            "compare",
            || (pan(&mut random), pan(&mut random)),
            |(one, other)| bool::from(one.ct_eq(other)),
        );
        self.check(
            "compare-equal",
            || {
                let pan = pan(&mut random);
                (pan.clone(), pan)
            },
            |(one, other)| bool::from(one.ct_eq(other)),
        );
    }

    fn ciphers(&self, random: &mut Sequence) {
        let ring = KeyRing::new(RingMark::Production, &mut random.clone()).unwrap();
        let ring = filled(ring);
        let sealer = Sealer::new(&ring.card_key(&domain(), NOW).unwrap());
        let mut nonces = NonceSource::new(random.clone());
        self.check(
            "seal",
            || CardRecord::new(pan(random)),
            |record| {
                let mut sealed = [0; SEALED_RECORD_LEN];
                let binding = Binding::default();
                sealer
                    .seal(record, &binding, NOW, &mut nonces, &mut sealed)
                    .is_ok()
            },
        );
        let ff1 = Ff1::new(&Secret::random(random).unwrap());
        self.check(
            "ff1",
            || core::array::from_fn::<u8, DIGITS, _>(|_| random.below(10)),
            |digits| {
                let mut digits = *digits;
                ff1.encrypt(b"tweak", &mut digits).is_ok()
            },
        );
        let vaultless = vaultless(&ring);
        self.check(
            "vaultless",
            || pan(random),
            |pan| vaultless.tokenize(pan).is_ok(),
        );
    }
}

/// A number that passes Luhn.
fn number(random: &mut Sequence) -> [u8; DIGITS] {
    let mut ascii: [u8; DIGITS] = core::array::from_fn(|_| b'0' + random.below(10));
    ascii[DIGITS - 1] = b'0' + luhn::check_digit(&ascii[..DIGITS - 1]).unwrap();
    ascii
}

fn pan(random: &mut Sequence) -> Pan {
    Pan::parse(&number(random)).unwrap()
}
