//! What the fuzz targets run: each takes any bytes and must come back.
//!
//! The seeds in `seeds/` are starting points; the tests below call each function with them.

#[path = "../../tests/support/ledger/mod.rs"]
mod ledger_support;
#[path = "../../tests/support/refund_model.rs"]
mod refund_model;

use cardvault::archive::{ArchiveHeader, restore_blocking, verify};
use cardvault::audit::{
    AuditError, AuditLog, AuditOptions, Checkpoint, verify as verify_audit,
    write_checkpoint_blocking,
};
use cardvault::card::{Brand, CardData, CardRecord, Pan, TruncatedPan, luhn};
use cardvault::ff1::{FF1_MAX_DIGITS, FF1_MAX_TWEAK, FF1_MIN_DIGITS, Ff1};
use cardvault::journal::{
    BATTERY_LEN, BatteryState, Body, Entry, FRAME_MAX_LEN, Frame, Identity, Journal, MemoryFlash,
    Position, Reading, SLOT_LEN, upload_identity,
};
use cardvault::keys::{
    CheckValue, Component, Cryptoperiod, Domain, Kek, KeyName, KeyRing, KeyUse, RingMark,
};
use cardvault::payment::{
    Amount, ApprovalCode, BatchNumber, ClearingDate, Currency, Date, Institution, MerchantId,
    MonthDay, Mti, OrderNumber, OriginalMessage, OriginalVoucher, PAYMENT_FIELDS_MAX_LEN,
    PAYMENT_FIELDS_MIN_LEN, Par, PaymentFields, RefundNumber, ResponseCode, Rrn, Stan, TerminalId,
    TransmissionTime, Voucher,
};
use cardvault::seal::{
    Binding, MAX_SEALED_RING, NonceSource, Opener, RingHeader, SEALED_RECORD_LEN, Sealer,
    open_ring_with_kek, seal_ring_with_kek, sealed_key_id,
};
use cardvault::token::{KeepFirst, KeepLast, Token, TokenKind, Vaultless, VaultlessFormat};
use cardvault::vault::{
    Access, AccessEvent, AccessLog, BlockingVault, Guard, IndexKey, Item, LineLog, Memory,
    Operation, Row, RowKey, Store, Tokenize, VaultError, Write,
};
use cardvault::{Secret, UnixSeconds};
use fpe::ff1::{FF1, FlexibleNumeralString};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use subtle::ConstantTimeEq;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const EXEMPT: &[Brand] = &Brand::LUHN_EXEMPT;

/// Card numbers, and what is accepted is the same number again.
pub fn pan(data: &[u8]) {
    let passes = luhn::passes(data);
    let _ = luhn::check_digit(data);
    let strict = Pan::parse(data);
    let exempting = Pan::parse_exempting(data, EXEMPT);
    assert!(strict.is_err() || exempting.is_ok());
    let Ok(pan) = exempting else { return };
    let digits: Vec<u8> = data.iter().copied().filter(u8::is_ascii_digit).collect();
    pan.expose(|text| assert_eq!(text.as_bytes(), digits));
    assert_eq!(strict.is_ok(), pan.passes_luhn());
    if digits == data {
        assert_eq!(passes, pan.passes_luhn());
    }
    assert!(strict.is_ok() || pan.brand().may_fail_luhn());
    let mask = pan.mask();
    assert!(mask.as_str().matches('*').count() >= 4);
    let again = digits_of(&pan);
    assert!(bool::from(again.ct_eq(&pan)));
}

fn digits_of(pan: &Pan) -> Pan {
    pan.expose(|text| Pan::parse_exempting(text.as_bytes(), EXEMPT))
        .expect("a number is read again")
}

/// Both tracks; what is accepted has a record that reads back.
pub fn track(data: &[u8]) {
    for read in [CardData::from_track1, CardData::from_track2] {
        if let Ok(card) = read(data, EXEMPT) {
            reads_back(card);
        }
    }
}

/// EMV data and its two tags.
pub fn emv(data: &[u8]) {
    for read in [
        CardData::from_emv,
        CardData::from_tag57,
        CardData::from_tag5a,
    ] {
        if let Ok(card) = read(data, EXEMPT) {
            reads_back(card);
        }
    }
}

fn reads_back(card: CardData) {
    let record = card.into_record();
    let back = CardRecord::from_bytes(&record.to_bytes()).expect("a record is read again");
    assert!(bool::from(back.ct_eq(&record)));
}

/// Card records: one encoding for each card.
pub fn record(data: &[u8]) {
    let Some(bytes) = data.first_chunk::<16>() else {
        return;
    };
    let bytes = Secret::new(*bytes);
    if let Ok(record) = CardRecord::from_bytes(&bytes) {
        assert!(bool::from(record.to_bytes().ct_eq(&bytes)));
    }
}

/// Truncated numbers: what is read is written again.
pub fn truncated(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    if let Ok(stored) = text.parse::<TruncatedPan>() {
        assert_eq!(stored.as_str(), text);
        assert!(text.matches('*').count() >= 4);
    }
}

/// Domains, key names, check values and components.
pub fn names(data: &[u8]) {
    if let Ok(component) = Component::parse(data) {
        component.expose_text(|text| assert_eq!(text.as_bytes(), data));
    }
    if let Ok(domain) = Domain::new(data) {
        let shown = domain.to_string();
        assert_eq!(shown.parse::<Domain>(), Ok(domain), "{shown}");
    }
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let _ = text.parse::<Domain>();
    if let Ok(name) = text.parse::<KeyName>() {
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    if let Ok(value) = text.parse::<CheckValue>() {
        assert_eq!(value.to_string().parse(), Ok(value));
    }
}

/// FF1 against the crate `fpe`: 32 bytes of key, one that says how long the tweak is, the tweak,
/// and digits.
pub fn ff1(data: &[u8]) {
    let Some((key, rest)) = data.split_first_chunk::<32>() else {
        return;
    };
    let Some((len, rest)) = rest.split_first() else {
        return;
    };
    let tweak_len = usize::from(*len).min(rest.len()).min(FF1_MAX_TWEAK + 1);
    let (tweak, digits) = rest.split_at(tweak_len);
    let digits: Vec<u8> = digits.iter().map(|byte| byte % 10).collect();
    let mut ours = digits.clone();
    let result = Ff1::new(&Secret::new(*key)).encrypt(tweak, &mut ours);
    let fits = (FF1_MIN_DIGITS..=FF1_MAX_DIGITS).contains(&digits.len());
    assert_eq!(result.is_ok(), fits && tweak.len() <= FF1_MAX_TWEAK);
    if result.is_err() {
        assert_eq!(ours, digits);
        return;
    }
    let peer = FF1::<aes::Aes256>::new(key, 10).expect("a radix that it takes");
    let numerals: Vec<u16> = digits.iter().copied().map(u16::from).collect();
    let theirs = peer
        .encrypt(tweak, &FlexibleNumeralString::from(numerals))
        .expect("digits that it takes");
    let theirs: Vec<u16> = theirs.into();
    assert!(ours.iter().copied().map(u16::from).eq(theirs));
    Ff1::new(&Secret::new(*key))
        .decrypt(tweak, &mut ours)
        .expect("what was encrypted");
    assert_eq!(ours, digits);
}

/// Tokens: one text and one binary form each, none of them a card number, and what a vaultless
/// one opens to has that token.
pub fn token(data: &[u8]) {
    if let Ok(token) = Token::from_bytes(data) {
        assert_eq!(token.as_bytes(), data);
        sound(&token);
    }
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let Ok(token) = Token::parse(text) else {
        return;
    };
    assert_eq!(token.text().as_str(), text);
    sound(&token);
    if token.kind() != TokenKind::CardShaped {
        return;
    }
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let ring = ring_of(&mut rng);
    let domain = Domain::new(b"merchant-7").expect("a domain");
    let key = ring.vaultless_key(&domain, NOW).expect("an active key");
    let format = VaultlessFormat::new(KeepFirst::None, KeepLast::Four, 12).expect("a format");
    let vaultless = Vaultless::new(format, &key);
    if let Ok(candidate) = vaultless.open(&token) {
        let pan = candidate.confirm(|_| true).expect("confirmed");
        assert!(pan.passes_luhn());
        if let Ok(again) = vaultless.tokenize(&pan) {
            assert_eq!(again, token);
        }
    }
}

fn sound(token: &Token) {
    let text = token.text();
    assert_eq!(Token::parse(text.as_str()), Ok(*token));
    assert_eq!(Token::from_bytes(token.as_bytes()), Ok(*token));
    assert!(Pan::parse(text.as_str().as_bytes()).is_err());
}

/// Sealed card records: any bytes, and a good record with the input laid over it.
pub fn sealed_record(data: &[u8]) {
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let ring = ring_of(&mut rng);
    let domain = Domain::new(b"merchant-7").expect("a domain");
    let key = ring.card_key(&domain, NOW).expect("an active key");
    let opening = ring.card_key_for(&domain, key.id()).expect("the same key");
    let opener = Opener::new(&opening);
    let binding = Binding {
        token: b"token",
        ..Binding::default()
    };
    let _ = sealed_key_id(data);
    assert!(opener.open(data, &binding).is_err());
    let record = CardRecord::new(Pan::parse(b"4111111111111111").expect("a card"));
    let mut good = [0; SEALED_RECORD_LEN];
    Sealer::new(&key)
        .seal(
            &record,
            &binding,
            NOW,
            &mut NonceSource::new(&mut rng),
            &mut good,
        )
        .expect("a sealed record");
    let mut laid_over = good;
    overlay(&mut laid_over, data);
    let opened = opener.open(&laid_over, &binding);
    assert_eq!(opened.is_ok(), laid_over == good);
    // The input as a part of the row.
    let other = Binding {
        columns: data,
        ..binding
    };
    assert_eq!(opener.open(&good, &other).is_ok(), data.is_empty());
}

/// Sealed rings: any bytes, and a good ring with the input laid over it.
pub fn ring(data: &[u8]) {
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let components = [
        Component::random(&mut rng).expect("a component"),
        Component::random(&mut rng).expect("a component"),
    ];
    let kek = Kek::combine(&components, None).expect("a KEK");
    let _ = RingHeader::read(data);
    assert!(open_ring_with_kek(data, &kek).is_err());
    let mut sealed = [0; MAX_SEALED_RING];
    let len = seal_ring_with_kek(&ring_of(&mut rng), &kek, &mut rng, &mut sealed);
    let sealed = &mut sealed[..len.expect("a sealed ring")];
    let good = sealed.to_vec();
    overlay(sealed, data);
    assert_eq!(open_ring_with_kek(sealed, &kek).is_ok(), sealed == good);
}

/// A vault's row and guard: any bytes in their place, and the good ones with the input laid over
/// them. Nothing but the good row opens, and what does not can be deleted.
pub fn vault(data: &[u8]) {
    type Shared = std::sync::Arc<Memory>;
    let rng = || ChaCha20Rng::from_seed([7; 32]);
    let open = |store: &Shared| {
        let log = LineLog::new(std::io::sink());
        let ring = ring_of(&mut rng());
        BlockingVault::open_with(
            store.clone(),
            ring,
            log,
            || ChaCha20Rng::from_seed([8; 32]),
            || NOW,
        )
    };
    let store = Shared::default();
    let vault = open(&store).expect("a new vault");
    let domain = Domain::new(b"merchant-7").expect("a domain");
    let access = Access::new("fuzz", "row", "fuzz").expect("an access");
    let pan = Pan::parse(b"4111111111111111").expect("a card");
    let card = CardRecord::new(pan.clone());
    let how = Tokenize::convergent();
    let token = vault.tokenize(&domain, &card, &how).expect("a token").token;
    let (key, good) = pollster::block_on(store.scan(None, None, 1))
        .expect("a row")
        .remove(0);
    let mut laid_over = good.as_bytes().to_vec();
    overlay(&mut laid_over, data);
    let mut before = good.clone();
    for bytes in [data, &laid_over] {
        let Ok(row) = Row::new(bytes) else { continue };
        let write = Write::Replace {
            token: key,
            expected: before,
            row: row.clone(),
        };
        pollster::block_on(store.write(None, vec![write])).expect("replaced");
        let opened = vault.detokenize(&access, &domain, &token);
        assert_eq!(opened.is_ok(), row == good);
        let found = vault.find(&access, &domain, &pan).expect("found");
        assert_eq!(found.tokens.len() + found.unopenable.len(), 1);
        vault.stats().expect("counted");
        vault.rewrap(None, 10).expect("looked at");
        before = row;
    }
    vault.delete(&access, &domain, &token).expect("deleted");
    assert_ne!(
        vault.tokenize(&domain, &card, &how),
        Err(VaultError::Tampered)
    );
    let expected = pollster::block_on(store.guard()).expect("a guard");
    let mut laid_over = expected.as_ref().expect("a guard").as_bytes().to_vec();
    overlay(&mut laid_over, data);
    let mut before = expected.clone();
    for bytes in [data, &laid_over] {
        let Ok(guard) = Guard::new(bytes) else {
            continue;
        };
        let write = Write::Guard {
            expected: before,
            guard: guard.clone(),
        };
        pollster::block_on(store.write(None, vec![write])).expect("guarded");
        if Some(&guard) == expected.as_ref() {
            open(&store).expect("the same guard");
        } else {
            let _ = open(&store);
        }
        before = pollster::block_on(store.guard()).expect("a guard");
    }
}

/// Archives: any bytes, and a good one with the input laid over it, cut off or made longer. Nothing
/// but the good one is restored, and nothing of another one is.
pub fn archive(data: &[u8]) {
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let ring = ring_of(&mut rng);
    let _ = ArchiveHeader::read(&mut &data[..]);
    assert!(verify(data, &ring).is_err());
    let store = std::sync::Arc::new(Memory::new());
    let log = LineLog::new(std::io::sink());
    let random = || ChaCha20Rng::from_seed([8; 32]);
    let used = ring_of(&mut ChaCha20Rng::from_seed([7; 32]));
    let vault = BlockingVault::open_with(store.clone(), used, log, random, || NOW);
    let vault = vault.expect("a new vault");
    // The input as rows and entries: what is exported comes back.
    let items: Vec<_> = data.chunks(9).filter_map(item).collect();
    let writes = items.into_iter().take(1000).map(Write::Put).collect();
    pollster::block_on(store.write(None, writes)).expect("put");
    let access = Access::new("fuzz", "archive", "fuzz").expect("an access");
    let mut export = vault.export(&access, None).expect("an export");
    let mut good = Vec::new();
    while let Some(bytes) = export.next().expect("a part of it") {
        good.extend_from_slice(bytes);
    }
    let restore = |archive: &[u8]| {
        let into = Memory::new();
        let restored = restore_blocking(std::io::Cursor::new(archive), &ring, &into);
        let rows = pollster::block_on(into.count()).expect("counted");
        (restored.map(|contents| contents.rows), rows)
    };
    let rows = pollster::block_on(store.count()).expect("counted");
    assert_eq!(restore(&good), (Ok(rows), rows));
    let mut changed = good.clone();
    overlay(&mut changed, data);
    if changed != good {
        let (restored, rows) = restore(&changed);
        assert!(restored.is_err() && rows == 0);
    }
    let len = data.iter().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
    }) % good.len();
    assert!(restore(&good[..len]).0.is_err());
    good.push(0);
    assert!(restore(&good).0.is_err());
}

/// Audit logs and checkpoints: any bytes, and good ones with the input laid over them. No change of
/// a log goes without a fault, and no changed checkpoint is read to its end.
pub fn audit(data: &[u8]) {
    let ring = ring_of(&mut ChaCha20Rng::from_seed([7; 32]));
    let folder = std::env::temp_dir().join(format!(
        "cardvault-fuzz-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let _ = std::fs::remove_dir_all(&folder);
    let key = ring.audit_key(NOW).expect("an audit key");
    let key = key.writer_key("fuzz", 1).expect("a name");
    let options = AuditOptions {
        clock: || NOW,
        ..AuditOptions::default()
    };
    let log = AuditLog::create(&folder, key, &options).expect("a new log");
    let access = Access::new("fuzz", "audit", "fuzz").expect("an access");
    let event = AccessEvent {
        time: NOW,
        access: &access,
        operation: Operation::Find,
        domain: None,
        token: None,
        key: None,
        granted: true,
        refusal: None,
    };
    log.record(&[event.clone(), event]).expect("recorded");
    drop(log);
    let file = folder.join("00000000.cva");
    let good = std::fs::read(&file).expect("the log");
    let read = |bytes: &[u8]| {
        std::fs::write(&file, bytes).expect("written");
        verify_audit(&folder, &ring, &[], &mut |_| {}).expect("read")
    };
    let whole = read(&good);
    assert_eq!((whole.events, whole.faults), (2, 0));
    read(data);
    let mut changed = good.clone();
    overlay(&mut changed, data);
    assert_eq!(read(&changed).faults == 0, changed == good);
    std::fs::remove_dir_all(&folder).expect("removed");

    let items = |bytes: &[u8]| -> Result<u64, AuditError> {
        let mut checkpoint = Checkpoint::open(bytes, &ring)?;
        let mut items = 0;
        while checkpoint.next()?.is_some() {
            items += 1;
        }
        Ok(items)
    };
    assert!(items(data).is_err());
    let made =
        write_checkpoint_blocking::<Memory, _>(Vec::new(), &ring, NOW, whole.positions, None);
    let (good, _) = made.expect("a checkpoint");
    assert_eq!(items(&good), Ok(1));
    let mut changed = good.clone();
    overlay(&mut changed, data);
    assert_eq!(items(&changed).is_ok(), changed == good);
}

fn item(bytes: &[u8]) -> Option<Item> {
    let (kind, rest) = bytes.split_first()?;
    let (one, other) = rest.split_at_checked(usize::from(*kind) / 3 % 8)?;
    let key = RowKey::new(one).ok()?;
    match kind % 3 {
        0 => Row::new(other).ok().map(|row| Item::Row(key, row)),
        1 => IndexKey::new(other)
            .ok()
            .map(|index| Item::Unique(index, key)),
        _ => IndexKey::new(other)
            .ok()
            .map(|index| Item::Other(index, key)),
    }
}

fn ring_of(rng: &mut ChaCha20Rng) -> KeyRing {
    let mut ring = KeyRing::new(RingMark::Production, rng).expect("a ring");
    for usage in KeyUse::ALL {
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, NOW, rng).expect("room for a key");
        ring.activate(name, NOW).expect("a first version");
    }
    ring
}

/// Changes `good` from the place that the input's first two bytes name.
fn overlay(good: &mut [u8], data: &[u8]) {
    let Some((place, rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let start = usize::from(u16::from_be_bytes(*place)) % good.len();
    for (byte, change) in good[start..].iter_mut().zip(rest) {
        *byte ^= change;
    }
}

/// Fails by design at a track whose discretionary data begins with `9`: a fuzzer that does not
/// find it sees nothing.
pub fn canary(data: &[u8]) {
    let digits = data.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits >= 3 && data.get(digits) == Some(&b'=') {
        assert_ne!(data.get(digits + 1), Some(&b'9'), "the planted fault");
    }
}

/// The rules of refunds and the state machines, told any story, against the slow model.
pub fn refund(data: &[u8]) {
    refund_model::follow(data);
}

/// A ledger in memory, told any story, against the slow model. Each step reads all histories
/// again, so a long story only takes long.
pub fn ledger(data: &[u8]) {
    ledger_support::model::follow(data.get(..300).unwrap_or(data));
}

/// Payment records, and the texts that payments are made of: what is accepted is written as the
/// same bytes again.
pub fn payment(data: &[u8]) {
    if let Ok(fields) = PaymentFields::read(data) {
        let mut out = [0; PAYMENT_FIELDS_MAX_LEN];
        let len = fields.write(&mut out).expect("room for the longest record");
        assert!(len >= PAYMENT_FIELDS_MIN_LEN);
        assert_eq!(&out[..len], data);
        assert!(fields.write(&mut out[..len - 1]).is_err());
        let _ = format!("{fields} {fields:?}");
    }
    same(
        data,
        OriginalVoucher::parse(data).map(|field| field.to_digits()),
    );
    same(
        data,
        OriginalMessage::parse(data).map(|field| field.to_digits()),
    );
    same(
        data,
        TransmissionTime::parse(data).map(TransmissionTime::to_digits),
    );
    same(data, MonthDay::parse(data).map(MonthDay::to_digits));
    same(data, ClearingDate::parse(data).map(ClearingDate::to_digits));
    same(data, Stan::parse(data).map(Stan::to_digits));
    same(data, Voucher::parse(data).map(Voucher::to_digits));
    same(data, BatchNumber::parse(data).map(BatchNumber::to_digits));
    same(data, Rrn::parse(data).map(|text| *text.as_bytes()));
    same(data, ApprovalCode::parse(data).map(|text| *text.as_bytes()));
    same(data, ResponseCode::parse(data).map(|text| *text.as_bytes()));
    same(data, Mti::parse(data).map(|text| *text.as_bytes()));
    same(data, Par::parse(data).map(|text| *text.as_bytes()));
    same(
        data,
        OrderNumber::parse(data).map(|text| text.as_bytes().to_vec()),
    );
    same(
        data,
        RefundNumber::parse(data).map(|text| text.as_bytes().to_vec()),
    );
    // These are filled up, with blanks or with zeros.
    if let Ok(text) = TerminalId::parse(data) {
        assert!(text.as_bytes().starts_with(data));
        assert_eq!(TerminalId::parse(text.as_bytes()), Ok(text));
    }
    if let Ok(text) = MerchantId::parse(data) {
        assert!(text.as_bytes().starts_with(data));
        assert_eq!(MerchantId::parse(text.as_bytes()), Ok(text));
    }
    if let Ok(text) = Institution::parse(data) {
        assert!(text.as_bytes().ends_with(data));
        assert_eq!(Institution::parse(text.as_bytes()), Ok(text));
    }
    if let Ok(date) = Date::parse(data) {
        assert_eq!(Date::from_days(date.days()), Some(date));
    }
    if let Ok(currency) = Currency::parse(data) {
        assert!(currency.alpha().as_bytes() == data || currency.numeric_text() == data);
    }
    if data.len() > 32 {
        return;
    }
    for currency in Currency::all() {
        same(data, Amount::from_n12(data, currency).map(Amount::to_n12));
        let text = core::str::from_utf8(data).unwrap_or_default();
        if let Ok(amount) = Amount::parse(text, currency) {
            let shown = amount.to_string();
            let number = shown.split(' ').next().expect("a number");
            assert_eq!(Amount::parse(number, currency), Ok(amount), "{shown}");
            assert!(number.starts_with(text));
        }
    }
}

fn same<E>(data: &[u8], written: Result<impl AsRef<[u8]>, E>) {
    if let Ok(written) = written {
        assert_eq!(written.as_ref(), data);
    }
}

/// What a terminal sends: a frame's clear part with the payment in it, an upload's header.
pub fn journal_frame(data: &[u8]) {
    if let Some((identity, _)) = upload_identity(data) {
        let again = Identity::new(
            identity.terminal(),
            identity.epoch(),
            identity.base_version(),
        );
        assert_eq!(again, Ok(identity));
    }
    if let Ok(frame) = Frame::parse(data) {
        assert!(data.len() <= FRAME_MAX_LEN);
        let _ = format!("{frame:?}");
        if let Body::Payment(part) = frame.body {
            payment(part.payment);
        }
    }
}

/// A host that reads journals, and the terminal's flash and memory after three entries.
fn terminal() -> (KeyRing, Vec<u8>, [u8; BATTERY_LEN]) {
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
    let period = Cryptoperiod::default_of(KeyUse::Journal);
    let name = ring.add(KeyUse::Journal, period, NOW, &mut rng).unwrap();
    ring.activate(name, NOW).unwrap();
    let base = ring
        .journal_key(&Domain::new(b"fleet").unwrap(), NOW)
        .unwrap();
    let key = base.chain_key(b"T1", 1).unwrap();
    let (mut flash, mut battery) = (vec![0xff; 2048], [0; BATTERY_LEN]);
    let store = BatteryState::new(&mut battery);
    let memory = MemoryFlash::<4, 1024>::new(&mut flash);
    let mut journal = Journal::create(memory, store, key).unwrap();
    let card = CardRecord::new(Pan::parse(b"4111111111111111").unwrap());
    for card in [Some(&card), None, Some(&card)] {
        journal.append(&sale(card), &mut rng).unwrap();
    }
    (ring, flash, battery)
}

fn sale(card: Option<&CardRecord>) -> Entry<'_> {
    Entry {
        time: NOW,
        payment: b"sale",
        truncated: None,
        token: b"",
        card,
    }
}

/// A flash image and a state that were changed where the input is not zero: opened or refused,
/// and what is uploaded ends.
pub fn journal_recovery(data: &[u8]) {
    let (_, mut flash, mut battery) = terminal();
    let places = battery.iter_mut().chain(&mut flash);
    places.zip(data).for_each(|(place, byte)| *place ^= byte);
    // Past the CRC, into the fields.
    for slot in battery.chunks_mut(SLOT_LEN) {
        let (state, crc) = slot.split_last_chunk_mut().expect("a slot");
        *crc = crc32(state).to_be_bytes();
    }
    let memory = MemoryFlash::<4, 1024>::new(&mut flash);
    let Ok(mut journal) = Journal::open(memory, BatteryState::new(&mut battery)) else {
        return;
    };
    let mut rng = ChaCha20Rng::from_seed([6; 32]);
    let _ = (
        journal.pending(),
        journal.batch_card(0),
        journal.close_batch(),
    );
    let _ = journal.append(&sale(None), &mut rng);
    let Ok(mut upload) = journal.upload() else {
        return;
    };
    let mut out = [0; FRAME_MAX_LEN];
    let mut items = 0;
    while let Ok(Some(_)) = upload.next(&mut out) {
        items += 1;
        assert!(items < 1000, "an upload without end");
    }
}

/// CRC-32 (IEEE 802.3), one bit at a time.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ ((crc & 1) * 0xEDB8_8320)
        })
    })
}

/// An upload that was changed where the input is not zero, with the rest of the input behind it:
/// clean only if it was not changed.
pub fn journal_reading(data: &[u8]) {
    let (ring, mut flash, mut battery) = terminal();
    let memory = MemoryFlash::<4, 1024>::new(&mut flash);
    let mut journal = Journal::open(memory, BatteryState::new(&mut battery)).unwrap();
    let mut upload = journal.upload().unwrap();
    let (mut sent, mut out) = (Vec::new(), [0; FRAME_MAX_LEN]);
    while let Some(len) = upload.next(&mut out).unwrap() {
        sent.extend_from_slice(&out[..len]);
    }
    let good = sent.clone();
    let places = sent.iter_mut();
    places.zip(data).for_each(|(place, byte)| *place ^= byte);
    sent.extend_from_slice(data.get(good.len()..).unwrap_or_default());
    let key = ring
        .journal_key_of(&Domain::new(b"fleet").unwrap(), 1)
        .unwrap();
    let identity = Identity::new(b"T1", 1, 1).unwrap();
    let Ok(mut reading) = Reading::new(&key, &identity, &Position::START, &sent[..]) else {
        assert!(sent != good);
        return;
    };
    reading.go_on();
    while let Some(item) = reading.next() {
        let _ = item.is_ok();
    }
    let clean = reading.outcome().is_some_and(|outcome| outcome.clean);
    assert_eq!(clean, sent == good);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(&str, fn(&[u8])); 19] = [
        ("pan", pan),
        ("track", track),
        ("emv", emv),
        ("record", record),
        ("truncated", truncated),
        ("names", names),
        ("ff1", ff1),
        ("sealed_record", sealed_record),
        ("ring", ring),
        ("token", token),
        ("vault", vault),
        ("archive", archive),
        ("audit", audit),
        ("refund", refund),
        ("ledger", ledger),
        ("payment", payment),
        ("journal_frame", journal_frame),
        ("journal_recovery", journal_recovery),
        ("journal_reading", journal_reading),
    ];

    #[test]
    fn every_body_takes_the_seeds_of_all() {
        let mut seeds = vec![vec![], vec![0; 80], vec![0xff; 80], b"0123456789".repeat(8)];
        for (name, _) in ALL {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds/").to_owned() + name;
            let files = std::fs::read_dir(&folder).unwrap_or_else(|_| panic!("no {folder}"));
            let before = seeds.len();
            seeds.extend(files.map(|file| std::fs::read(file.unwrap().path()).unwrap()));
            assert!(seeds.len() > before, "{name} has no seed");
        }
        for (_, body) in ALL {
            seeds.iter().for_each(|seed| body(seed));
        }
    }

    #[test]
    fn every_target_calls_its_body() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz_targets");
        let mut targets = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(&format!("cardvault_fuzz::{name}(data)")));
            assert!(name == "canary" || ALL.iter().any(|(body, _)| *body == name));
            targets += 1;
        }
        assert_eq!(targets, ALL.len() + 1);
    }

    #[test]
    #[should_panic(expected = "the planted fault")]
    fn the_canary_fails() {
        canary(b"4111=9");
    }
}
