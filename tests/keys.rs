//! The key ring against a simple model, and what is left of a destroyed key.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;

use cardvault::UnixSeconds;
use cardvault::keys::{
    CLOCK_TOLERANCE, Cryptoperiod, Domain, DueAction, KeyError, KeyName, KeyRing, KeyState, KeyUse,
    MAX_KEYS, RingMark,
};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const YEAR: u64 = 365 * 24 * 60 * 60;

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn ring_with(usage: KeyUse, count: u32) -> (KeyRing, ChaCha20Rng) {
    let mut rng = rng(1);
    let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
    for version in 1..=count {
        let name = ring
            .add(usage, Cryptoperiod::default_of(usage), NOW, &mut rng)
            .unwrap();
        assert_eq!(name, KeyName::new(usage, version));
    }
    (ring, rng)
}

fn card(version: u32) -> KeyName {
    KeyName::new(KeyUse::Card, version)
}

fn domain() -> Domain {
    "merchant-7".parse().unwrap()
}

#[test]
fn activation_retires_the_key_before_in_one_call() {
    let (mut ring, _) = ring_with(KeyUse::Card, 2);
    ring.activate(card(1), NOW).unwrap();
    let old = ring.card_key(&domain(), NOW).unwrap();
    let generation = ring.generation();
    ring.activate(card(2), NOW).unwrap();
    assert_eq!(ring.generation(), generation + 1);
    assert_eq!(ring.info(card(1)).unwrap().state, KeyState::Deactivated);
    assert_eq!(ring.card_key(&domain(), NOW).unwrap().name(), card(2));
    let opening = ring.card_key_for(&domain(), old.id()).unwrap();
    assert_eq!((opening.name(), opening.id()), (card(1), old.id()));
    let back = ring.activate(card(1), NOW);
    let (from, to) = (KeyState::Deactivated, KeyState::Active);
    let name = card(1);
    assert_eq!(back, Err(KeyError::Transition { name, from, to }));
}

#[test]
fn uses_rotate_apart() {
    let (mut ring, mut rng) = ring_with(KeyUse::Card, 2);
    let index = ring
        .add(
            KeyUse::Index,
            Cryptoperiod::default_of(KeyUse::Index),
            NOW,
            &mut rng,
        )
        .unwrap();
    ring.activate(index, NOW).unwrap();
    ring.activate(card(1), NOW).unwrap();
    ring.activate(card(2), NOW).unwrap();
    assert_eq!(ring.active(KeyUse::Index).unwrap().name, index);
    assert_eq!(ring.index_versions().unwrap().read, 1);
}

#[test]
fn the_originator_period_ends_at_its_last_second() {
    let (mut ring, _) = ring_with(KeyUse::Card, 1);
    let name = card(1);
    assert_eq!(
        ring.card_key(&domain(), NOW).err(),
        Some(KeyError::NoActive {
            usage: KeyUse::Card
        })
    );
    ring.activate(name, NOW).unwrap();
    assert!(ring.card_key(&domain(), NOW.plus(YEAR - 1)).is_ok());
    let over = ring.card_key(&domain(), NOW.plus(YEAR));
    assert_eq!(over.err(), Some(KeyError::CryptoperiodOver { name }));
    // A key that was suspended at the end does not come back.
    ring.suspend(name, NOW).unwrap();
    let back = ring.activate(name, NOW.plus(YEAR));
    assert_eq!(back, Err(KeyError::CryptoperiodOver { name }));
    ring.activate(name, NOW.plus(YEAR - 1)).unwrap();
}

#[test]
fn due_lists_both_ends() {
    let (mut ring, _) = ring_with(KeyUse::Card, 2);
    ring.activate(card(1), NOW).unwrap();
    assert_eq!(ring.due(NOW, YEAR - 1).count(), 0);
    let due = ring.due(NOW, YEAR).next().unwrap();
    assert_eq!(
        (due.name, due.action, due.at),
        (card(1), DueAction::Replace, NOW.plus(YEAR))
    );
    ring.activate(card(2), NOW.plus(1)).unwrap();
    assert_eq!(ring.due(NOW, YEAR).count(), 0);
    let due: Vec<_> = ring.due(NOW.plus(3 * YEAR), YEAR).collect();
    assert_eq!((due[0].name, due[0].action), (card(1), DueAction::Destroy));
    assert_eq!((due[1].name, due[1].action), (card(2), DueAction::Replace));
    ring.destroy(card(1), NOW).unwrap();
    assert_eq!(ring.due(NOW.plus(3 * YEAR), YEAR).count(), 1);
}

#[test]
fn cryptoperiods_have_an_order() {
    assert_eq!(Cryptoperiod::new(0, 5), Err(KeyError::Cryptoperiod));
    assert_eq!(Cryptoperiod::new(5, 4), Err(KeyError::Cryptoperiod));
    let period = Cryptoperiod::new(5, 5).unwrap();
    assert_eq!((period.originator(), period.recipient()), (5, 5));
}

#[test]
fn a_full_ring_forgets_the_first_tombstone_and_no_number() {
    let count = u32::try_from(MAX_KEYS).unwrap();
    let (mut ring, mut rng) = ring_with(KeyUse::Card, count);
    let mut add = |ring: &mut KeyRing| {
        let period = Cryptoperiod::default_of(KeyUse::Card);
        ring.add(KeyUse::Card, period, NOW, &mut rng)
    };
    let generation = ring.generation();
    assert_eq!(add(&mut ring), Err(KeyError::Full));
    assert_eq!(ring.generation(), generation);
    ring.destroy(card(9), NOW.plus(5)).unwrap();
    ring.destroy(card(7), NOW.plus(9)).unwrap();
    assert_eq!(add(&mut ring), Ok(card(count + 1)));
    let name = card(9);
    assert_eq!(ring.info(name), Err(KeyError::UnknownVersion { name }));
    assert_eq!(ring.info(card(7)).unwrap().state, KeyState::Destroyed);
    // The newest version may be forgotten too: its number stays used.
    ring.destroy(card(count + 1), NOW).unwrap();
    assert_eq!(add(&mut ring), Ok(card(count + 2)));
    assert!(ring.info(card(count + 1)).is_err());
    let names: Vec<_> = ring.versions().map(|info| info.name).collect();
    assert!(names.is_sorted() && names.len() == MAX_KEYS);
}

#[test]
fn an_index_is_filled_before_it_is_read() {
    let (mut ring, _) = ring_with(KeyUse::Index, 3);
    let index = |version| KeyName::new(KeyUse::Index, version);
    assert_eq!(
        ring.begin_filling(index(1)),
        Err(KeyError::NoActive {
            usage: KeyUse::Index
        })
    );
    ring.activate(index(1), NOW).unwrap();
    let name = index(2);
    assert_eq!(ring.activate(name, NOW), Err(KeyError::NotFilled { name }));
    assert!(ring.fingerprint_key(&domain(), 2).is_err());
    ring.begin_filling(name).unwrap();
    assert_eq!(
        ring.begin_filling(index(3)),
        Err(KeyError::Filling { name })
    );
    let versions = ring.index_versions().unwrap();
    assert_eq!((versions.read, versions.also_write), (1, Some(2)));
    assert!(ring.fingerprint_key(&domain(), 2).is_ok());
    ring.activate(name, NOW).unwrap();
    let versions = ring.index_versions().unwrap();
    assert_eq!((versions.read, versions.also_write), (2, None));
    // The old version compares and writes no more.
    assert_eq!(
        ring.fingerprint_key(&domain(), 1).err(),
        Some(KeyError::State {
            name: index(1),
            state: KeyState::Deactivated
        })
    );
    assert!(ring.retired_fingerprint_key(&domain(), 1).is_ok());
    // Neither does a suspended one make way, but a retired one does.
    ring.suspend(name, NOW).unwrap();
    let name = index(3);
    assert_eq!(ring.activate(name, NOW), Err(KeyError::NotFilled { name }));
    ring.deactivate(index(2), NOW).unwrap();
    ring.activate(name, NOW).unwrap();
}

#[test]
fn two_vaultless_generations_are_live_and_can_be_told_apart() {
    let (mut ring, _) = ring_with(KeyUse::Vaultless, 12);
    let name = |version| KeyName::new(KeyUse::Vaultless, version);
    ring.activate(name(1), NOW).unwrap();
    assert_eq!(
        ring.activate(name(10), NOW),
        Err(KeyError::Residue { name: name(1) })
    );
    ring.activate(name(2), NOW).unwrap();
    assert_eq!(ring.vaultless_generations().collect::<Vec<_>>(), [1, 2]);
    let oldest = name(1);
    assert_eq!(
        ring.activate(name(3), NOW),
        Err(KeyError::GenerationsLive { oldest })
    );
    ring.compromise(oldest, NOW).unwrap();
    assert_eq!(
        ring.activate(name(3), NOW),
        Err(KeyError::GenerationsLive { oldest })
    );
    ring.destroy(oldest, NOW).unwrap();
    ring.activate(name(3), NOW).unwrap();
    assert_eq!(ring.vaultless_generations().collect::<Vec<_>>(), [2, 3]);
    assert_eq!(ring.vaultless_key(&domain(), NOW).unwrap().generation(), 3);
    assert!(ring.vaultless_key_of(&domain(), 2).is_ok());
    assert_eq!(
        ring.vaultless_key_of(&domain(), 1).err(),
        Some(KeyError::Destroyed { name: oldest })
    );
}

#[test]
fn a_key_that_was_never_active_opens_nothing() {
    let (mut ring, _) = ring_with(KeyUse::Card, 1);
    let name = card(1);
    let refused = |ring: &KeyRing| ring.card_key_of(&domain(), 1).err();
    let state = KeyState::PreActivation;
    assert_eq!(refused(&ring), Some(KeyError::State { name, state }));
    ring.compromise(name, NOW).unwrap();
    let state = KeyState::Compromised;
    assert_eq!(refused(&ring), Some(KeyError::State { name, state }));
    ring.destroy(name, NOW).unwrap();
    assert_eq!(refused(&ring), Some(KeyError::Destroyed { name }));
}

#[test]
fn domains_uses_versions_marks_and_rings_have_keys_of_their_own() {
    let mut ids = std::collections::BTreeSet::new();
    let mut keys = 0;
    for mark in [RingMark::Production, RingMark::Development] {
        // The same seed: the same roots in both rings.
        let mut rng = rng(3);
        let mut ring = KeyRing::new(mark, &mut rng).unwrap();
        for version in 1..=2 {
            let period = Cryptoperiod::default_of(KeyUse::Card);
            ring.add(KeyUse::Card, period, NOW, &mut rng).unwrap();
            ring.activate(card(version), NOW).unwrap();
            for domain in ["a", "b", "ab", r"a\x00"] {
                let domain: Domain = domain.parse().unwrap();
                let key = ring.card_key(&domain, NOW).unwrap();
                ids.insert(*key.id());
                keys += 1;
            }
        }
        let other: Domain = "c".parse().unwrap();
        for id in &ids {
            let found = ring.card_key_for(&other, id);
            assert_eq!(found.err(), Some(KeyError::UnknownKey));
        }
    }
    assert_eq!(ids.len(), keys);
}

#[test]
fn a_generator_that_stands_still_makes_no_second_root() {
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
    let mut ring = KeyRing::new(RingMark::Development, &mut Still).unwrap();
    let period = Cryptoperiod::default_of(KeyUse::Card);
    ring.add(KeyUse::Card, period, NOW, &mut Still).unwrap();
    assert!(matches!(
        ring.add(KeyUse::Index, period, NOW, &mut Still),
        Err(KeyError::Random(_))
    ));
    assert_eq!(ring.versions().count(), 1);
}

#[test]
fn debug_shows_no_key() {
    let (mut ring, _) = ring_with(KeyUse::Card, 1);
    ring.activate(card(1), NOW).unwrap();
    let text = format!("{ring:?}");
    assert!(
        text.starts_with("KeyRing { mark: Development, id: RingId("),
        "{text}"
    );
    let key = ring.card_key(&domain(), NOW).unwrap();
    assert_eq!(format!("{key:?}"), "SealingKey(card-1, merchant-7)");
}

#[derive(Clone, Debug)]
enum Op {
    Add(KeyUse),
    Activate(usize),
    Suspend(usize),
    Deactivate(usize),
    Compromise(usize),
    Destroy(usize),
    Fill(usize),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let usage = proptest::sample::select(KeyUse::ALL.to_vec());
    prop_oneof![
        3 => usage.prop_map(Op::Add),
        4 => (0_usize..64).prop_map(Op::Activate),
        1 => (0_usize..64).prop_map(Op::Suspend),
        1 => (0_usize..64).prop_map(Op::Deactivate),
        1 => (0_usize..64).prop_map(Op::Compromise),
        1 => (0_usize..64).prop_map(Op::Destroy),
        1 => (0_usize..64).prop_map(Op::Fill),
        1 => (0_u64..YEAR).prop_map(Op::Wait),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Key {
    state: KeyState,
    since: Option<u64>,
    filling: bool,
}

/// The ring as one would write it down on a page.
#[derive(Clone, Debug, Default)]
struct Model {
    keys: BTreeMap<KeyName, Key>,
    last: BTreeMap<KeyUse, u32>,
}

impl Model {
    fn active(&self, usage: KeyUse) -> Option<KeyName> {
        let mut active = self
            .keys
            .iter()
            .filter(|(name, key)| name.usage == usage && key.state == KeyState::Active);
        let first = active.next().map(|(name, _)| *name);
        assert!(active.next().is_none(), "two active keys");
        first
    }

    fn live(&self) -> Vec<u32> {
        let opens = [
            KeyState::Active,
            KeyState::Suspended,
            KeyState::Deactivated,
            KeyState::Compromised,
        ];
        self.keys
            .iter()
            .filter(|(name, _)| name.usage == KeyUse::Vaultless)
            .filter(|(_, key)| opens.contains(&key.state) && key.since.is_some())
            .map(|(name, _)| name.version)
            .collect()
    }

    /// Whether the change was allowed.
    fn to(&mut self, name: KeyName, state: KeyState, from: &[KeyState]) -> bool {
        let key = self.keys.get_mut(&name).unwrap();
        let allowed = from.contains(&key.state);
        if allowed {
            key.state = state;
            key.filling = false;
        }
        allowed
    }

    fn activate(&mut self, name: KeyName, now: u64) -> bool {
        let key = self.keys[&name];
        if !matches!(key.state, KeyState::PreActivation | KeyState::Suspended) {
            return false;
        }
        let one = matches!(name.usage, KeyUse::Audit | KeyUse::Card | KeyUse::Journal);
        let years = if one { 1 } else { 2 };
        if key.since.is_some_and(|since| now >= since + years * YEAR) {
            return false;
        }
        let active = self.active(name.usage);
        let written = |(other, key): (&KeyName, &Key)| {
            other.usage == KeyUse::Index
                && *other != name
                && [KeyState::Active, KeyState::Suspended].contains(&key.state)
        };
        if name.usage == KeyUse::Index && !key.filling && self.keys.iter().any(written) {
            return false;
        }
        if name.usage == KeyUse::Vaultless {
            let mut live = self.live();
            live.retain(|version| *version != name.version);
            if live.len() > 1 || live.iter().any(|v| v.abs_diff(name.version) % 9 == 0) {
                return false;
            }
        }
        if let Some(active) = active {
            self.keys.get_mut(&active).unwrap().state = KeyState::Deactivated;
        }
        let key = self.keys.get_mut(&name).unwrap();
        key.state = KeyState::Active;
        key.since.get_or_insert(now);
        key.filling = false;
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_history_agrees_with_the_model(ops in proptest::collection::vec(op(), 1..60)) {
        use KeyState::{Active, Compromised, Deactivated, Destroyed, PreActivation, Suspended};
        let mut rng = rng(2);
        let mut ring = KeyRing::new(RingMark::Production, &mut rng).unwrap();
        let mut model = Model::default();
        let mut now = NOW;
        for op in ops {
            let names: Vec<_> = model.keys.keys().copied().collect();
            let pick = |at: usize| names.get(at % names.len().max(1)).copied();
            let before = ring.generation();
            let (expected, given) = match op {
                Op::Wait(seconds) => {
                    now = now.plus(seconds);
                    continue;
                }
                Op::Add(usage) => {
                    let last = model.last.entry(usage).or_default();
                    *last += 1;
                    let key = Key { state: PreActivation, since: None, filling: false };
                    model.keys.insert(KeyName::new(usage, *last), key);
                    let period = Cryptoperiod::default_of(usage);
                    let name = ring.add(usage, period, now, &mut rng);
                    (true, name == Ok(KeyName::new(usage, *last)))
                }
                Op::Activate(at) => {
                    let Some(name) = pick(at) else { continue };
                    (model.activate(name, now.0), ring.activate(name, now).is_ok())
                }
                Op::Suspend(at) => {
                    let Some(name) = pick(at) else { continue };
                    (model.to(name, Suspended, &[Active]), ring.suspend(name, now).is_ok())
                }
                Op::Deactivate(at) => {
                    let Some(name) = pick(at) else { continue };
                    let allowed = model.to(name, Deactivated, &[Active, Suspended]);
                    (allowed, ring.deactivate(name, now).is_ok())
                }
                Op::Compromise(at) => {
                    let Some(name) = pick(at) else { continue };
                    let from = [PreActivation, Active, Suspended, Deactivated];
                    let allowed = model.to(name, Compromised, &from);
                    (allowed, ring.compromise(name, now).is_ok())
                }
                Op::Destroy(at) => {
                    let Some(name) = pick(at) else { continue };
                    let from = [PreActivation, Deactivated, Compromised];
                    let allowed = model.to(name, Destroyed, &from);
                    (allowed, ring.destroy(name, now).is_ok())
                }
                Op::Fill(at) => {
                    let Some(name) = pick(at) else { continue };
                    let allowed = name.usage == KeyUse::Index
                        && model.keys[&name].state == PreActivation
                        && model.active(KeyUse::Index).is_some()
                        && !model.keys.values().any(|key| key.filling);
                    if allowed {
                        model.keys.get_mut(&name).unwrap().filling = true;
                    }
                    (allowed, ring.begin_filling(name).is_ok())
                }
            };
            prop_assert_eq!(expected, given, "{:?}", op);
            prop_assert_eq!(ring.generation(), before + u64::from(given));
            let listed: BTreeMap<_, _> = ring
                .versions()
                .map(|info| {
                    let since = info.activated.map(|at| at.0);
                    (info.name, Key { state: info.state, since, filling: info.filling })
                })
                .collect();
            prop_assert_eq!(&listed, &model.keys);
            prop_assert_eq!(ring.vaultless_generations().collect::<Vec<_>>(), model.live());
            prop_assert!(model.live().len() <= 2);

            let active = model.active(KeyUse::Card);
            let sealing = ring.card_key(&domain(), now).map(|key| key.name());
            match active {
                None => prop_assert_eq!(sealing, Err(KeyError::NoActive { usage: KeyUse::Card })),
                Some(name) if now.0 < model.keys[&name].since.unwrap() + YEAR => {
                    prop_assert_eq!(sealing, Ok(name));
                }
                Some(name) => prop_assert_eq!(sealing, Err(KeyError::CryptoperiodOver { name })),
            }
            for (name, key) in &model.keys {
                if name.usage == KeyUse::Card {
                    let opens = ring.card_key_of(&domain(), name.version).is_ok();
                    let may = key.since.is_some() && key.state != Destroyed;
                    prop_assert_eq!(opens, may);
                }
            }
        }
    }
}

#[test]
fn a_clock_that_jumps_leaves_no_period_that_is_too_long_or_too_short() {
    let mut rng = rng(77);
    let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
    let year = Cryptoperiod::new(YEAR, 2 * YEAR).unwrap();
    let name = ring.add(KeyUse::Card, year, NOW, &mut rng).unwrap();
    // Back to 1970, and by little more than clocks may be apart.
    for early in [0, NOW.0 - CLOCK_TOLERANCE - 1] {
        let refused = ring.activate(name, UnixSeconds(early));
        assert_eq!(refused, Err(KeyError::Clock { name }));
        assert_eq!(ring.info(name).unwrap().state, KeyState::PreActivation);
    }
    let within = UnixSeconds(NOW.0 - CLOCK_TOLERANCE);
    ring.activate(name, within).unwrap();
    assert_eq!(
        ring.info(name).unwrap().not_after(),
        Some(within.plus(YEAR))
    );
    assert_eq!(ring.due(NOW, 0).count(), 0);

    // A clock ten years ahead activates the next one; once it is set right, that is due.
    let ahead = NOW.plus(10 * YEAR);
    let next = ring.add(KeyUse::Card, year, ahead, &mut rng).unwrap();
    ring.activate(next, ahead).unwrap();
    let due: Vec<_> = ring.due(NOW, 0).collect();
    assert_eq!(due.len(), 1, "{due:?}");
    assert_eq!(
        (due[0].name, due[0].action, due[0].at),
        (next, DueAction::Replace, NOW)
    );
    // And its successor has a period by the right time.
    let third = ring.add(KeyUse::Card, year, NOW, &mut rng).unwrap();
    ring.activate(third, NOW).unwrap();
    assert_eq!(ring.info(third).unwrap().not_after(), Some(NOW.plus(YEAR)));
    assert_eq!(ring.due(NOW, 0).count(), 0);
}
