//! Sealed card records and key rings: frozen bytes, and everything that must not open.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

#[path = "support/golden.rs"]
mod golden;

use std::cell::Cell;

use cardvault::card::{CardRecord, Expiry, Pan, PanSequence};
use cardvault::fingerprint::{Fingerprint, FingerprintVerifier, Fingerprinter};
use cardvault::keys::{
    CeremonyError, CheckValue, Component, ComponentError, Cryptoperiod, Domain, Kek, KeyError,
    KeyName, KeyRing, KeyState, KeyUse, RingMark,
};
use cardvault::seal::{
    Binding, BindingField, KeyWrap, MAX_SEALED_RING, NONCE_BATCH_MAX, NonceSource, Opener,
    Protection, RingHeader, RingSealError, SEALED_RECORD_LEN, SealError, Sealer, WRAPPED_KEY_MAX,
    WrapError, open_ring_with_kek, open_ring_with_kek_into, open_ring_with_wrap,
    open_ring_with_wrap_into, seal_ring_with_kek, seal_ring_with_wrap, sealed_key_id,
};
use cardvault::{CodecError, RandomError, Secret, UnixSeconds};
use golden::{assert_golden, golden};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use subtle::ConstantTimeEq;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const COMPONENTS: [&str; 2] = [
    "0001 0203 0405 0607 0809 0A0B 0C0D 0E0F 1011 1213 1415 1617 1819 1A1B 1C1D 1E1F / 377822",
    "8087 8E95 9CA3 AAB1 B8BF C6CD D4DB E2E9 F0F7 FE05 0C13 1A21 282F 363D 444B 5259 / 957740",
];
const KEK_CHECK_VALUE: &str = "BA5032";

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn domain() -> Domain {
    "merchant-7".parse().unwrap()
}

fn kek() -> Kek {
    let components = COMPONENTS.map(|text| Component::parse(text.as_bytes()).unwrap());
    Kek::combine(&components, Some(KEK_CHECK_VALUE.parse().unwrap())).unwrap()
}

/// A ring with a version in most states, from a fixed seed.
fn ring(mark: RingMark) -> KeyRing {
    let mut rng = rng(7);
    let mut ring = KeyRing::new(mark, &mut rng).unwrap();
    // A ring with a key for archives or for audit logs has another version of the encoding.
    let later = [KeyUse::Archive, KeyUse::Audit];
    let uses = KeyUse::ALL.into_iter();
    for usage in uses.filter(|usage| !later.contains(usage)) {
        for _ in 0..2 {
            let period = Cryptoperiod::default_of(usage);
            ring.add(usage, period, NOW, &mut rng).unwrap();
        }
        ring.activate(KeyName::new(usage, 1), NOW.plus(1)).unwrap();
    }
    ring.activate(KeyName::new(KeyUse::Card, 2), NOW.plus(2))
        .unwrap();
    ring.destroy(KeyName::new(KeyUse::Card, 1), NOW.plus(3))
        .unwrap();
    ring.begin_filling(KeyName::new(KeyUse::Index, 2)).unwrap();
    ring.suspend(KeyName::new(KeyUse::Irreversible, 1), NOW.plus(4))
        .unwrap();
    ring
}

fn record() -> CardRecord {
    let mut record = CardRecord::new(Pan::parse(b"4111111111111111").unwrap());
    record.expiry = Some(Expiry::new(30, 12).unwrap());
    record.sequence = PanSequence::new(1);
    record
}

const BINDING: Binding<'static> = Binding {
    token: b"tok_0123456789",
    fingerprint: &[0x5a; 32],
    columns: b"visa 1111",
};

fn sealed_record() -> [u8; SEALED_RECORD_LEN] {
    let key = ring(RingMark::Production).card_key(&domain(), NOW).unwrap();
    let mut sealed = [0; SEALED_RECORD_LEN];
    Sealer::new(&key)
        .seal(
            &record(),
            &BINDING,
            NOW,
            &mut NonceSource::new(rng(9)),
            &mut sealed,
        )
        .unwrap();
    sealed
}

fn opener(ring: &KeyRing, sealed: &[u8]) -> Result<Opener, KeyError> {
    let id = sealed_key_id(sealed).unwrap();
    ring.card_key_for(&domain(), &id)
        .map(|key| Opener::new(&key))
}

fn same(one: &CardRecord, other: &CardRecord) -> bool {
    one.to_bytes().ct_eq(&other.to_bytes()).into()
}

fn ring_under_kek() -> Vec<u8> {
    let mut out = [0; MAX_SEALED_RING];
    let len =
        seal_ring_with_kek(&ring(RingMark::Production), &kek(), &mut rng(8), &mut out).unwrap();
    out[..len].to_vec()
}

/// A module that hides keys by adding a pad, with a checksum of key and context.
struct TestModule;

#[derive(Debug, PartialEq)]
struct ModuleError;

impl std::fmt::Display for ModuleError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the module refuses")
    }
}

impl std::error::Error for ModuleError {}

fn checksum(key: &[u8], context: &[u8]) -> u8 {
    key.iter()
        .chain(context)
        .fold(0, |sum: u8, byte| sum.rotate_left(3) ^ byte)
}

impl KeyWrap for TestModule {
    type Error = ModuleError;

    fn wrap_key(
        &mut self,
        key: &Secret<32>,
        context: &[u8],
        out: &mut [u8; WRAPPED_KEY_MAX],
    ) -> Result<usize, ModuleError> {
        for (to, from) in out.iter_mut().zip(key.expose()) {
            *to = from.wrapping_add(0x55);
        }
        out[32] = checksum(key.expose(), context);
        Ok(33)
    }

    fn unwrap_key(&mut self, wrapped: &[u8], context: &[u8]) -> Result<Secret<32>, ModuleError> {
        let (key, sum) = wrapped.split_at_checked(32).ok_or(ModuleError)?;
        let key: Vec<u8> = key.iter().map(|byte| byte.wrapping_sub(0x55)).collect();
        if sum != [checksum(&key, context)] {
            return Err(ModuleError);
        }
        Ok(Secret::new(key.try_into().unwrap()))
    }
}

fn ring_under_module() -> Vec<u8> {
    let mut out = [0; MAX_SEALED_RING];
    let ring = ring(RingMark::Production);
    let len = seal_ring_with_wrap(&ring, &mut TestModule, &mut rng(8), &mut out).unwrap();
    out[..len].to_vec()
}

fn assert_same_ring(one: &KeyRing, other: &KeyRing) {
    assert_eq!(
        (one.mark(), one.id(), one.generation()),
        (other.mark(), other.id(), other.generation())
    );
    assert_eq!(
        one.versions().collect::<Vec<_>>(),
        other.versions().collect::<Vec<_>>()
    );
    assert_eq!(
        one.card_key(&domain(), NOW).unwrap().id(),
        other.card_key(&domain(), NOW).unwrap().id()
    );
}

/// What no opener may let through: `$open` gives `Ok` for the whole of `$sealed` alone.
macro_rules! negative_tests {
    ($module:ident, $sealed:expr, $open:expr, $every_bit:expr) => {
        mod $module {
            use super::*;

            #[test]
            fn opens_what_was_sealed() {
                assert!(($open)(&$sealed).is_ok());
            }

            #[test]
            fn no_flipped_bit_opens() {
                let sealed = $sealed;
                for at in 0..sealed.len() {
                    for bit in 0..8 {
                        if !($every_bit)(at) && bit != at % 8 {
                            continue;
                        }
                        let mut changed = sealed.to_vec();
                        changed[at] ^= 1 << bit;
                        assert!(($open)(&changed).is_err(), "bit {bit} of byte {at}");
                    }
                }
            }

            #[test]
            fn no_other_length_opens() {
                let sealed = $sealed;
                for len in 0..sealed.len() {
                    assert!(($open)(&sealed[..len]).is_err(), "cut to {len} bytes");
                }
                for more in [0, 1, 0xff] {
                    assert!(($open)(&[&sealed[..], &[more]].concat()).is_err());
                }
            }
        }
    };
}

negative_tests!(
    negative_record,
    sealed_record(),
    |sealed: &[u8]| {
        // The right key, whatever the record says.
        let opener = opener(&ring(RingMark::Production), &sealed_record()).unwrap();
        opener.open(sealed, &BINDING)
    },
    |_| true
);

negative_tests!(
    negative_ring_under_kek,
    ring_under_kek(),
    |sealed: &[u8]| open_ring_with_kek(sealed, &kek()),
    |_| true
);

negative_tests!(
    negative_ring_under_module,
    ring_under_module(),
    |sealed: &[u8]| open_ring_with_wrap(sealed, &mut TestModule),
    |_| true
);

#[cfg(feature = "passphrase")]
mod passphrase {
    use super::*;
    use cardvault::seal::{
        Argon2Cost, PASSPHRASE_MAX_LEN, PASSPHRASE_MIN_LEN, open_ring_with_passphrase,
        seal_ring_with_passphrase,
    };

    const PASSPHRASE: &[u8] = b"correct horse battery";

    fn cost() -> Argon2Cost {
        let (memory, passes) = (Argon2Cost::MIN_MEMORY_KIB, Argon2Cost::MIN_PASSES);
        Argon2Cost::new(memory, passes, Argon2Cost::MIN_LANES).unwrap()
    }

    pub(super) fn ring_under_passphrase() -> Vec<u8> {
        let mut out = [0; MAX_SEALED_RING];
        let ring = ring(RingMark::Development);
        let len =
            seal_ring_with_passphrase(&ring, PASSPHRASE, cost(), &mut rng(8), &mut out).unwrap();
        out[..len].to_vec()
    }

    pub(super) fn open(sealed: &[u8]) -> Result<KeyRing, RingSealError> {
        open_ring_with_passphrase(sealed, PASSPHRASE)
    }

    #[test]
    fn golden_ring() {
        let sealed = ring_under_passphrase();
        assert_golden("ring-passphrase.hex", &sealed);
        let opened = open(&golden("ring-passphrase.hex")).unwrap();
        assert_same_ring(&opened, &ring(RingMark::Development));
        let header = RingHeader::read(&sealed).unwrap();
        assert_eq!(header.protection, Protection::Passphrase);
        assert_eq!(header.mark, RingMark::Development);
    }

    #[test]
    fn no_flipped_bit_opens() {
        let sealed = ring_under_passphrase();
        // Argon2id runs for each change that the header itself does not betray: one bit of each
        // byte up to the nonce, and of every seventh behind it.
        let header = 37 + 28 + 16;
        let ends = (header..sealed.len()).step_by(67);
        for at in (0..header).chain(ends) {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(open(&changed).is_err(), "byte {at}");
        }
        for len in (0..sealed.len()).step_by(13) {
            assert!(open(&sealed[..len]).is_err());
        }
        assert!(open(&[&sealed[..], &[0]].concat()).is_err());
    }

    #[test]
    fn another_passphrase_is_named() {
        let sealed = ring_under_passphrase();
        let other = open_ring_with_passphrase(&sealed, b"correct horse batterz");
        assert_eq!(other.err(), Some(RingSealError::OtherPassphrase));
        let expected = RingSealError::OtherProtection {
            protection: Protection::Passphrase,
        };
        assert_eq!(open_ring_with_kek(&sealed, &kek()).err(), Some(expected));
        for len in [0, PASSPHRASE_MIN_LEN - 1, PASSPHRASE_MAX_LEN + 1] {
            let refused = RingSealError::PassphraseLength { bytes: len };
            let passphrase = vec![b'a'; len];
            let opened = open_ring_with_passphrase(&sealed, &passphrase);
            assert_eq!(opened.err(), Some(refused));
            let mut out = [0xaa; MAX_SEALED_RING];
            let ring = ring(RingMark::Development);
            let sealed =
                seal_ring_with_passphrase(&ring, &passphrase, cost(), &mut rng(8), &mut out);
            assert_eq!(sealed, Err(refused));
            assert_eq!(out, [0xaa; MAX_SEALED_RING]);
        }
    }

    #[test]
    fn production_rings_have_no_passphrase() {
        let mut out = [0xaa; MAX_SEALED_RING];
        let ring = ring(RingMark::Production);
        let refused = RingSealError::PassphraseInProduction;
        let sealed = seal_ring_with_passphrase(&ring, PASSPHRASE, cost(), &mut rng(8), &mut out);
        assert_eq!(sealed, Err(refused));
        assert_eq!(out, [0xaa; MAX_SEALED_RING]);
        let mut marked = ring_under_passphrase();
        marked[9] = 1;
        assert_eq!(open(&marked).err(), Some(refused));
    }

    #[test]
    fn cost_has_bounds_in_calls_and_in_headers() {
        let min = (
            Argon2Cost::MIN_MEMORY_KIB,
            Argon2Cost::MIN_PASSES,
            Argon2Cost::MIN_LANES,
        );
        for (memory, passes, lanes) in [
            (min.0 - 1, min.1, min.2),
            (min.0, min.1 - 1, min.2),
            (min.0, min.1, 0),
            (Argon2Cost::MAX_MEMORY_KIB + 1, min.1, min.2),
            (min.0, Argon2Cost::MAX_PASSES + 1, min.2),
            (min.0, min.1, Argon2Cost::MAX_LANES + 1),
        ] {
            let refused = RingSealError::Cost;
            assert_eq!(Argon2Cost::new(memory, passes, lanes), Err(refused));
            let mut sealed = ring_under_passphrase();
            sealed[37..41].copy_from_slice(&memory.to_be_bytes());
            sealed[41..45].copy_from_slice(&passes.to_be_bytes());
            sealed[45..49].copy_from_slice(&lanes.to_be_bytes());
            assert_eq!(open(&sealed).err(), Some(refused));
        }
    }
}

#[test]
fn golden_record() {
    assert_golden("sealed-record.hex", &sealed_record());
    let ring = ring(RingMark::Production);
    let sealed = golden("sealed-record.hex");
    let opened = opener(&ring, &sealed).unwrap().open(&sealed, &BINDING);
    assert!(same(&opened.unwrap(), &record()));
}

#[test]
fn golden_rings() {
    let ring = ring(RingMark::Production);
    assert_golden("ring-kek.hex", &ring_under_kek());
    let opened = open_ring_with_kek(&golden("ring-kek.hex"), &kek()).unwrap();
    assert_same_ring(&opened, &ring);
    assert_golden("ring-wrapped-key.hex", &ring_under_module());
    let opened = open_ring_with_wrap(&golden("ring-wrapped-key.hex"), &mut TestModule).unwrap();
    assert_same_ring(&opened, &ring);
    let header = RingHeader::read(&ring_under_kek()).unwrap();
    let check_value = KEK_CHECK_VALUE.parse().unwrap();
    assert_eq!(header.protection, Protection::Kek { check_value });
    assert_eq!((header.mark, &header.id), (ring.mark(), ring.id()));
    assert_eq!(header.generation, ring.generation());
}

#[test]
fn a_record_opens_in_its_row_alone() {
    let ring = ring(RingMark::Production);
    let sealed = sealed_record();
    let opener = opener(&ring, &sealed).unwrap();
    let others = [
        Binding {
            token: b"tok_0123456780",
            ..BINDING
        },
        Binding {
            token: b"",
            ..BINDING
        },
        Binding {
            fingerprint: &[0x5b; 32],
            ..BINDING
        },
        Binding {
            columns: b"visa 1112",
            ..BINDING
        },
        // The same bytes, cut elsewhere.
        Binding {
            token: b"tok_012345678",
            fingerprint: &[&b"9"[..], &[0x5a; 32]].concat(),
            ..BINDING
        },
        Binding {
            fingerprint: &[0x5a; 31],
            columns: b"Zvisa 1111",
            ..BINDING
        },
        Binding::default(),
    ];
    for other in &others {
        let opened = opener.open(&sealed, other);
        assert_eq!(opened.err(), Some(SealError::Damaged), "{other:?}");
    }
    for bit in 0..8 * BINDING.columns.len() {
        let mut columns = BINDING.columns.to_vec();
        columns[bit / 8] ^= 1 << (bit % 8);
        let other = Binding {
            columns: &columns,
            ..BINDING
        };
        assert!(opener.open(&sealed, &other).is_err());
    }
}

#[test]
fn a_record_opens_in_its_domain_and_under_its_key_alone() {
    let development = ring(RingMark::Development);
    let mut ring = ring(RingMark::Production);
    let sealed = sealed_record();
    let other: Domain = "merchant-8".parse().unwrap();
    let id = sealed_key_id(&sealed).unwrap();
    assert_eq!(
        ring.card_key_for(&other, &id).err(),
        Some(KeyError::UnknownKey)
    );
    let foreign = Opener::new(&ring.card_key_of(&other, 2).unwrap());
    assert_eq!(
        foreign.open(&sealed, &BINDING).err(),
        Some(SealError::OtherKey)
    );
    // The other key's id, put into the record, opens nothing either.
    let mut swapped = sealed;
    swapped[1..17].copy_from_slice(foreign.key_id().as_bytes());
    assert_eq!(
        foreign.open(&swapped, &BINDING).err(),
        Some(SealError::Damaged)
    );
    // Neither does the ring with the other mark, though its roots are the same.
    assert_eq!(
        opener(&development, &sealed).err(),
        Some(KeyError::UnknownKey)
    );
    // A retired version opens it still.
    let period = Cryptoperiod::default_of(KeyUse::Card);
    let next = ring.add(KeyUse::Card, period, NOW, &mut rng(33)).unwrap();
    ring.activate(next, NOW).unwrap();
    assert!(
        opener(&ring, &sealed)
            .unwrap()
            .open(&sealed, &BINDING)
            .is_ok()
    );
}

#[test]
fn named_errors_of_records() {
    let ring = ring(RingMark::Production);
    let sealed = sealed_record();
    let opener = opener(&ring, &sealed).unwrap();
    let open = |sealed: &[u8]| opener.open(sealed, &BINDING).err();
    assert_eq!(open(&[]), Some(SealError::Length { bytes: 0 }));
    assert_eq!(open(&sealed[1..]), Some(SealError::Length { bytes: 72 }));
    for found in [0, 2, 255] {
        let mut newer = sealed;
        newer[0] = found;
        assert_eq!(open(&newer), Some(SealError::Version { found }));
        assert_eq!(sealed_key_id(&newer), Err(SealError::Version { found }));
    }
}

/// Gives bytes until it is told to stop.
struct Failing(Cell<usize>);

impl rand_core::TryRng for Failing {
    type Error = std::io::Error;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Err(std::io::Error::other("no"))
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Err(std::io::Error::other("no"))
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        let left = self.0.get().checked_sub(1);
        self.0.set(left.ok_or_else(|| std::io::Error::other("no"))?);
        rng(1).fill_bytes(out);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Failing {}

#[test]
fn a_failed_sealing_leaves_the_output_as_it_was() {
    let ring = ring(RingMark::Production);
    let key = ring.card_key(&domain(), NOW).unwrap();
    let sealer = Sealer::new(&key);
    let long = [0; 256];
    let record = record();
    let untouched = [0xaa; SEALED_RECORD_LEN];
    // What one call and a batch of two both answer.
    let seal = |binding: &Binding<'_>, now| {
        let mut source = NonceSource::new(Failing(Cell::new(0)));
        let mut out = [untouched; 2];
        let pair = [(&record, BINDING), (&record, *binding)];
        let batch = sealer.seal_batch(&pair, now, &mut source, &mut out);
        let single = sealer.seal(&record, binding, now, &mut source, &mut out[0]);
        assert_eq!(single, batch);
        assert_eq!(out, [untouched; 2]);
        single
    };
    assert_eq!(
        seal(&BINDING, NOW),
        Err(SealError::Random(RandomError::Failed))
    );
    // This generator starts again with each draw.
    let mut source = NonceSource::new(Failing(Cell::new(2)));
    let mut out = untouched;
    assert!(
        sealer
            .seal(&record, &BINDING, NOW, &mut source, &mut out)
            .is_ok()
    );
    let mut out = untouched;
    assert_eq!(
        sealer.seal(&record, &BINDING, NOW, &mut source, &mut out),
        Err(SealError::Random(RandomError::Repeated))
    );
    assert_eq!(out, untouched);
    let name = key.name();
    assert_eq!(
        seal(&BINDING, key.not_after()),
        Err(SealError::CryptoperiodOver { name })
    );
    for (field, max) in [
        (BindingField::Token, 64),
        (BindingField::Fingerprint, 64),
        (BindingField::Columns, 128),
    ] {
        let with = |part| match field {
            BindingField::Token => Binding {
                token: part,
                ..BINDING
            },
            BindingField::Fingerprint => Binding {
                fingerprint: part,
                ..BINDING
            },
            _ => Binding {
                columns: part,
                ..BINDING
            },
        };
        let bytes = max + 1;
        assert_eq!(
            seal(&with(&long[..bytes]), NOW),
            Err(SealError::Binding { field, bytes })
        );
        let mut out = [0; SEALED_RECORD_LEN];
        let longest = with(&long[..max]);
        let mut source = NonceSource::new(rng(1));
        sealer
            .seal(&record, &longest, NOW, &mut source, &mut out)
            .unwrap();
        let opener = opener(&ring, &out).unwrap();
        assert!(same(&opener.open(&out, &longest).unwrap(), &record));
        let refused = opener.open(&out, &with(&long[..bytes]));
        assert_eq!(refused.err(), Some(SealError::Binding { field, bytes }));
    }
}

#[test]
fn batches_open_one_by_one_and_have_a_limit() {
    let ring = ring(RingMark::Production);
    let sealer = Sealer::new(&ring.card_key(&domain(), NOW).unwrap());
    let record = record();
    let tokens: Vec<String> = (0..=NONCE_BATCH_MAX).map(|i| format!("tok-{i}")).collect();
    let items: Vec<_> = tokens
        .iter()
        .map(|token| {
            let token = token.as_bytes();
            (&record, Binding { token, ..BINDING })
        })
        .collect();
    let mut source = NonceSource::new(rng(4));
    let mut out = vec![[0xaa; SEALED_RECORD_LEN]; NONCE_BATCH_MAX + 1];
    let refused = SealError::Batch {
        records: NONCE_BATCH_MAX + 1,
    };
    assert_eq!(
        sealer.seal_batch(&items, NOW, &mut source, &mut out),
        Err(refused)
    );
    let refused = SealError::Batch { records: 3 };
    assert_eq!(
        sealer.seal_batch(&items[..3], NOW, &mut source, &mut out[..2]),
        Err(refused)
    );
    assert!(out.iter().flatten().all(|byte| *byte == 0xaa));
    out.pop();
    let items = &items[..NONCE_BATCH_MAX];
    sealer
        .seal_batch(items, NOW, &mut source, &mut out)
        .unwrap();
    sealer.seal_batch(&[], NOW, &mut source, &mut []).unwrap();
    let mut nonces = std::collections::BTreeSet::new();
    for (sealed, (_, binding)) in out.iter().zip(items) {
        let opener = opener(&ring, sealed).unwrap();
        assert!(same(&opener.open(sealed, binding).unwrap(), &record));
        nonces.insert(sealed[17..41].to_vec());
    }
    assert_eq!(nonces.len(), NONCE_BATCH_MAX);
}

/// A nonce that waited in memory would be used on both sides of a fork.
#[test]
fn no_nonce_is_drawn_before_it_is_used() {
    struct Counting<'a>(&'a Cell<Vec<usize>>, ChaCha20Rng);
    impl rand_core::TryRng for Counting<'_> {
        type Error = core::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(self.1.next_u32())
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(self.1.next_u64())
        }
        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
            let mut draws = self.0.take();
            draws.push(out.len());
            self.0.set(draws);
            self.1.fill_bytes(out);
            Ok(())
        }
    }
    impl rand_core::TryCryptoRng for Counting<'_> {}

    let sealer = Sealer::new(&ring(RingMark::Production).card_key(&domain(), NOW).unwrap());
    let record = record();
    let draws = Cell::new(Vec::new());
    let mut source = NonceSource::new(Counting(&draws, rng(1)));
    let mut out = [[0; SEALED_RECORD_LEN]; 5];
    for place in &mut out {
        sealer
            .seal(&record, &BINDING, NOW, &mut source, place)
            .unwrap();
    }
    assert_eq!(draws.take(), [24; 5]);
    let five = [(&record, BINDING); 5];
    sealer
        .seal_batch(&five, NOW, &mut source, &mut out)
        .unwrap();
    assert_eq!(draws.take(), [5 * 24]);
    // The source has room for the one nonce that it compares with.
    assert_eq!(size_of::<NonceSource<()>>(), 24);
}

/// The same errors, no ring that is left half open, and a text that is nowhere left in clear.
#[test]
fn a_ring_opens_in_the_memory_of_its_caller() {
    let whole = ring_under_kek();
    let expected = ring(RingMark::Production).commitment();
    let is_blank = |ring: &KeyRing| {
        let blank = ring.commitment() == KeyRing::blank().commitment();
        blank && ring.versions().count() == 0
    };
    let text = 37 + 3 + 16 + 24 + 2..whole.len() - 16;
    let mut into = KeyRing::blank();
    for at in 0..whole.len() {
        let mut sealed = whole.clone();
        open_ring_with_kek_into(&mut sealed, &kek(), &mut into).unwrap();
        assert_eq!(into.commitment(), expected);
        assert!(sealed[text.clone()].iter().all(|byte| *byte == 0));
        assert_eq!(sealed[..text.start], whole[..text.start]);
        // Over an open ring: one that is changed, and one that is cut off.
        let mut sealed = whole.clone();
        sealed[at] ^= 1;
        let changed = sealed.clone();
        let refused = open_ring_with_kek_into(&mut sealed, &kek(), &mut into);
        assert_eq!(refused.err(), open_ring_with_kek(&changed, &kek()).err());
        assert!(refused.is_err() && is_blank(&into));
        assert_eq!(sealed, changed);
        let refused = open_ring_with_kek_into(&mut sealed[..at], &kek(), &mut into);
        assert!(refused.is_err() && is_blank(&into));
    }
    let mut sealed = ring_under_module();
    open_ring_with_wrap_into(&mut sealed, &mut TestModule, &mut into).unwrap();
    let mut out = [0; MAX_SEALED_RING];
    let len = seal_ring_with_kek(&into, &kek(), &mut rng(8), &mut out).unwrap();
    let again = open_ring_with_kek(&out[..len], &kek()).unwrap();
    assert_eq!(again.commitment(), into.commitment());
    let refused = open_ring_with_wrap_into(&mut ring_under_kek(), &mut TestModule, &mut into);
    assert!(refused.is_err() && is_blank(&into));
}

#[test]
fn a_blank_ring_is_no_ring() {
    let mut blank = KeyRing::blank();
    let usage = KeyUse::Card;
    let no_key = KeyError::NoActive { usage };
    assert_eq!(blank.card_key(&domain(), NOW).err(), Some(no_key));
    let period = Cryptoperiod::default_of(usage);
    let added = blank.add(usage, period, NOW, &mut rng(1));
    assert_eq!(added, Err(KeyError::Blank));
    let mut out = [0xaa; MAX_SEALED_RING];
    let sealed = seal_ring_with_kek(&blank, &kek(), &mut rng(1), &mut out);
    assert_eq!(sealed, Err(RingSealError::Key(KeyError::Blank)));
    assert!(out.iter().all(|byte| *byte == 0xaa));
    // A ring that is cleared is one.
    let mut ring = ring(RingMark::Development);
    ring.clear();
    assert_eq!(ring.commitment(), blank.commitment());
    assert_eq!(ring.versions().count(), 0);
}

#[test]
fn named_errors_of_rings() {
    let sealed = ring_under_kek();
    let open = |sealed: &[u8]| open_ring_with_kek(sealed, &kek()).err();
    let components = [
        Component::random(&mut rng(1)),
        Component::random(&mut rng(2)),
    ];
    let other = Kek::combine(&components.map(Result::unwrap), None).unwrap();
    let expected = KEK_CHECK_VALUE.parse().unwrap();
    let given = other.check_value();
    assert_eq!(
        open_ring_with_kek(&sealed, &other).err(),
        Some(RingSealError::OtherKek { expected, given })
    );
    assert_eq!(open(&[]), Some(RingSealError::NotARing));
    assert_eq!(open(b"not a ring at all"), Some(RingSealError::NotARing));
    let changed = |at: usize, byte: u8| {
        let mut sealed = sealed.clone();
        sealed[at] = byte;
        open(&sealed)
    };
    for found in [0, 2, 255] {
        assert_eq!(changed(8, found), Some(RingSealError::Version { found }));
    }
    let invalid = |at| Some(RingSealError::Frame(CodecError::Invalid { at }));
    assert_eq!(changed(9, 3), invalid(9));
    assert_eq!(changed(10, 4), invalid(10));
    assert_eq!(changed(36, 4), invalid(35));
    assert_eq!(changed(9, 2), Some(RingSealError::Damaged));
    assert_eq!(changed(34, 99), Some(RingSealError::Damaged));
    let len = sealed.len();
    assert_eq!(
        open(&[&sealed[..], &[0]].concat()),
        Some(RingSealError::Frame(CodecError::Trailing { at: len }))
    );
    assert_eq!(
        open(&sealed[..len - 1]),
        Some(RingSealError::Frame(CodecError::Truncated { at: len - 16 }))
    );
    assert_eq!(
        open(&ring_under_module()),
        Some(RingSealError::OtherProtection {
            protection: Protection::WrappedKey
        })
    );
    let opened = open_ring_with_wrap(&sealed, &mut TestModule).err();
    let check_value = expected;
    let protection = Protection::Kek { check_value };
    assert_eq!(
        opened,
        Some(WrapError::Ring(RingSealError::OtherProtection {
            protection
        }))
    );
    // Another generation in the header is another context for the module.
    let mut older = ring_under_module();
    older[34] ^= 1;
    assert_eq!(
        open_ring_with_wrap(&older, &mut TestModule).err(),
        Some(WrapError::Wrap(ModuleError))
    );
}

#[test]
fn a_ring_that_was_not_sealed_leaves_the_output_as_it_was() {
    let ring = ring(RingMark::Production);
    let needed = ring_under_kek().len();
    let mut out = [0xaa; MAX_SEALED_RING];
    let short = seal_ring_with_kek(&ring, &kek(), &mut rng(8), &mut out[..needed - 1]);
    assert_eq!(short, Err(RingSealError::NoRoom { needed }));
    let mut failing = Failing(Cell::new(0));
    let failed = seal_ring_with_kek(&ring, &kek(), &mut failing, &mut out);
    assert_eq!(failed, Err(RingSealError::Random(RandomError::Failed)));
    struct Silent(usize);
    impl KeyWrap for Silent {
        type Error = ModuleError;
        fn wrap_key(
            &mut self,
            _: &Secret<32>,
            _: &[u8],
            _: &mut [u8; WRAPPED_KEY_MAX],
        ) -> Result<usize, ModuleError> {
            Ok(self.0)
        }
        fn unwrap_key(&mut self, _: &[u8], _: &[u8]) -> Result<Secret<32>, ModuleError> {
            Err(ModuleError)
        }
    }
    for bytes in [0, WRAPPED_KEY_MAX + 1] {
        let sealed = seal_ring_with_wrap(&ring, &mut Silent(bytes), &mut rng(8), &mut out);
        let refused = WrapError::Ring(RingSealError::WrappedKey { bytes });
        assert_eq!(sealed, Err(refused));
    }
    assert_eq!(out, [0xaa; MAX_SEALED_RING]);
}

#[test]
fn the_fullest_ring_fits() {
    let mut random = rng(5);
    let mut ring = KeyRing::new(RingMark::Production, &mut random).unwrap();
    for place in 0..cardvault::keys::MAX_KEYS {
        // One for audit logs: with it the ring has the most uses.
        let usage = if place == 0 {
            KeyUse::Audit
        } else {
            KeyUse::Card
        };
        let period = Cryptoperiod::default_of(usage);
        ring.add(usage, period, NOW, &mut random).unwrap();
    }
    ring.activate(KeyName::new(KeyUse::Card, 63), NOW).unwrap();
    struct Long;
    impl KeyWrap for Long {
        type Error = ModuleError;
        fn wrap_key(
            &mut self,
            key: &Secret<32>,
            _: &[u8],
            out: &mut [u8; WRAPPED_KEY_MAX],
        ) -> Result<usize, ModuleError> {
            out[..32].copy_from_slice(key.expose());
            Ok(WRAPPED_KEY_MAX)
        }
        fn unwrap_key(&mut self, wrapped: &[u8], _: &[u8]) -> Result<Secret<32>, ModuleError> {
            Ok(Secret::new(wrapped[..32].try_into().unwrap()))
        }
    }
    let mut out = [0; MAX_SEALED_RING];
    let len = seal_ring_with_wrap(&ring, &mut Long, &mut random, &mut out).unwrap();
    assert_eq!(len, MAX_SEALED_RING);
    let opened = open_ring_with_wrap(&out, &mut Long).unwrap();
    assert_same_ring(&opened, &ring);
}

/// The ring, its KEK and an old backup of the vault, together: nothing opens.
#[test]
fn what_a_destroyed_version_sealed_opens_no_more() {
    let backup = sealed_record();
    let mut ring = ring(RingMark::Production);
    let name = KeyName::new(KeyUse::Card, 2);
    let id = sealed_key_id(&backup).unwrap();
    assert!(
        opener(&ring, &backup)
            .unwrap()
            .open(&backup, &BINDING)
            .is_ok()
    );
    let info = *ring.info(name).unwrap();

    ring.deactivate(name, NOW).unwrap();
    ring.destroy(name, NOW).unwrap();
    let mut out = [0; MAX_SEALED_RING];
    let len = seal_ring_with_kek(&ring, &kek(), &mut rng(11), &mut out).unwrap();
    let opened = open_ring_with_kek(&out[..len], &kek()).unwrap();
    for ring in [&ring, &opened] {
        assert_eq!(
            ring.card_key_for(&domain(), &id).err(),
            Some(KeyError::UnknownKey)
        );
        assert_eq!(
            ring.card_key_of(&domain(), 2).err(),
            Some(KeyError::Destroyed { name })
        );
        // Every key that is left is tried.
        for version in 1..=2 {
            assert!(ring.card_key_of(&domain(), version).is_err());
        }
        let tombstone = ring.info(name).unwrap();
        assert_eq!(tombstone.state, KeyState::Destroyed);
        assert_eq!(tombstone.check_value, info.check_value);
        assert_eq!(tombstone.activated, info.activated);
    }
    // An older copy of the ring still has the root, which its generation gives away.
    let older = open_ring_with_kek(&ring_under_kek(), &kek()).unwrap();
    assert!(older.generation() < opened.generation());
    assert_eq!(older.id(), opened.id());
    assert!(opener(&older, &backup).is_ok());
}

#[test]
fn components_have_one_text_form() {
    for text in COMPONENTS {
        let component = Component::parse(text.as_bytes()).unwrap();
        component.expose_text(|again| assert_eq!(again, text));
        assert!(text.ends_with(&component.check_value().to_string()));
        let shown = format!("{component:?}");
        assert_eq!(shown, format!("Component({})", component.check_value()));
        for len in 0..text.len() {
            assert_eq!(
                Component::parse(&text.as_bytes()[..len]).err(),
                Some(ComponentError::Length { bytes: len })
            );
        }
        // Every single byte changed to every other value is noticed where it stands.
        for at in 0..text.len() {
            for byte in 0..=255 {
                let mut changed = text.as_bytes().to_vec();
                if changed[at] == byte {
                    continue;
                }
                changed[at] = byte;
                let error = Component::parse(&changed).err().unwrap();
                let hex = byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
                let separator = [b' ', b'/'].contains(&text.as_bytes()[at]);
                match error {
                    ComponentError::Separator { at: found } => assert!(separator && found == at),
                    ComponentError::Digit { at: found } => {
                        assert!(!separator && !hex && found == at);
                    }
                    ComponentError::CheckValue { .. } => assert!(!separator && hex),
                    _ => panic!("{error}"),
                }
            }
        }
    }
    let zero = format!("{}/ 921105", "0000 ".repeat(16));
    assert_eq!(
        Component::parse(zero.as_bytes()).err(),
        Some(ComponentError::Zero)
    );
    for seed in 0..20 {
        let component = Component::random(&mut rng(seed)).unwrap();
        let check_value = component.check_value();
        let again = component.expose_text(|text| Component::parse(text.as_bytes()).unwrap());
        assert_eq!(again.check_value(), check_value);
    }
}

#[test]
fn a_kek_needs_all_its_components() {
    let draw = |seed| Component::random(&mut rng(seed)).unwrap();
    let eight: Vec<_> = (1..=8).map(draw).collect();
    let nine: Vec<_> = (1..=9).map(draw).collect();
    for given in [0, 1, 9] {
        let refused = Kek::combine(&nine[..given], None).err();
        assert_eq!(refused, Some(CeremonyError::Count { given }));
    }
    let kek = Kek::combine(&eight, None).unwrap();
    let reversed: Vec<_> = (1..=8).rev().map(draw).collect();
    let again = Kek::combine(&reversed, Some(kek.check_value()));
    assert!(again.is_ok());
    let expected = kek.check_value();
    let seven = Kek::combine(&eight[..7], Some(expected)).err();
    assert!(matches!(seven, Some(CeremonyError::CheckValue { expected: e, .. }) if e == expected));
    let twice = [draw(1), draw(2), draw(3), draw(2)];
    let (first, second) = (1, 3);
    assert_eq!(
        Kek::combine(&twice, None).err(),
        Some(CeremonyError::Equal { first, second })
    );
    // Three that cancel out: the third is the exclusive or of the others.
    let text = |bytes: [u8; 32]| {
        let check = CheckValue::of(&Secret::new(bytes));
        let groups: String = bytes
            .chunks(2)
            .map(|pair| format!("{:02X}{:02X} ", pair[0], pair[1]))
            .collect();
        Component::parse(format!("{groups}/ {check}").as_bytes()).unwrap()
    };
    let three = [text([1; 32]), text([6; 32]), text([7; 32])];
    assert_eq!(Kek::combine(&three, None).err(), Some(CeremonyError::Zero));
}

#[test]
fn check_values_agree_with_openssl() {
    // head -c16 /dev/zero | openssl mac -cipher AES-256-CBC -macopt hexkey:... CMAC
    let check = |key| CheckValue::of(&Secret::new(key)).to_string();
    assert_eq!(check([0; 32]), "921105");
    assert_eq!(check([1; 32]), "AF9C53");
    let mut count = [0; 32];
    for (place, value) in count.iter_mut().zip(0..) {
        *place = value;
    }
    assert_eq!(check(count), "377822");
}

#[test]
fn fingerprints_are_frozen_and_differ_where_they_must() {
    let ring = ring(RingMark::Production);
    let pan = Pan::parse(b"4111111111111111").unwrap();
    let of = |domain: &str, version| {
        let key = ring.fingerprint_key(&domain.parse().unwrap(), version);
        Fingerprinter::new(&key.unwrap()).fingerprint(&pan)
    };
    let base = of("merchant-7", 1);
    assert_golden("fingerprint.hex", base.as_bytes());
    assert_ne!(base.as_bytes(), of("merchant-8", 1).as_bytes());
    assert_ne!(base.as_bytes(), of("merchant-7", 2).as_bytes());

    let key = ring.fingerprint_key(&domain(), 1).unwrap();
    let maker = Fingerprinter::new(&key);
    let pans = [
        Pan::parse(b"4111 1111 1111 1111").unwrap(),
        Pan::parse(b"378282246310005").unwrap(),
    ];
    let mut out = [Fingerprint::from_bytes([0; 32]); 2];
    maker.fingerprint_batch(&pans, &mut out);
    assert!(bool::from(out[0].ct_eq(&base)) && !bool::from(out[1].ct_eq(&base)));

    let key = ring.retired_fingerprint_key(&domain(), 1).unwrap();
    let verifier = FingerprintVerifier::new(&key);
    assert!(bool::from(verifier.matches(&pan, &base)));
    assert!(!bool::from(verifier.matches(&pans[1], &base)));
}

/// What holds a key or a number wipes it when dropped: checked by the compiler.
const _: () = {
    use cardvault::keys::{
        FingerprintKey, IrreversibleKey, OpeningKey, RetiredFingerprintKey, SealingKey,
        VaultlessKey, VaultlessOpeningKey,
    };
    const fn wiped<T: zeroize::ZeroizeOnDrop>() {}
    wiped::<Secret<32>>();
    wiped::<Pan>();
    wiped::<KeyRing>();
    wiped::<Component>();
    wiped::<Kek>();
    wiped::<SealingKey>();
    wiped::<OpeningKey>();
    wiped::<FingerprintKey>();
    wiped::<RetiredFingerprintKey>();
    wiped::<VaultlessKey>();
    wiped::<VaultlessOpeningKey>();
    wiped::<IrreversibleKey>();
    wiped::<Sealer>();
    wiped::<Opener>();
    wiped::<Fingerprinter>();
    wiped::<FingerprintVerifier>();
};
