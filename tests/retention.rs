//! Retention: what goes and what stays, against a slow model; purges that are cut, raced and
//! refused; and that nothing gives a purged card once its key version is destroyed.
#![cfg(feature = "embedded")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation
)]

#[macro_use]
#[path = "support/forward.rs"]
mod forward;
#[path = "support/lines.rs"]
mod lines;
#[path = "support/ledger/mod.rs"]
mod support;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cardvault::archive::restore_blocking;
use cardvault::card::{CardRecord, Pan};
use cardvault::keys::{Cryptoperiod, Domain, KeyError, KeyName, KeyRing, KeyUse, RingMark};
use cardvault::ledger::{BlockingLedger, Change, Ledger, NewPayment, Source};
use cardvault::payment::{BatchNumber, ClearingDate, Date, PaymentKind, ResponseCode};
use cardvault::refund::{Action, RefundEvent, Request};
use cardvault::token::Token;
use cardvault::vault::{
    Access, AccessLog, AccessPolicy, ApprovedPurge, BlockingVault, Budget, Embedded,
    EmbeddedOptions, FILE_NAME, Grant, Guard, IndexKey, KeepRule, LineLog, Memory, Operation,
    PolicyRefusal, PurgeTally, Retention, RetentionError, Row, RowKey, Snapshot, SnapshotStore,
    Store, StoreError, Survey, Tokenize, VaultError, Verdict, Write, WriteOutcome,
};
use cardvault::{SystemRandom, UnixSeconds};
use lines::Lines;
use pollster::block_on;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use support::{access, merchant, number, policy, terminal};

/// Day 0 of these tests, in days since 1970.
const FIRST: u32 = 20_000;
const DAY: u64 = 86_400;

thread_local! {
    /// The time that vaults of this test see.
    static NOW: Cell<u64> = const { Cell::new(0) };
}

fn clock() -> UnixSeconds {
    UnixSeconds(NOW.get())
}

/// Noon of a day in UTC: the same day everywhere.
fn noon(day: u32) -> u64 {
    u64::from(FIRST + day) * DAY + DAY / 2
}

fn go_to(day: u32) {
    NOW.set(noon(day));
}

fn date(day: u32) -> Date {
    Date::from_days(FIRST + day).unwrap()
}

fn seeded(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn add(ring: &mut KeyRing, usage: KeyUse, rng: &mut ChaCha20Rng) {
    let period = Cryptoperiod::new(9_000 * DAY, 9_000 * DAY).unwrap();
    let name = ring.add(usage, period, UnixSeconds(noon(0)), rng).unwrap();
    ring.activate(name, UnixSeconds(noon(0))).unwrap();
}

fn ring() -> KeyRing {
    let mut rng = seeded(1);
    let mut ring = KeyRing::new(RingMark::Production, &mut rng).unwrap();
    for usage in KeyUse::ALL {
        add(&mut ring, usage, &mut rng);
    }
    ring
}

/// The same ring with a second card key in use.
fn rotated() -> KeyRing {
    let mut ring = ring();
    add(&mut ring, KeyUse::Card, &mut seeded(2));
    ring
}

/// And without the first.
fn destroyed() -> KeyRing {
    let mut ring = rotated();
    let first = KeyName::new(KeyUse::Card, 1);
    ring.destroy(first, UnixSeconds(noon(0))).unwrap();
    ring
}

fn open_with<S: Store>(store: S, ring: KeyRing, log: impl AccessLog) -> BlockingVault<S> {
    BlockingVault::open_with(store, ring, log, || SystemRandom, clock).unwrap()
}

fn open<S: Store>(store: S) -> BlockingVault<S> {
    open_with(store, ring(), LineLog::new(std::io::sink()))
}

fn ledger_of<S: Store>(vault: &BlockingVault<S>) -> BlockingLedger<S> {
    Ledger::new(Arc::clone(vault.vault())).blocking()
}

fn lines() -> &'static Lines {
    Box::leak(Box::new(Lines(Mutex::new(Some(Vec::new())))))
}

/// The tokens that the log says were purged, and how often it says so.
fn logged(lines: &Lines) -> BTreeMap<(String, String), i32> {
    let mut tokens = BTreeMap::new();
    for line in lines.0.lock().unwrap().iter().flatten() {
        if line.contains(" operation=purge ") {
            let (_, rest) = line.split_once(" domain=\"").unwrap();
            let (domain, token) = rest.split_once("\" token=").unwrap();
            let sign = if line.contains("outcome=granted") {
                1
            } else {
                -1
            };
            *tokens
                .entry((domain.to_owned(), token.to_owned()))
                .or_default() += sign;
        }
    }
    tokens.retain(|_, count| *count != 0);
    tokens
}

fn shop() -> Domain {
    support::shop()
}

fn card(n: u64) -> CardRecord {
    let body = format!("4{n:014}");
    let numbers = (0..10).map(|check| format!("{body}{check}"));
    let pan = { numbers }.find_map(|number| Pan::parse(number.as_bytes()).ok());
    CardRecord::new(pan.unwrap())
}

fn tokenize<S: Store>(vault: &BlockingVault<S>, domain: &Domain, n: u64) -> Token {
    let how = Tokenize::convergent();
    vault.tokenize(domain, &card(n), &how).unwrap().token
}

/// An approved sale of day `day` in a batch of its own.
fn sale(n: u64, day: u32, token: Token) -> NewPayment {
    let mut payment = support::sale(n, 1000);
    payment.time = UnixSeconds(noon(day));
    payment.date = date(day);
    payment.fields.batch = BatchNumber::new(u32::try_from(n % 900_000).unwrap() + 1).unwrap();
    payment.fields.clearing = None;
    payment.token = Some(token);
    payment
}

fn age(days: u32) -> KeepRule {
    KeepRule {
        age_days: Some(days),
        ..KeepRule::FOREVER
    }
}

fn settled(days: u32, refund_days: u32) -> KeepRule {
    KeepRule {
        settled_days: Some(days),
        refund_days,
        ..KeepRule::FOREVER
    }
}

fn everything<S: Store>(store: &S) -> Vec<(RowKey, Row)> {
    block_on(store.scan(None, None, 10_000)).unwrap()
}

fn survey<S: Store>(ledger: &BlockingLedger<S>, retention: &Retention, limit: usize) -> Survey {
    let mut survey = ledger.survey(retention.clone()).unwrap();
    while !survey.is_done() {
        ledger.survey_step(&mut survey, limit).unwrap();
    }
    survey
}

/// A whole purge, survey and all, by a clock that is confirmed.
fn purge<S: Store>(
    ledger: &BlockingLedger<S>,
    retention: &Retention,
    limit: usize,
) -> (PurgeTally, PurgeTally) {
    let survey = survey(ledger, retention, limit);
    let dry = survey.tally().clone();
    let today = Date::of(survey.as_of(), 0);
    let approved = survey.approve(today).unwrap();
    let (mut after, mut tally) = (None, PurgeTally::default());
    loop {
        let step = ledger.purge(&access(), &approved, after, limit).unwrap();
        tally.add(&step.tally);
        after = step.cursor;
        if after.is_none() {
            return (dry, tally);
        }
    }
}

// The model: what was done, told in plain words, and the rules applied to that.

#[derive(Clone, Copy, Debug, PartialEq)]
enum Tale {
    Declined,
    InDoubt,
    Hold,
    Voided,
    /// Cleared by the centre so many days after.
    Cleared(u32),
    BatchSettled,
    /// Neither cleared nor settled.
    Taken,
    Disputed,
    /// The issuer took it back.
    Lost,
    /// Refunded so many days after, wholly or in part, and how far that came.
    Refund {
        days: u32,
        whole: bool,
        settled: bool,
    },
    RefundFailed,
}

#[derive(Clone, Debug)]
struct Known {
    domain: usize,
    token: Token,
    made: u32,
    expires: Option<u32>,
    held: bool,
    payments: Vec<(u32, Tale)>,
}

/// Why a token stays, or by which rule it goes.
fn expected(rule: &KeepRule, known: &Known, today: u32) -> BTreeSet<Verdict> {
    let mut last = known.made;
    let mut keeps = BTreeSet::new();
    for &(day, tale) in &known.payments {
        last = last.max(day);
        let refundable = today <= day + rule.refund_days;
        match tale {
            Tale::Declined | Tale::Voided | Tale::Lost => {}
            Tale::InDoubt | Tale::Hold | Tale::Taken => drop(keeps.insert(Verdict::Open)),
            Tale::Disputed => drop(keeps.insert(Verdict::Disputed)),
            Tale::Cleared(after) => last = last.max(day + after),
            Tale::BatchSettled | Tale::RefundFailed => {}
            Tale::Refund { days, settled, .. } => {
                last = last.max(day + days);
                if !settled {
                    keeps.insert(Verdict::Open);
                }
            }
        }
        let some_left = matches!(
            tale,
            Tale::Cleared(_)
                | Tale::BatchSettled
                | Tale::RefundFailed
                | Tale::Refund { whole: false, .. }
        );
        if some_left && refundable {
            keeps.insert(Verdict::Refundable);
        }
    }
    let due = if rule.age_days.is_some_and(|days| known.made + days <= today) {
        Verdict::Age
    } else if rule
        .expired_days
        .is_some_and(|days| known.expires.is_some_and(|at| at + days <= today))
    {
        Verdict::Expired
    } else if rule
        .settled_days
        .is_some_and(|days| today > known.made + days)
    {
        Verdict::Settled
    } else {
        return [Verdict::NotDue].into();
    };
    if known.held {
        return [Verdict::Held].into();
    }
    if !keeps.is_empty() {
        return keeps;
    }
    if due == Verdict::Settled && today <= last + rule.settled_days.unwrap() {
        return [Verdict::NotDue].into();
    }
    [due].into()
}

fn tell<S: Store>(
    ledger: &BlockingLedger<S>,
    domain: &Domain,
    n: u64,
    day: u32,
    token: Token,
    tale: Tale,
) {
    go_to(day);
    let mut payment = sale(n, day, token);
    match tale {
        Tale::Declined => payment.fields.response = Some(ResponseCode::parse(b"51").unwrap()),
        Tale::InDoubt => (payment.fields.response, payment.fields.rrn) = (None, None),
        Tale::Hold => payment.fields.kind = PaymentKind::PreAuthorization,
        Tale::Cleared(after) => {
            payment.fields.clearing = Some(ClearingDate(date(day + after)));
        }
        _ => {}
    }
    let id = payment.id;
    ledger.record(domain, &payment, Source::Centre).unwrap();
    let settle = || {
        let (terminal, batch) = (&payment.fields.terminal, payment.fields.batch);
        ledger
            .settle_batch(domain, terminal, batch, Source::Operator)
            .unwrap();
    };
    let ask = |action, minor| {
        let request = Request {
            today: Date::of(clock(), 0).unwrap(),
            clearing: ClearingDate(Date::of(clock(), 0).unwrap()),
            ..support::ask(action, minor, &format!("R-{n}"))
        };
        ledger.request(domain, &id, &policy(), &request).unwrap();
    };
    let progress = |event| {
        let (merchant, number) = (merchant(), number(&format!("R-{n}")));
        ledger
            .progress(domain, &merchant, &number, event, Source::Centre, None)
            .unwrap();
    };
    match tale {
        Tale::Declined | Tale::InDoubt | Tale::Hold | Tale::Cleared(_) | Tale::Taken => {}
        Tale::Voided => {
            ask(Action::Void, 1000);
            progress(RefundEvent::Accepted);
        }
        Tale::BatchSettled => settle(),
        Tale::Disputed => {
            settle();
            ledger
                .change(domain, &id, Change::Disputed, Source::Centre)
                .unwrap();
        }
        Tale::Lost => {
            settle();
            ledger
                .change(domain, &id, Change::Disputed, Source::Centre)
                .unwrap();
            ledger
                .change(domain, &id, Change::DisputeLost, Source::Centre)
                .unwrap();
        }
        Tale::Refund {
            days,
            whole,
            settled,
        } => {
            settle();
            go_to(day + days);
            ask(Action::Refund, if whole { 1000 } else { 400 });
            progress(RefundEvent::Accepted);
            if settled {
                progress(RefundEvent::Settled);
            }
        }
        Tale::RefundFailed => {
            settle();
            ask(Action::Refund, 1000);
            progress(RefundEvent::Failed);
        }
    }
}

fn domains() -> [Domain; 4] {
    ["by-age", "by-day", "mixed", "ever"].map(|name| name.parse().unwrap())
}

fn rules() -> [KeepRule; 4] {
    let mixed = KeepRule {
        age_days: Some(60),
        expired_days: Some(3),
        settled_days: Some(10),
        refund_days: 5,
    };
    [age(40), settled(20, 15), mixed, KeepRule::FOREVER]
}

fn retention() -> Retention {
    let mut retention = Retention::new(KeepRule::FOREVER).unwrap();
    for (domain, rule) in domains().into_iter().zip(rules()) {
        retention.set(domain, rule).unwrap();
    }
    retention
}

/// Tokens and payments of a random history of 70 days.
fn history<S: Store>(
    ledger: &BlockingLedger<S>,
    retention: &mut Retention,
    seed: u8,
) -> Vec<Known> {
    let mut rng = seeded(seed);
    let mut below = |bound: u32| rng.next_u32() % bound;
    let vault = ledger.ledger().vault();
    let mut all = Vec::new();
    for n in 0..60 {
        let (domain, made) = (below(4) as usize, below(70));
        go_to(made);
        let expires = (below(2) == 0).then(|| made + below(20));
        let mut how = if below(2) == 0 {
            Tokenize::convergent()
        } else {
            Tokenize::fresh()
        };
        if let Some(day) = expires {
            how = how.expiring(UnixSeconds(noon(day)));
        }
        let name = domains()[domain];
        let token = block_on(vault.tokenize(&name, &card(n), &how))
            .unwrap()
            .token;
        let held = below(10) == 0;
        if held {
            retention.hold(name, Some(token));
        }
        let mut payments = Vec::new();
        for p in 0..u64::from(below(4)) {
            // Some come in from before the token was made, by an import.
            let day = (made + below(25)).saturating_sub(5);
            let tale = match below(20) {
                0 => Tale::Declined,
                1 => Tale::InDoubt,
                2 => Tale::Hold,
                3 => Tale::Voided,
                4..8 => Tale::Cleared(below(9)),
                8..12 => Tale::BatchSettled,
                12 => Tale::Taken,
                13 => Tale::Disputed,
                14 => Tale::Lost,
                15 => Tale::RefundFailed,
                _ => Tale::Refund {
                    days: below(12),
                    whole: below(2) == 0,
                    settled: below(3) > 0,
                },
            };
            tell(ledger, &name, 10 * n + p, day, token, tale);
            payments.push((day, tale));
        }
        all.push(Known {
            domain,
            token,
            made,
            expires,
            held,
            payments,
        });
    }
    all
}

#[test]
fn agrees_with_a_slow_simple_model() {
    let mut verdicts = BTreeSet::new();
    for seed in 0..24 {
        let store = Arc::new(Memory::new());
        let log = lines();
        let vault = open_with(Arc::clone(&store), ring(), log);
        let ledger = ledger_of(&vault);
        let mut retention = retention();
        let all = history(&ledger, &mut retention, seed);
        let today = 40 + 3 * u32::from(seed);
        go_to(today);
        let before = everything(&*store);
        // Whatever the size of the steps.
        let limit = [1, 7, 1000][usize::from(seed % 3)];
        let dry = survey(&ledger, &retention, limit);
        assert_eq!(everything(&*store), before, "a survey writes nothing");
        assert!(logged(log).is_empty());
        let (again, done) = purge(&ledger, &retention, limit);
        assert_eq!(*dry.tally(), again);
        assert_eq!(done, again, "the purge does what the survey says");
        let (mut gone, mut named) = (BTreeSet::new(), BTreeMap::new());
        for known in &all {
            let domain = domains()[known.domain];
            let expected = expected(&rules()[known.domain], known, today);
            let goes = expected.iter().all(|verdict| verdict.goes());
            let there = vault.exists(&access(), &domain, &known.token).unwrap();
            assert_eq!(there, !goes, "{known:?} on day {today}: {expected:?}");
            // Several payments may each keep it; the tally names one of their reasons.
            for verdict in &expected {
                let (least, most) = named.entry((domain, *verdict)).or_insert((0, 0));
                *least += u64::from(expected.len() == 1);
                *most += 1;
            }
            verdicts.extend(&expected);
            if goes {
                gone.insert((domain.to_string(), known.token.to_string()));
                let found = vault.find(&access(), &domain, &card(0).pan);
                assert!(!found.unwrap().tokens.contains(&known.token));
            }
        }
        let counted: u64 = done.counts().map(|(_, _, count)| count).sum();
        assert_eq!(counted, 60);
        for (domain, verdict, count) in done.counts() {
            let (least, most) = named[&(*domain, verdict)];
            assert!(
                (least..=most).contains(&count),
                "{domain} {verdict}: {count}"
            );
        }
        let logged = logged(log);
        assert!(logged.values().all(|times| *times == 1));
        assert_eq!(logged.into_keys().collect::<BTreeSet<_>>(), gone);
        // Nothing is left to do, every record opens, and the index leads to each.
        let (_, rest) = purge(&ledger, &retention, limit);
        assert_eq!(rest.going(), 0);
        assert_eq!(vault.check(None, 1000).map(|step| step.unopenable), Ok(0));
        assert!(ledger.audit_page(None, 1000).unwrap().next.is_none());
    }
    // The random histories came to every verdict that a quiet purge has.
    let quiet: BTreeSet<_> = Verdict::ALL.into_iter().take(8).collect();
    assert_eq!(verdicts, quiet);
}

/// A store whose writes can fail, before or after they are done.
struct Failing {
    store: Memory,
    countdown: AtomicUsize,
    after: bool,
}

impl Store for Failing {
    async fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let left = self.countdown.load(Ordering::Relaxed);
        self.countdown
            .store(left.saturating_sub(1), Ordering::Relaxed);
        if left != 1 {
            return self.store.write(under, writes).await;
        }
        if self.after {
            self.store.write(under, writes).await?;
        }
        Err(StoreError::Full)
    }
    forward!(rows find others scan guard count);
}

#[test]
fn cut_at_any_batch_it_is_done_again_to_the_same_end() {
    for after in [false, true] {
        for cut in 1..=5 {
            let log = lines();
            let store = Arc::new(Failing {
                store: Memory::new(),
                countdown: AtomicUsize::new(0),
                after,
            });
            let vault = open_with(Arc::clone(&store), ring(), log);
            let ledger = ledger_of(&vault);
            go_to(0);
            let tokens: Vec<_> = (0..20).map(|n| tokenize(&vault, &shop(), n)).collect();
            go_to(30);
            let young = tokenize(&vault, &shop(), 100);
            let retention = Retention::new(age(30)).unwrap();
            let approved = survey(&ledger, &retention, 100)
                .approve(Some(date(30)))
                .unwrap();
            store.countdown.store(cut, Ordering::Relaxed);
            // With its cursors until the cut, then from the beginning, as another process would.
            let mut cursor = None;
            let error = loop {
                match ledger.purge(&access(), &approved, cursor, 4) {
                    Ok(step) => cursor = step.cursor,
                    Err(error) => break error,
                }
            };
            assert!(error.to_string().contains("room"), "{error}");
            let left = vault.count().unwrap();
            let done = if after { cut } else { cut - 1 };
            // The young one is somewhere among them: a step with it takes three.
            assert!(
                (20 - 4 * done..=22 - 4 * done).contains(&(left as usize)),
                "{left}"
            );
            let logged_now = logged(log).len();
            assert!(logged_now >= 21 - left as usize, "logged before it goes");
            purge(&ledger, &retention, 4);
            assert_eq!(vault.count(), Ok(1));
            assert!(vault.exists(&access(), &shop(), &young).unwrap());
            assert_eq!(logged(log).len(), tokens.len());
        }
    }
}

#[test]
fn nothing_goes_that_could_not_be_logged() {
    let log = lines();
    let store = Arc::new(Memory::new());
    let vault = open_with(Arc::clone(&store), ring(), log);
    go_to(0);
    let token = tokenize(&vault, &shop(), 1);
    go_to(50);
    let mut survey = vault.survey(Retention::new(age(30)).unwrap()).unwrap();
    vault.survey_step(&mut survey, 10).unwrap();
    let approved = survey.approve(Some(date(50))).unwrap();
    *log.0.lock().unwrap() = None;
    let refused = vault.purge(&access(), &approved, None, 10);
    assert!(matches!(refused, Err(VaultError::Log(_))), "{refused:?}");
    assert_eq!(vault.count(), Ok(1));
    *log.0.lock().unwrap() = Some(Vec::new());
    let step = vault.purge(&access(), &approved, None, 10).unwrap();
    assert_eq!((step.tally.of(Verdict::Age), step.cursor), (1, None));
    assert!(!vault.exists(&access(), &shop(), &token).unwrap());
    // Its entries in the index went with it.
    let mut snapshot = block_on(store.snapshot()).unwrap();
    assert_eq!(block_on(snapshot.next(10)).unwrap(), []);
}

#[test]
fn only_who_may_purge_does() {
    let log = lines();
    let vault = open_with(Arc::new(Memory::new()), ring(), log);
    go_to(0);
    tokenize(&vault, &shop(), 1);
    go_to(50);
    let mut policy = AccessPolicy::new();
    let grant = Grant::new(&[Operation::Purge]).unwrap();
    policy.grant("officer", grant).unwrap();
    vault.vault().set_policy(&access(), policy, &[]).unwrap();
    let mut survey = vault.survey(Retention::new(age(30)).unwrap()).unwrap();
    vault.survey_step(&mut survey, 10).unwrap();
    let approved = survey.approve(Some(date(50))).unwrap();
    let refused = vault.purge(&access(), &approved, None, 10);
    assert!(
        matches!(refused, Err(VaultError::Refused(_))),
        "{refused:?}"
    );
    assert_eq!(vault.stats().unwrap().tokens, 1);
    let line = log
        .0
        .lock()
        .unwrap()
        .as_ref()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert!(line.contains("operation=purge outcome=refused"), "{line}");
    let officer = Access::new("officer", "retention", "test").unwrap();
    let step = vault.purge(&officer, &approved, None, 10).unwrap();
    assert_eq!((step.tally.going(), vault.stats().unwrap().tokens), (1, 0));
}

#[test]
fn a_purge_asks_for_each_domain_and_each_token() {
    let store = Arc::new(Memory::new());
    let log = lines();
    let vault = open_with(Arc::clone(&store), ring(), log);
    let other: Domain = "shop-2".parse().unwrap();
    go_to(0);
    for n in 0..4 {
        tokenize(&vault, &shop(), n);
    }
    tokenize(&vault, &other, 9);
    go_to(50);
    let mut policy = AccessPolicy::new();
    let grant = Grant::new(&[Operation::Purge]).unwrap();
    let grant = grant.in_domains(&[shop()]).unwrap();
    policy.grant("officer", grant).unwrap();
    let budget = Budget::new(3, 24 * 60 * 60).unwrap();
    policy.budget("officer", Operation::Purge, budget).unwrap();
    vault.vault().set_policy(&access(), policy, &[]).unwrap();
    let officer = Access::new("officer", "retention", "test").unwrap();
    let approved = |retention: Retention| {
        let mut survey = vault.survey(retention).unwrap();
        vault.survey_step(&mut survey, 10).unwrap();
        survey.approve(Some(date(50))).unwrap()
    };
    let refused =
        |approved: &ApprovedPurge, limit| match vault.purge(&officer, approved, None, limit) {
            Err(VaultError::Refused(refusal)) => refusal,
            done => panic!("{done:?}"),
        };
    // A domain that is not granted, among granted ones: nothing goes.
    let all = approved(Retention::new(age(30)).unwrap());
    assert_eq!(refused(&all, 10), PolicyRefusal::NotGranted);
    let lines = || log.0.lock().unwrap().as_ref().unwrap().clone();
    let said = lines();
    for domain in ["shop-1", "shop-2"] {
        let domain = format!("domain=\"{domain}\" refusal=not-granted");
        assert!(said.iter().any(|line| line.ends_with(&domain)), "{said:?}");
    }
    // In the granted one alone: each token counts, and a step goes whole or not at all.
    let mut ours = Retention::new(KeepRule::FOREVER).unwrap();
    ours.set(shop(), age(30)).unwrap();
    let ours = approved(ours);
    let never = PolicyRefusal::BudgetUsedUp {
        renews: UnixSeconds(u64::MAX),
    };
    assert_eq!(refused(&ours, 10), never);
    assert_eq!(vault.stats().unwrap().tokens, 5);
    let step = vault.purge(&officer, &ours, None, 2).unwrap();
    assert_eq!((step.tally.going(), vault.stats().unwrap().tokens), (2, 3));
    let PolicyRefusal::BudgetUsedUp { renews } = refused(&ours, 2) else {
        panic!("the budget is not asked")
    };
    assert!(renews > clock() && renews < UnixSeconds(u64::MAX));
    let step = vault.purge(&officer, &ours, None, 1).unwrap();
    assert_eq!((step.tally.going(), vault.stats().unwrap().tokens), (1, 2));
    go_to(52);
    let step = vault.purge(&officer, &ours, None, 2).unwrap();
    assert_eq!((step.tally.going(), vault.stats().unwrap().tokens), (1, 1));
}

type Hook = Box<dyn FnOnce() + Send>;

/// A store in which something happens just before the first deletion.
struct Racing {
    store: Arc<Memory>,
    before: Mutex<Option<Hook>>,
}

impl Store for Racing {
    async fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let deletes = writes
            .iter()
            .any(|write| matches!(write, Write::Delete { .. }));
        let hook = self.before.lock().unwrap().take_if(|_| deletes);
        if let Some(hook) = hook {
            hook();
        }
        self.store.write(under, writes).await
    }
    forward!(rows find others scan guard count);
}

/// A purge on day 50 of a token of day 0, with something in between. Gives what the purge counted.
fn raced(
    happens: impl FnOnce(&BlockingVault<Arc<Memory>>, Token) + Send + 'static,
) -> (PurgeTally, Arc<Memory>, &'static Lines, Token) {
    let store = Arc::new(Memory::new());
    let log = lines();
    let racing = Arc::new(Racing {
        store: Arc::clone(&store),
        before: Mutex::new(None),
    });
    let vault = open_with(Arc::clone(&racing), ring(), log);
    let ledger = ledger_of(&vault);
    go_to(0);
    let token = tokenize(&vault, &shop(), 1);
    go_to(50);
    let other = open(Arc::clone(&store));
    *racing.before.lock().unwrap() = Some(Box::new(move || happens(&other, token)));
    let retention = Retention::new(settled(30, 0)).unwrap();
    let (dry, done) = purge(&ledger, &retention, 10);
    assert_eq!(dry.of(Verdict::Settled), 1);
    (done, store, log, token)
}

#[test]
fn what_changes_meanwhile_stays() {
    // The card was renewed.
    let (done, store, log, token) = raced(|other, _| {
        let how = Tokenize::convergent().expiring(UnixSeconds(noon(100)));
        other.tokenize(&shop(), &card(1), &how).unwrap();
    });
    let vault = open(store);
    assert_eq!((done.of(Verdict::Changed), done.going()), (1, 0));
    assert!(vault.detokenize(&access(), &shop(), &token).is_ok());
    assert!(logged(log).is_empty(), "the log says that it stayed");
    // A payment was recorded.
    let pay = |other: &BlockingVault<Arc<Memory>>, token| {
        ledger_of(other)
            .record(&shop(), &sale(1, 50, token), Source::Centre)
            .unwrap();
    };
    let (done, store, log, token) = raced(pay);
    let vault = open(store);
    assert_eq!((done.of(Verdict::Changed), done.going()), (1, 0));
    assert!(vault.detokenize(&access(), &shop(), &token).is_ok());
    assert_eq!(tokenize(&vault, &shop(), 1), token, "the index leads to it");
    assert!(logged(log).is_empty());
    assert!(vault.check(None, 10).is_ok());
}

/// A store in which something happens just after the first deletion.
struct Late {
    store: Arc<Memory>,
    after: Mutex<Option<Hook>>,
}

impl Store for Late {
    async fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let deletes = writes
            .iter()
            .any(|write| matches!(write, Write::Delete { .. }));
        let outcomes = self.store.write(under, writes).await;
        let hook = self.after.lock().unwrap().take_if(|_| deletes);
        if let Some(hook) = hook {
            hook();
        }
        outcomes
    }
    forward!(rows find others scan guard count);
}

#[test]
fn what_is_put_back_gives_way_to_a_new_token() {
    let store = Arc::new(Memory::new());
    let late = Arc::new(Late {
        store: Arc::clone(&store),
        after: Mutex::new(None),
    });
    let vault = open(Arc::clone(&late));
    go_to(0);
    let token = tokenize(&vault, &shop(), 1);
    go_to(50);
    let other = open(Arc::clone(&store));
    *late.after.lock().unwrap() = Some(Box::new(move || {
        ledger_of(&other)
            .record(&shop(), &sale(1, 50, token), Source::Centre)
            .unwrap();
        assert_ne!(tokenize(&other, &shop(), 1), token);
    }));
    let retention = Retention::new(settled(30, 0)).unwrap();
    let (_, done) = purge(&ledger_of(&vault), &retention, 10);
    assert_eq!(done.of(Verdict::Changed), 1);
    let found = vault.find(&access(), &shop(), &card(1).pan).unwrap();
    assert_eq!((found.tokens.len(), found.tokens[1]), (2, token));
    assert!(vault.detokenize(&access(), &shop(), &token).is_ok());
    assert!(vault.check(None, 10).is_ok());
}

#[test]
fn a_clock_that_jumped_purges_nothing_unless_the_day_is_confirmed() {
    let vault = open(Arc::new(Memory::new()));
    for day in 0..100 {
        go_to(day);
        tokenize(&vault, &shop(), u64::from(day));
    }
    let retention = Retention::new(age(80)).unwrap();
    let survey = |retention: &Retention| {
        let mut survey = vault.survey(retention.clone()).unwrap();
        while !survey.is_done() {
            assert!(matches!(
                survey.clone().approve(None),
                Err(RetentionError::Unfinished)
            ));
            vault.survey_step(&mut survey, 9).unwrap();
        }
        survey
    };
    // In its days the vault speaks for itself.
    assert_eq!(survey(&retention).tally().of(Verdict::Age), 20);
    let approved = survey(&retention).approve(None).unwrap();
    // And a purge judges by the moment of its survey, however long it takes.
    go_to(98);
    assert_eq!(
        vault.purge(&access(), &approved, None, 10).err(),
        Some(VaultError::Retention(RetentionError::ClockBack))
    );
    go_to(110);
    let step = vault.purge(&access(), &approved, None, 1000).unwrap();
    assert_eq!(step.tally.of(Verdict::Age), 20);
    go_to(99);
    assert!(survey(&retention).approve(None).is_ok());
    // A jump of a year, and cards since then.
    let jumped = 99 + 365;
    go_to(jumped);
    for n in 0..3 {
        tokenize(&vault, &shop(), 1000 + n);
    }
    let shows = date(jumped);
    let newest = Some(date(jumped));
    assert_eq!(
        survey(&retention).approve(None).err(),
        Some(RetentionError::Clock { shows, newest })
    );
    let other = survey(&retention).approve(Some(date(99)));
    assert_eq!(other.err(), Some(RetentionError::OtherDay { shows }));
    assert!(survey(&retention).approve(Some(shows)).is_ok());
    // Nothing goes: nothing to confirm.
    let long = Retention::new(age(2000)).unwrap();
    assert!(survey(&long).approve(None).is_ok());
    // A jump within what the policy lets pass.
    let mut lax = retention.clone();
    lax.set_clock_days(365).unwrap();
    assert!(survey(&lax).approve(None).is_ok());
    // The clock was set right before the purge: it goes by no day that is to come.
    let approved = survey(&retention).approve(Some(shows)).unwrap();
    go_to(99);
    assert_eq!(
        vault.purge(&access(), &approved, None, 10).err(),
        Some(VaultError::Retention(RetentionError::ClockBack))
    );
    assert_eq!(vault.count(), Ok(83));
    for wrong in [0, 1, u64::MAX] {
        NOW.set(wrong);
        assert_eq!(
            vault.survey(retention.clone()).err(),
            Some(VaultError::Retention(RetentionError::NoDay))
        );
    }
}

#[test]
fn a_vault_with_a_ledger_is_purged_through_it() {
    let vault = open(Arc::new(Memory::new()));
    let ledger = ledger_of(&vault);
    go_to(0);
    let token = tokenize(&vault, &shop(), 1);
    let refused = |error| Some(VaultError::Retention(error));
    assert_eq!(
        vault.survey(Retention::new(settled(1, 1)).unwrap()).err(),
        refused(RetentionError::NeedsLedger)
    );
    go_to(50);
    let mut survey = vault.survey(Retention::new(age(30)).unwrap()).unwrap();
    vault.survey_step(&mut survey, 10).unwrap();
    let approved = survey.approve(Some(date(50))).unwrap();
    ledger
        .record(&shop(), &sale(1, 50, token), Source::Centre)
        .unwrap();
    assert_eq!(
        vault.purge(&access(), &approved, None, 10).err(),
        refused(RetentionError::LedgerThere)
    );
    assert_eq!(
        vault.survey(Retention::new(age(30)).unwrap()).err(),
        refused(RetentionError::LedgerThere)
    );
    // The ledger asks the payments also under an approval without it.
    let step = ledger.purge(&access(), &approved, None, 10).unwrap();
    assert_eq!(step.tally.of(Verdict::Open), 1);
    let (dry, _) = purge(&ledger, &Retention::new(age(30)).unwrap(), 10);
    assert_eq!(dry.of(Verdict::Open), 1);
}

#[test]
fn one_payment_among_many_keeps_the_token() {
    let vault = open(Arc::new(Memory::new()));
    let ledger = ledger_of(&vault);
    go_to(0);
    let token = tokenize(&vault, &shop(), 1);
    // More than a look-up gives at once, the oldest and the newest of them apart.
    let payments: Vec<_> = (0..250)
        .map(|n| NewPayment {
            time: UnixSeconds(noon(0) + n),
            ..sale(n, 0, token)
        })
        .collect();
    ledger
        .record_batch(&shop(), &payments, Source::Centre)
        .unwrap();
    for payment in &payments {
        let (terminal, batch) = (terminal(), payment.fields.batch);
        ledger
            .settle_batch(&shop(), &terminal, batch, Source::Operator)
            .unwrap();
    }
    go_to(50);
    let retention = Retention::new(settled(30, 10)).unwrap();
    assert_eq!(
        survey(&ledger, &retention, 10).tally().of(Verdict::Settled),
        1
    );
    for n in [0, 99, 100, 249] {
        let dispute = |change| {
            ledger
                .change(&shop(), &payments[n].id, change, Source::Centre)
                .unwrap();
        };
        dispute(Change::Disputed);
        assert_eq!(
            survey(&ledger, &retention, 10)
                .tally()
                .of(Verdict::Disputed),
            1
        );
        dispute(Change::DisputeLost);
    }
    assert_eq!(purge(&ledger, &retention, 10).1.of(Verdict::Settled), 1);
}

/// Changes one byte of each row of a kind, by the first bytes of its key.
fn spoil(store: &Memory, is: impl Fn(&[u8]) -> bool, at: usize) {
    for (key, row) in everything(store) {
        if !is(key.as_bytes()) {
            continue;
        }
        let mut bytes = row.as_bytes().to_vec();
        bytes[at] ^= 1;
        let write = Write::Replace {
            token: key,
            expected: row,
            row: Row::new(&bytes).unwrap(),
        };
        block_on(store.write(None, vec![write])).unwrap();
    }
}

#[test]
fn rows_that_are_not_what_was_written_stay() {
    let make = || {
        let store = Arc::new(Memory::new());
        let vault = open(Arc::clone(&store));
        go_to(49);
        let token = tokenize(&vault, &shop(), 1);
        let ledger = ledger_of(&vault);
        tell(
            &ledger,
            &shop(),
            1,
            0,
            token,
            Tale::Refund {
                days: 0,
                whole: true,
                settled: true,
            },
        );
        (store, ledger)
    };
    let retention = Retention::new(age(20)).unwrap();
    let look = |ledger: &BlockingLedger<_>, day| {
        go_to(day);
        let survey = survey(ledger, &retention, 10);
        survey
            .tally()
            .counts()
            .map(|(_, verdict, _)| verdict)
            .collect::<Vec<_>>()
    };
    let (_, ledger) = make();
    assert_eq!(look(&ledger, 50), [Verdict::NotDue]);
    assert_eq!(look(&ledger, 70), [Verdict::Age]);
    // Made to look older: byte 10 of the row is in the middle of when it was made.
    let (store, ledger) = make();
    spoil(&store, |key| key[0] < 0x40, 10);
    assert_ne!(look(&ledger, 50), [Verdict::Age]);
    assert_eq!(look(&ledger, 20_000), [Verdict::Unclear]);
    // Its payment's row, or its request's, was changed.
    for space in [0x41, 0x43] {
        let (store, ledger) = make();
        spoil(&store, |key| key[0] == space, 20);
        assert_eq!(look(&ledger, 70), [Verdict::Unclear]);
    }
}

#[test]
fn numbers_of_days_are_checked() {
    let most = cardvault::vault::RETENTION_DAYS_MAX;
    let bad = [
        age(0),
        age(most + 1),
        settled(0, 0),
        settled(1, most + 1),
        KeepRule {
            expired_days: Some(most + 1),
            ..KeepRule::FOREVER
        },
    ];
    for rule in bad {
        assert_eq!(Retention::new(rule), Err(RetentionError::Days));
        let mut good = Retention::new(KeepRule::FOREVER).unwrap();
        assert_eq!(good.set(shop(), rule), Err(RetentionError::Days));
    }
    let mut retention = Retention::new(age(most)).unwrap();
    assert_eq!(retention.set_clock_days(0), Err(RetentionError::Days));
    retention.hold(shop(), None);
    assert!(!retention.needs_ledger());
}

/// How a card is got from one of the copies.
type Opening<'a> = &'a dyn Fn(&Token) -> Result<CardRecord, VaultError>;

fn put_rows(rows: &[(RowKey, Row)], ring: KeyRing) -> BlockingVault<Arc<Memory>> {
    let store = Arc::new(Memory::new());
    let index = IndexKey::new(&[1]).unwrap();
    for (token, row) in rows {
        let write = Write::Insert {
            token: *token,
            row: row.clone(),
            index: vec![index],
            unique: false,
        };
        block_on(store.write(None, vec![write])).unwrap();
    }
    open_with(store, ring, LineLog::new(std::io::sink()))
}

#[test]
fn no_copy_gives_a_purged_card_once_the_version_is_destroyed() {
    const CARDS: u64 = 40;
    let folder = tempfile::tempdir().unwrap();
    let (live, copy) = (folder.path().join("live"), folder.path().join("copy"));
    std::fs::create_dir_all(&copy).unwrap();
    let options = EmbeddedOptions::default();
    let keep: Domain = "archive".parse().unwrap();
    go_to(0);
    let vault = open(Embedded::create(&live, &options).unwrap());
    let tokens: Vec<_> = (0..CARDS).map(|n| tokenize(&vault, &shop(), n)).collect();
    let kept = tokenize(&vault, &keep, 1);
    // The copies of before: the archive, the file, and the rows as they lie in its pages.
    let mut archive = Vec::new();
    let mut export = vault.export(&access(), None).unwrap();
    while let Some(bytes) = export.next().unwrap() {
        archive.extend_from_slice(bytes);
    }
    drop(export);
    let store = vault.into_store().unwrap();
    let rows = everything(&store);
    drop(store);
    std::fs::copy(live.join(FILE_NAME), copy.join(FILE_NAME)).unwrap();

    // The period is over: another version, the purge, the rewrap of what stays, the destruction.
    let vault = open_with(Embedded::open(&live, &options).unwrap(), rotated(), lines());
    go_to(40);
    let young = tokenize(&vault, &shop(), 5000);
    let mut retention = Retention::new(age(30)).unwrap();
    retention.set(keep, KeepRule::FOREVER).unwrap();
    let (_, done) = purge(&ledger_of(&vault), &retention, 16);
    assert_eq!((done.going(), vault.count()), (CARDS, Ok(2)));
    let first = KeyName::new(KeyUse::Card, 1);
    assert_eq!(vault.stats().unwrap().by_key.get(&first), Some(&1));
    while vault.rewrap(None, 1000).unwrap().moved > 0 {}
    assert_eq!(vault.stats().unwrap().by_key.get(&first), None);
    vault.set_ring(destroyed()).unwrap();
    for (domain, token) in [(&keep, &kept), (&shop(), &young)] {
        assert!(vault.detokenize(&access(), domain, token).is_ok());
    }
    drop(vault);

    let gone = |vault: Opening<'_>| {
        tokens.iter().all(|token| {
            let opened = vault(token);
            matches!(opened, Err(VaultError::Key(KeyError::UnknownKey)))
        })
    };
    let opens = |vault: Opening<'_>| tokens.iter().all(|token| vault(token).is_ok());
    // What lies in freed pages is the rows of before, byte by byte.
    let bytes = std::fs::read(live.join(FILE_NAME)).unwrap();
    let lies = |row: &Row| {
        let row = row.as_bytes();
        bytes.windows(row.len()).any(|window| window == row)
    };
    let left = rows.iter().filter(|(_, row)| lies(row)).count();
    println!("{left} of {} rows still lie in the file", rows.len());
    for (ring, given) in [(destroyed as fn() -> KeyRing, false), (rotated, true)] {
        let verdict: &dyn Fn(Opening<'_>) -> bool = if given { &opens } else { &gone };
        let freed = put_rows(&rows, ring());
        assert!(verdict(&|token| freed.detokenize(
            &access(),
            &shop(),
            token
        )));
        let restored = Arc::new(Memory::new());
        restore_blocking(Cursor::new(&archive), &ring(), &restored).unwrap();
        let restored = open_with(restored, ring(), LineLog::new(std::io::sink()));
        assert!(verdict(&|token| restored.detokenize(
            &access(),
            &shop(),
            token
        )));
        // A copy of its own each time: the vault remembers the newest ring.
        let again = folder.path().join(if given { "old" } else { "new" });
        std::fs::create_dir_all(&again).unwrap();
        std::fs::copy(copy.join(FILE_NAME), again.join(FILE_NAME)).unwrap();
        let copied = Embedded::open(&again, &options).unwrap();
        let copied = open_with(copied, ring(), LineLog::new(std::io::sink()));
        assert!(verdict(&|token| copied.detokenize(
            &access(),
            &shop(),
            token
        )));
    }
}
