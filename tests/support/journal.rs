//! Terminals and hosts for the journal's tests.
#![allow(dead_code, unreachable_pub)]

use cardvault::UnixSeconds;
use cardvault::card::{CardRecord, Pan, TruncationFormat};
use cardvault::journal::{
    ChainKey, Entry, FRAME_MAX_LEN, Fault, Identity, Journal, JournalError, Outcome, Position,
    ReadError, Reading, StateStore,
};
use cardvault::keys::{
    Cryptoperiod, Domain, JournalKey, JournalReadingKey, KeyRing, KeyUse, RingMark,
};
use embedded_storage::nor_flash::{ErrorType, NorFlash};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

pub const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
pub const TERMINAL: &[u8] = b"T0000001";
pub const CARDS: [&str; 4] = [
    "4111111111111111",
    "6205500000000000004",
    "378282246310005",
    "5555555555554444",
];

/// A line for who runs the tests: past the capture of a test's output.
pub fn report(line: &str) {
    use std::io::Write;
    let line = format!("{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

pub fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

pub fn card(at: usize) -> CardRecord {
    CardRecord::new(Pan::parse(CARDS[at % CARDS.len()].as_bytes()).unwrap())
}

/// The host: a ring with one base key.
pub struct Host {
    ring: KeyRing,
    domain: Domain,
}

impl Host {
    pub fn new(seed: u8) -> Self {
        let mut rng = rng(seed);
        let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
        let period = Cryptoperiod::default_of(KeyUse::Journal);
        let name = ring.add(KeyUse::Journal, period, NOW, &mut rng).unwrap();
        ring.activate(name, NOW).unwrap();
        let domain = "fleet-1".parse().unwrap();
        Self { ring, domain }
    }

    pub fn into_ring(self) -> KeyRing {
        self.ring
    }

    pub fn key(&self) -> JournalKey {
        self.ring.journal_key(&self.domain, NOW).unwrap()
    }

    pub fn chain_key(&self, epoch: u32) -> ChainKey {
        self.key().chain_key(TERMINAL, epoch).unwrap()
    }

    pub fn reading_key(&self) -> JournalReadingKey {
        self.ring.journal_key_of(&self.domain, 1).unwrap()
    }

    pub fn identity(epoch: u32) -> Identity {
        Identity::new(TERMINAL, epoch, 1).unwrap()
    }

    pub fn read(&self, epoch: u32, since: &Position, upload: &[u8]) -> Read {
        self.read_as(&Self::identity(epoch), since, upload, false)
    }

    pub fn read_as(
        &self,
        identity: &Identity,
        since: &Position,
        upload: &[u8],
        go_on: bool,
    ) -> Read {
        let mut read = Read::default();
        let key = self.reading_key();
        let mut reading = match Reading::new(&key, identity, since, upload) {
            Ok(reading) => reading,
            Err(ReadError::Fault(fault)) => {
                read.faults.push(fault);
                return read;
            }
            Err(error) => panic!("{error:?}"),
        };
        if go_on {
            reading.go_on();
        }
        while let Some(item) = reading.next() {
            match item {
                Ok(verified) => read.frames.push(Seen {
                    sequence: verified.frame.sequence,
                    payment: match verified.frame.body {
                        cardvault::journal::Body::Payment(part) => Ok(part.payment.to_vec()),
                        cardvault::journal::Body::Notice(notice) => Err(notice),
                    },
                    card: verified
                        .card
                        .map(|card| card.pan.mask().as_str().to_owned()),
                    again: verified.again,
                }),
                Err(ReadError::Fault(fault)) => read.faults.push(fault),
                Err(error) => panic!("{error:?}"),
            }
        }
        read.outcome = reading.outcome();
        read
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub sequence: u64,
    pub payment: Result<Vec<u8>, cardvault::journal::Notice>,
    pub card: Option<String>,
    pub again: bool,
}

#[derive(Debug, Default)]
pub struct Read {
    pub frames: Vec<Seen>,
    pub faults: Vec<Fault>,
    pub outcome: Option<Outcome>,
}

impl Read {
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty() && self.outcome.is_some_and(|outcome| outcome.clean)
    }

    pub fn payments(&self) -> Vec<Vec<u8>> {
        let payments = self.frames.iter().filter_map(|f| f.payment.clone().ok());
        payments.collect()
    }
}

/// An entry of which the payment fields are `payment`.
pub fn entry<'a>(payment: &'a [u8], card: Option<&'a CardRecord>) -> Entry<'a> {
    Entry {
        time: NOW,
        payment,
        truncated: card.map(|card| card.pan.truncate(TruncationFormat::FIRST_6_LAST_4).unwrap()),
        token: b"cvt_1",
        card,
    }
}

/// The upload's items.
pub fn items<F: NorFlash, S: StateStore>(journal: &mut Journal<F, S>) -> Vec<Vec<u8>> {
    try_items(journal).unwrap()
}

/// What goes wrong in a journal over these.
pub type Fails<F, S> = JournalError<<F as ErrorType>::Error, <S as StateStore>::Error>;

pub fn try_items<F: NorFlash, S: StateStore>(
    journal: &mut Journal<F, S>,
) -> Result<Vec<Vec<u8>>, Fails<F, S>> {
    let mut out = [0; FRAME_MAX_LEN];
    let mut items = Vec::new();
    let mut upload = journal.upload()?;
    while let Some(len) = upload.next(&mut out)? {
        items.push(out[..len].to_vec());
    }
    Ok(items)
}

/// CRC-32 (IEEE 802.3), one bit at a time.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ ((crc & 1) * 0xEDB8_8320)
        })
    })
}
