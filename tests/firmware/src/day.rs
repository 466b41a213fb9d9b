//! A terminal's day: cards are read, payments go into the journal, power is cut twice, a payment
//! in doubt is reversed, one is voided, and the batch is closed and uploaded.
//!
//! The same code runs on the device and in the host's test.

use core::fmt::Write;

use cardvault::card::{CardData, CardRecord, TruncationFormat};
use cardvault::journal::{
    ChainKey, Entry, FRAME_MAX_LEN, FlashState, FlashStateError, Identity, Journal, JournalError,
    PAYMENT_MAX_LEN,
};
use cardvault::payment::{
    Amount, BatchNumber, Currency, MerchantId, OriginalVoucher, PaymentFields, PaymentKind,
    Reference, Stan, TerminalId, Voucher,
};
use cardvault::{Secret, UnixSeconds};

use super::nor::{Chip, LOG_LEN, Nor, NorError, Power, STATE_LEN};
use super::random::Sequence;

/// The terminal.
pub const TERMINAL: &[u8] = b"T0000001";
/// Its epoch.
pub const EPOCH: u32 = 1;
/// Version of the host's base key.
pub const BASE_VERSION: u32 = 1;
/// The merchant.
pub const MERCHANT: &[u8] = b"MERCHANT0000001";
/// When the day begins.
pub const OPENING: UnixSeconds = UnixSeconds(1_800_000_000);

/// What the host gave the terminal: tests/golden/journal-chain-key.hex.
pub const CHAIN_KEY: [u8; 32] = [
    0xb7, 0x97, 0x07, 0x2f, 0x22, 0xca, 0x1a, 0xe4, 0x5c, 0x9b, 0xea, 0x7f, 0x55, 0xe7, 0x05, 0xbe,
    0xb6, 0xb9, 0x57, 0x5c, 0xf4, 0x36, 0x3f, 0xa9, 0xbe, 0x1d, 0x3a, 0x54, 0xcd, 0xca, 0xf0, 0x00,
];

/// How a card is read.
#[derive(Clone, Copy, Debug)]
pub enum Reader {
    /// From the stripe.
    Track2(&'static [u8]),
    /// From the chip.
    Emv(&'static [u8]),
}

/// One payment that the cashier makes.
#[derive(Clone, Copy, Debug)]
pub struct Payment {
    /// What it is.
    pub kind: PaymentKind,
    /// The card that is presented.
    pub reader: Reader,
    /// The amount in fen.
    pub minor: u64,
    /// The voucher number of the sale that it voids.
    pub voids: Option<u32>,
    /// Power goes in this step of writing the entry.
    pub cut: Option<u32>,
}

const fn sale(reader: Reader, minor: u64, cut: Option<u32>) -> Payment {
    Payment {
        kind: PaymentKind::Sale,
        reader,
        minor,
        voids: None,
        cut,
    }
}

/// Power goes while the sixth word of the frame is written.
pub const IN_THE_FRAME: u32 = 5;
/// Power goes when the frame stands, and the state behind it too, but its predecessor is not
/// erased yet.
pub const IN_THE_STATE: u32 = 101;

const VISA: Reader = Reader::Track2(b";4111111111111111=30121011234567890?");

/// The payments of the day.
pub const PAYMENTS: [Payment; 5] = [
    sale(VISA, 12_345, None),
    // UnionPay, 19 digits: tag 57 in a template, and 5F34.
    sale(
        Reader::Emv(
            b"\x70\x17\x57\x11\x62\x05\x50\x00\x00\x00\x00\x00\x00\x4D\x30\x12\x20\x10\x00\x00\x0F\x5F\x34\x01\x01",
        ),
        88_800,
        None,
    ),
    sale(
        Reader::Track2(b";378282246310005=29061011234567890?"),
        5_000,
        Some(IN_THE_FRAME),
    ),
    // Mastercard: tags 5A and 5F24.
    sale(
        Reader::Emv(b"\x70\x10\x5A\x08\x55\x55\x55\x55\x55\x55\x44\x44\x5F\x24\x03\x31\x03\x31"),
        700,
        Some(IN_THE_STATE),
    ),
    Payment {
        kind: PaymentKind::SaleVoid,
        reader: VISA,
        minor: 12_345,
        voids: Some(1),
        cut: None,
    },
];

/// What the application keeps beside the journal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Desk {
    /// The payment that is made or comes next.
    pub next: usize,
    /// Whether it was begun.
    pub begun: bool,
    /// How often power returned.
    pub starts: u32,
}

/// Arms the supply's cut.
pub trait Cut: Power {
    /// Power goes in the step after so many more; never, if there is none.
    fn arm(&self, steps: Option<u32>);
}

type Terminal<'a, P> = Journal<Nor<'a, P, LOG_LEN>, FlashState<Nor<'a, P, STATE_LEN>>>;

/// From one return of power to the next, or to the end of the day: then `true`.
pub fn run<P: Cut>(
    desk: &mut Desk,
    log: &mut Chip<LOG_LEN>,
    state: &mut Chip<STATE_LEN>,
    power: &P,
    out: &mut impl Write,
) -> bool {
    let first = desk.starts == 0;
    desk.starts += 1;
    let mut journal = start(log, state, power, first);
    let found = journal.recovery();
    writeln!(
        out,
        "start {}: {} entries, torn {}, damaged pages {}",
        desk.starts,
        journal.count(),
        found.torn,
        found.damaged_pages
    )
    .unwrap();
    assert_eq!(found.lost, None);
    if desk.begun {
        settle(desk, &mut journal, out);
    }
    while let Some(payment) = PAYMENTS.get(desk.next) {
        if !pay(desk, payment, &mut journal, power, out) {
            return false;
        }
    }
    journal.close(now(desk.next), &mut random(desk)).unwrap();
    upload(&mut journal, out);
    true
}

fn start<'a, P: Cut>(
    log: &'a mut Chip<LOG_LEN>,
    state: &'a mut Chip<STATE_LEN>,
    power: &'a P,
    first: bool,
) -> Terminal<'a, P> {
    power.arm(None);
    let log = Nor { chip: log, power };
    let state = FlashState::new(Nor { chip: state, power }).unwrap();
    if first {
        let identity = Identity::new(TERMINAL, EPOCH, BASE_VERSION).unwrap();
        let key = ChainKey::new(Secret::new(CHAIN_KEY), identity);
        Journal::create(log, state, key).unwrap()
    } else {
        Journal::open(log, state).unwrap()
    }
}

/// After a power cut: the payment in doubt is reversed, unless its entry was written.
fn settle<P: Cut>(desk: &mut Desk, journal: &mut Terminal<'_, P>, out: &mut impl Write) {
    let payment = &PAYMENTS[desk.next];
    match journal.pending().unwrap() {
        Some(card) => {
            let fields = fields(PaymentKind::Reversal, desk.next, payment);
            append(desk, journal, &card, &fields).unwrap();
            receipt(out, &fields, &card);
        }
        None => writeln!(out, "entry {} was kept", desk.next + 1).unwrap(),
    }
    desk.begun = false;
    desk.next += 1;
}

/// The card as the reader gives it.
pub fn read(reader: Reader) -> CardRecord {
    let card = match reader {
        Reader::Track2(track) => CardData::from_track2(track, &[]),
        Reader::Emv(tlv) => CardData::from_emv(tlv, &[]),
    };
    card.unwrap().into_record()
}

/// Makes a payment; `false` if power went.
fn pay<P: Cut>(
    desk: &mut Desk,
    payment: &Payment,
    journal: &mut Terminal<'_, P>,
    power: &P,
    out: &mut impl Write,
) -> bool {
    let card = read(payment.reader);
    desk.begun = true;
    journal.open_pending(&card, &mut random(desk)).unwrap();
    // The host is asked, and answers.
    let fields = fields(payment.kind, desk.next, payment);
    power.arm(payment.cut);
    let written = append(desk, journal, &card, &fields);
    if written == Err(NorError::Off) {
        return false;
    }
    assert_eq!((written, payment.cut), (Ok(()), None));
    receipt(out, &fields, &card);
    desk.begun = false;
    desk.next += 1;
    true
}

fn append<P: Cut>(
    desk: &Desk,
    journal: &mut Terminal<'_, P>,
    card: &CardRecord,
    fields: &PaymentFields,
) -> Result<(), NorError> {
    let mut bytes = [0; PAYMENT_MAX_LEN];
    let len = fields.write(&mut bytes).unwrap();
    let entry = Entry {
        time: now(desk.next),
        payment: &bytes[..len],
        truncated: card.pan.truncate(TruncationFormat::FIRST_6_LAST_4).ok(),
        token: b"",
        card: Some(card),
    };
    match journal.append(&entry, &mut random(desk)) {
        Ok(_) => Ok(()),
        Err(JournalError::Flash(error)) => Err(error),
        Err(JournalError::Store(FlashStateError::Flash(error))) => Err(error),
        Err(error) => panic!("{error:?}"),
    }
}

/// The fields of the payment at this place of the day.
pub fn fields(kind: PaymentKind, at: usize, payment: &Payment) -> PaymentFields {
    let number = at as u32 + 1;
    let numbers = (
        Stan::new(100 + number).unwrap(),
        Voucher::new(number).unwrap(),
        BatchNumber::FIRST,
    );
    let amount = Amount::new(payment.minor, Currency::CNY).unwrap();
    let terminal = TerminalId::parse(TERMINAL).unwrap();
    let merchant = MerchantId::parse(MERCHANT).unwrap();
    let mut fields = PaymentFields::new(kind, amount, numbers, terminal, merchant);
    let original = if kind == PaymentKind::Reversal {
        Some(number)
    } else {
        payment.voids
    };
    fields.original = original.map(|number| {
        Reference::Voucher(OriginalVoucher {
            batch: Some(BatchNumber::FIRST),
            voucher: Voucher::new(number),
            ..OriginalVoucher::default()
        })
    });
    fields
}

/// The slip that the customer signs: the number is masked.
fn receipt(out: &mut impl Write, fields: &PaymentFields, card: &CardRecord) {
    let mask = card.pan.mask();
    writeln!(
        out,
        "receipt {}: {} {} {}",
        fields.voucher, fields.kind, mask, fields.amount
    )
    .unwrap();
}

fn upload<P: Cut>(journal: &mut Terminal<'_, P>, out: &mut impl Write) {
    let mut item = [0; FRAME_MAX_LEN];
    let mut upload = journal.upload().unwrap();
    while let Some(len) = upload.next(&mut item).unwrap() {
        out.write_str("upload ").unwrap();
        for byte in &item[..len] {
            write!(out, "{byte:02x}").unwrap();
        }
        out.write_char('\n').unwrap();
    }
}

fn now(at: usize) -> UnixSeconds {
    UnixSeconds(OPENING.0 + 60 * at as u64)
}

/// A device's generator goes on where this one begins anew with each call.
fn random(desk: &Desk) -> Sequence {
    Sequence(1_000 * u64::from(desk.starts) + desk.next as u64)
}
