//! Policies: who may do what, how often, and what a file must say.
#![cfg(feature = "policy")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[macro_use]
#[path = "support/forward.rs"]
mod forward;
#[path = "support/ledger/mod.rs"]
mod ledger;
#[path = "support/lines.rs"]
mod lines;

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use cardvault::keys::{Domain, KeyName};
use cardvault::token::Token;
use cardvault::vault::{
    Access, AccessLogError, AccessPolicy, Budget, Grant, Guard, LineLog, MAX_BUDGET_SECONDS,
    MAX_POLICY_LEN, Memory, Operation, PolicyFault, PolicyRefusal, Row, RowKey, Spent, Store,
    StoreError, Tokenize, Vault, VaultError, Write, WriteOutcome,
};
use cardvault::{SystemRandom, UnixSeconds};
use ledger::{START, card, ring, shop};
use lines::Lines;
use pollster::block_on;
use proptest::prelude::*;

const VISA: &str = "4111111111111111";
const DAY: u32 = 24 * 60 * 60;

thread_local! {
    /// The time that the vaults of a test see.
    static NOW: Cell<u64> = const { Cell::new(START) };
}

fn clock() -> UnixSeconds {
    UnixSeconds(NOW.get())
}

fn asking(actor: &str, purpose: &str) -> Access {
    Access::new(actor, purpose, "10.0.0.7").unwrap()
}

fn desk() -> Access {
    asking("desk-3", "refund of voucher 000123")
}

/// Who keeps the policy.
fn keeper() -> Access {
    asking("keeper", "policy of today")
}

type OverMemory = Vault<Arc<Memory>>;

fn lines() -> &'static Lines {
    Box::leak(Box::new(Lines(Mutex::new(Some(Vec::new())))))
}

fn open<S: Store>(store: S, log: &'static Lines) -> Vault<S> {
    block_on(Vault::open_with(store, ring(), log, || SystemRandom, clock)).unwrap()
}

fn vault() -> OverMemory {
    let log = LineLog::new(std::io::sink());
    let store = Arc::new(Memory::new());
    block_on(Vault::open_with(store, ring(), log, || SystemRandom, clock)).unwrap()
}

fn tokens<S: Store>(vault: &Vault<S>, count: usize) -> Vec<Token> {
    let cards = vec![card(VISA); count];
    let given = block_on(vault.tokenize_batch(&shop(), &cards, &Tokenize::fresh()));
    given
        .into_iter()
        .map(|given| given.unwrap().token)
        .collect()
}

/// The desk may do these; the keeper changes policies.
fn granting(operations: &[Operation]) -> AccessPolicy {
    let mut policy = AccessPolicy::new();
    let keeping = Grant::new(&[Operation::Policy]).unwrap();
    policy.grant("keeper", keeping).unwrap();
    policy
        .grant("desk-3", Grant::new(operations).unwrap())
        .unwrap();
    policy
}

fn budgeted(operation: Operation, most: u32, seconds: u32) -> AccessPolicy {
    let mut policy = granting(&[operation]);
    let budget = Budget::new(most, seconds).unwrap();
    policy.budget("desk-3", operation, budget).unwrap();
    policy
}

const NOT_GRANTED: VaultError = VaultError::Refused(PolicyRefusal::NotGranted);

const fn used_up(renews: u64) -> VaultError {
    let renews = UnixSeconds(renews);
    VaultError::Refused(PolicyRefusal::BudgetUsedUp { renews })
}

/// A store that counts what is asked of it.
struct Watched {
    store: Arc<Memory>,
    calls: AtomicUsize,
}

impl Store for Watched {
    async fn rows(&self, keys: Vec<RowKey>) -> Result<Vec<Option<Row>>, StoreError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.store.rows(keys).await
    }

    async fn find(
        &self,
        keys: Vec<cardvault::vault::IndexKey>,
    ) -> Result<Vec<cardvault::vault::Found>, StoreError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.store.find(keys).await
    }

    async fn scan(
        &self,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, Row)>, StoreError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.store.scan(after, end, limit).await
    }

    async fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.store.write(under, writes).await
    }
    forward!(others guard count);
}

/// Each call that card data or tokens are asked of, with what must be granted for it.
type Call = fn(&Vault<Watched>, &Access, &Token) -> Result<(), VaultError>;
const CALLS: [(Operation, Call); 9] = [
    (Operation::Detokenize, |vault, access, token| {
        block_on(vault.detokenize(access, &shop(), token)).map(drop)
    }),
    (Operation::Detokenize, |vault, access, token| {
        block_on(vault.detokenize_batch(access, &shop(), &[*token]))
            .remove(0)
            .map(drop)
    }),
    (Operation::Masked, |vault, access, token| {
        let masked = block_on(vault.masked(access, &shop(), token))?;
        assert_eq!(masked.as_str(), "411111******1111");
        Ok(())
    }),
    (Operation::Masked, |vault, access, token| {
        block_on(vault.masked_batch(access, &shop(), &[*token]))
            .remove(0)
            .map(drop)
    }),
    (Operation::Masked, |vault, access, token| {
        block_on(vault.metadata(access, &shop(), token)).map(drop)
    }),
    (Operation::Find, |vault, access, _| {
        block_on(vault.find(access, &shop(), &card(VISA).pan)).map(drop)
    }),
    (Operation::Count, |vault, access, token| {
        block_on(vault.exists(access, &shop(), token)).map(drop)
    }),
    (Operation::Count, |vault, access, _| {
        assert_eq!(block_on(vault.count_in(access, &shop()))?, 1);
        Ok(())
    }),
    (Operation::Delete, |vault, access, token| {
        block_on(vault.delete(access, &shop(), token))
    }),
];

#[test]
fn each_call_needs_its_grant_and_no_other() {
    for granted in Operation::ALL {
        for (place, (needed, call)) in CALLS.iter().enumerate() {
            let log = lines();
            let store = Watched {
                store: Arc::new(Memory::new()),
                calls: AtomicUsize::new(0),
            };
            let vault = open(store, log);
            let token = tokens(&vault, 1)[0];
            vault
                .set_policy(&keeper(), granting(&[granted]), &[])
                .unwrap();
            let what = format!("call {place}, granted {}", granted.as_str());
            let result = call(&vault, &desk(), &token);
            let line = log
                .0
                .lock()
                .unwrap()
                .as_ref()
                .unwrap()
                .last()
                .unwrap()
                .clone();
            assert!(
                line.contains(&format!(" operation={} ", needed.as_str())),
                "{what}"
            );
            if granted == *needed {
                assert_eq!(result, Ok(()), "{what}");
                assert!(line.contains(" outcome=granted "), "{what}");
                continue;
            }
            assert_eq!(result, Err(NOT_GRANTED), "{what}");
            assert!(line.contains(" outcome=refused "), "{what}");
            assert!(line.ends_with(" refusal=not-granted"), "{what}");
            let store = vault.into_store();
            let before = store.calls.load(Ordering::Relaxed);
            assert_eq!(block_on(store.store.count()), Ok(1), "{what}");
            // The guard when it was opened, and the token's write.
            assert_eq!(before, 2, "{what}: the store was touched");
        }
    }
}

/// An archive, and what host programs do themselves.
#[test]
fn exports_and_the_hosts_own_operations_need_their_grants() {
    let key: KeyName = "card-1".parse().unwrap();
    for granted in Operation::ALL {
        let vault = vault();
        vault
            .set_policy(&keeper(), granting(&[granted]), &[])
            .unwrap();
        let exported = block_on(vault.export(&desk(), None)).map(drop);
        assert_eq!(
            exported.is_ok(),
            granted == Operation::Export,
            "{granted:?}"
        );
        for operation in Operation::ALL {
            let result = vault.record(&desk(), operation, None, Some(key));
            let wanted = if granted == operation {
                Ok(())
            } else {
                Err(NOT_GRANTED)
            };
            assert_eq!(result, wanted, "{operation:?}, granted {granted:?}");
        }
    }
}

#[test]
fn a_comparison_at_the_refund_desk_is_a_look_up() {
    let store = Arc::new(Memory::new());
    let desk_of = |grant| {
        let vault = open(Arc::clone(&store), lines());
        vault
            .set_policy(&keeper(), granting(&[grant]), &[])
            .unwrap();
        cardvault::ledger::Ledger::new(Arc::new(vault)).blocking()
    };
    let ledger = desk_of(Operation::Masked);
    let mut sale = ledger::sale(1, 100);
    let how = Tokenize::convergent();
    let token = block_on(ledger.ledger().vault().tokenize(&shop(), &card(VISA), &how)).unwrap();
    sale.token = Some(token.token);
    ledger
        .record(&shop(), &sale, cardvault::ledger::Source::Journal)
        .unwrap();
    let compare = |ledger: &cardvault::ledger::BlockingLedger<Arc<Memory>>| {
        ledger.compare(&desk(), &shop(), &ledger::id(1), &card(VISA).pan, None)
    };
    assert_eq!(
        compare(&ledger),
        Err(cardvault::ledger::LedgerError::Vault(NOT_GRANTED))
    );
    let same = cardvault::refund::CardMatch::Same;
    assert_eq!(compare(&desk_of(Operation::Find)), Ok(same));
}

#[test]
fn a_vault_without_a_policy_grants_all() {
    let vault = vault();
    for operation in Operation::ALL {
        assert_eq!(vault.record(&desk(), operation, None, None), Ok(()));
    }
}

#[test]
fn a_grant_is_for_its_domains_and_purposes() {
    let other: Domain = "shop-2".parse().unwrap();
    let grant = Grant::new(&[Operation::Detokenize, Operation::Export])
        .unwrap()
        .in_domains(&[shop()])
        .unwrap()
        .for_purposes(&["chargeback *", "audit"])
        .unwrap();
    let mut policy = granting(&[Operation::Masked]);
    policy.grant("desk-3", grant).unwrap();
    let mut table = Vec::new();
    for actor in ["desk-3", "desk-4"] {
        for purpose in ["chargeback 7", "chargeback", "audit", "audit 2", "x"] {
            for domain in [Some(shop()), Some(other), None] {
                let access = asking(actor, purpose);
                if policy.allows(&access, Operation::Detokenize, domain.as_ref()) {
                    table.push((actor, purpose, domain));
                }
                // What is done to all domains at once is not done to some.
                assert!(!policy.allows(&access, Operation::Export, None));
                let masked = policy.allows(&access, Operation::Masked, domain.as_ref());
                assert_eq!(masked, actor == "desk-3");
            }
        }
    }
    let shop = Some(shop());
    assert_eq!(
        table,
        [("desk-3", "chargeback 7", shop), ("desk-3", "audit", shop)]
    );
}

#[test]
fn a_policy_is_replaced_by_whom_it_lets() {
    let vault = vault();
    vault
        .set_policy(&desk(), granting(&[Operation::Find]), &[])
        .unwrap();
    let more = granting(&[Operation::Detokenize]);
    assert_eq!(
        vault.set_policy(&desk(), more.clone(), &[]),
        Err(NOT_GRANTED)
    );
    assert_eq!(vault.record(&desk(), Operation::Find, None, None), Ok(()));
    vault.set_policy(&keeper(), more, &[]).unwrap();
    assert_eq!(
        vault.record(&desk(), Operation::Find, None, None),
        Err(NOT_GRANTED)
    );
}

#[test]
fn a_budget_may_end_inside_a_batch() {
    let log = lines();
    let vault = open(Arc::new(Memory::new()), log);
    let tokens = tokens(&vault, 5);
    let policy = budgeted(Operation::Detokenize, 3, DAY);
    vault.set_policy(&keeper(), policy, &[]).unwrap();
    let results = block_on(vault.detokenize_batch(&desk(), &shop(), &tokens));
    let given: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(given, [true, true, true, false, false]);
    let Err(VaultError::Refused(PolicyRefusal::BudgetUsedUp { renews })) = results[4] else {
        panic!("{:?}", results[4]);
    };
    let day = u64::from(DAY);
    assert!((START + day..START + day + day / 60).contains(&renews.0));
    let logged = log.0.lock().unwrap().take().unwrap();
    for (line, token) in logged.iter().skip(1).zip(&tokens) {
        assert!(line.contains(&format!(" token={token}")), "{line}");
    }
    let refused = logged
        .iter()
        .filter(|line| line.ends_with(" refusal=budget-used-up"));
    assert_eq!((logged.len(), refused.count()), (6, 2));
}

/// A renewal is when it was said to be, not a second earlier.
#[test]
fn a_budget_renews_when_it_says() {
    for seconds in [1, 59, 60, 64, 65, 3600, DAY, MAX_BUDGET_SECONDS] {
        NOW.set(START + 17);
        let vault = vault();
        let policy = budgeted(Operation::Find, 2, seconds);
        vault.set_policy(&keeper(), policy, &[]).unwrap();
        let ask = || vault.record(&desk(), Operation::Find, None, None);
        assert_eq!((ask(), ask()), (Ok(()), Ok(())));
        let Err(VaultError::Refused(PolicyRefusal::BudgetUsedUp { renews })) = ask() else {
            panic!("not refused");
        };
        let late = renews.0 - (NOW.get() + u64::from(seconds));
        assert!(
            late < u64::from(seconds).div_ceil(64),
            "{seconds}: {late} s late"
        );
        NOW.set(renews.0 - 1);
        assert_eq!(ask(), Err(used_up(renews.0)));
        NOW.set(renews.0);
        assert_eq!((ask(), ask()), (Ok(()), Ok(())));
        assert!(ask().is_err());
    }
}

#[test]
fn a_clock_that_jumps_gives_nothing_back() {
    let vault = vault();
    vault
        .set_policy(&keeper(), budgeted(Operation::Find, 1, 60), &[])
        .unwrap();
    let ask = || vault.record(&desk(), Operation::Find, None, None);
    assert_eq!(ask(), Ok(()));
    for back in [1, 59, 60, 61, START] {
        NOW.set(START - back);
        assert_eq!(ask(), Err(used_up(START + 60)), "back by {back}");
    }
    // What is granted while it is behind counts as if it were not.
    let other = budgeted(Operation::Find, 2, 60);
    vault.set_policy(&keeper(), other, &[]).unwrap();
    NOW.set(START - 3600);
    assert_eq!(ask(), Ok(()));
    NOW.set(START + 1);
    assert_eq!(ask(), Err(used_up(START + 60)));
    let one = budgeted(Operation::Find, 1, 60);
    vault.set_policy(&keeper(), one, &[]).unwrap();
    // Before 1970 the clock says the last second there is: nothing is granted, nothing renewed.
    NOW.set(u64::MAX);
    assert_eq!(ask(), Err(used_up(u64::MAX)));
    NOW.set(START + 59);
    assert_eq!(ask(), Err(used_up(START + 60)));
    NOW.set(u64::MAX - 1);
    assert_eq!(ask(), Ok(()));
    assert_eq!(ask(), Err(used_up(u64::MAX)));
    // One that was ahead has to come up with itself: a restart helps.
    NOW.set(START + 1000);
    assert!(ask().is_err());
}

#[test]
fn a_restart_and_another_policy_are_no_way_round() {
    let first = vault();
    first
        .set_policy(&keeper(), budgeted(Operation::Find, 3, DAY), &[])
        .unwrap();
    let ask = |vault: &OverMemory| vault.record(&desk(), Operation::Find, None, None);
    assert_eq!((ask(&first), ask(&first)), (Ok(()), Ok(())));
    let spent = first.spent().unwrap();
    assert_eq!(spent.iter().map(|spent| spent.count).sum::<u64>(), 2);

    NOW.set(START + 5000);
    let second = vault();
    second
        .set_policy(&keeper(), budgeted(Operation::Find, 3, DAY), &spent)
        .unwrap();
    assert_eq!(ask(&second), Ok(()));
    assert!(ask(&second).is_err());
    // A policy that is put in force again renews nothing, another gives what it gives.
    second
        .set_policy(&keeper(), budgeted(Operation::Find, 3, DAY), &[])
        .unwrap();
    assert!(ask(&second).is_err());
    second
        .set_policy(&keeper(), budgeted(Operation::Find, 4, 2 * DAY), &[])
        .unwrap();
    assert_eq!(ask(&second), Ok(()));
    assert!(ask(&second).is_err());

    // What a clock that was ahead has logged counts from now on, and not until then.
    let ahead = Spent {
        actor: "desk-3".to_owned(),
        operation: Operation::Find,
        time: UnixSeconds(u64::MAX),
        count: u64::MAX,
    };
    let third = vault();
    let policy = budgeted(Operation::Find, 3, 60);
    third
        .set_policy(&keeper(), policy, &[ahead.clone(), ahead])
        .unwrap();
    assert_eq!(ask(&third), Err(used_up(START + 5060)));
    NOW.set(START + 5060);
    assert_eq!(ask(&third), Ok(()));
}

#[test]
fn many_threads_get_no_more_than_the_budget() {
    let vault = vault();
    let tokens = tokens(&vault, 7);
    let policy = budgeted(Operation::Detokenize, 1000, DAY);
    vault.set_policy(&keeper(), policy, &[]).unwrap();
    let given = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..30 {
                    let results = block_on(vault.detokenize_batch(&desk(), &shop(), &tokens));
                    let cards = results.iter().filter(|result| result.is_ok()).count();
                    given.fetch_add(cards, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(given.into_inner(), 1000);
}

#[test]
fn what_is_not_logged_is_not_given_and_counts() {
    let log = lines();
    let vault = open(Arc::new(Memory::new()), log);
    let token = tokens(&vault, 1)[0];
    let policy = budgeted(Operation::Detokenize, 2, DAY);
    vault.set_policy(&keeper(), policy, &[]).unwrap();
    *log.0.lock().unwrap() = None;
    let ask = || block_on(vault.detokenize(&desk(), &shop(), &token)).map(drop);
    assert_eq!(ask(), Err(VaultError::Log(AccessLogError)));
    let vaultless = vault.record_batch(&desk(), Operation::Detokenize, &shop(), &[token]);
    assert_eq!(vaultless, [Err(VaultError::Log(AccessLogError))]);
    *log.0.lock().unwrap() = Some(Vec::new());
    assert!(matches!(ask(), Err(VaultError::Refused(_))));
}

#[test]
fn the_hosts_own_batches_share_the_budget() {
    let vault = vault();
    let tokens = tokens(&vault, 3);
    let policy = budgeted(Operation::Detokenize, 4, DAY);
    vault.set_policy(&keeper(), policy, &[]).unwrap();
    let ask = || vault.record_batch(&desk(), Operation::Detokenize, &shop(), &tokens);
    assert_eq!(ask(), [Ok(()); 3]);
    let results = ask();
    assert_eq!(results[0], Ok(()));
    assert!(
        results[1..]
            .iter()
            .all(|result| matches!(result, Err(VaultError::Refused(_))))
    );
}

#[test]
fn a_policy_hides_whether_a_card_was_known() {
    let vault = vault();
    let how = Tokenize::convergent();
    let one = || block_on(vault.tokenize(&shop(), &card(VISA), &how)).unwrap();
    let many = || block_on(vault.tokenize_batch(&shop(), &[card(VISA)], &how)).remove(0);
    let first = one();
    assert!(one().existing && many().unwrap().existing);
    let mut policy = granting(&[Operation::Find]);
    policy.hide_existing(true);
    vault.set_policy(&keeper(), policy, &[]).unwrap();
    assert_eq!(one(), first);
    assert_eq!(many(), Ok(first));
}

/// A model that remembers every grant.
struct Model {
    most: u64,
    seconds: u64,
    granted: Vec<(u64, u64)>,
    newest: u64,
}

impl Model {
    /// How many of `count` may be granted, with the time in slices: each grant counts until the
    /// end of its slice is `seconds` ago.
    fn ask(&mut self, count: u64, now: u64) -> u64 {
        self.newest = self.newest.max(now);
        let slice = self.seconds.div_ceil(64);
        let counts = |time: u64| (time / slice + 1) * slice - 1 + self.seconds > self.newest;
        let used = self.granted.iter().filter(|(time, _)| counts(*time));
        let used: u64 = used.map(|(_, count)| count).sum();
        let granted = count.min(self.most.saturating_sub(used));
        self.granted.push((self.newest, granted));
        granted
    }

    /// The most that was granted in any stretch of the budget's length.
    fn busiest(&self) -> u64 {
        let in_stretch = |from: u64| {
            let inside = self
                .granted
                .iter()
                .filter(|(time, _)| (from..from + self.seconds).contains(time));
            inside.map(|(_, count)| count).sum()
        };
        self.granted
            .iter()
            .map(|(time, _)| in_stretch(*time))
            .max()
            .unwrap_or(0)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_budget_is_never_exceeded(
        most in 1_u32..40,
        seconds in prop_oneof![1_u32..70, 3000_u32..4000],
        steps in prop::collection::vec((-50_i64..400, 0_usize..12, 0_u8..20), 1..60),
    ) {
        NOW.set(START);
        let mut vault = vault();
        let token = tokens(&vault, 1)[0];
        let policy = budgeted(Operation::Detokenize, most, seconds);
        vault.set_policy(&keeper(), policy.clone(), &[]).unwrap();
        let mut model = Model { most: most.into(), seconds: seconds.into(), granted: Vec::new(), newest: 0 };
        for (jump, count, restart) in steps {
            NOW.set(NOW.get().saturating_add_signed(jump));
            if restart == 0 && NOW.get() >= model.newest {
                let spent = vault.spent().unwrap();
                vault = self::vault();
                vault.set_policy(&keeper(), policy.clone(), &spent).unwrap();
            }
            let asked = vec![token; count];
            let results = vault.record_batch(&desk(), Operation::Detokenize, &shop(), &asked);
            let granted = results.iter().take_while(|result| result.is_ok()).count();
            prop_assert!(results[granted..].iter().all(Result::is_err));
            prop_assert_eq!(granted as u64, model.ask(count as u64, NOW.get()));
        }
        prop_assert!(model.busiest() <= most.into());
    }

    #[test]
    fn a_budget_is_read_as_it_is_shown(most in 1_u32.., seconds in 1..=MAX_BUDGET_SECONDS) {
        let budget = Budget::new(most, seconds).unwrap();
        prop_assert_eq!(budget.to_string().parse(), Ok(budget));
    }

    #[test]
    fn any_text_is_a_policy_or_an_error_with_a_line(text in "[ -~\n]{0,200}") {
        if let Err(error) = AccessPolicy::from_toml(&text) {
            prop_assert!((1..=text.lines().count() + 1).contains(&error.line));
        }
    }
}

#[test]
fn budgets_are_written_plainly() {
    for (text, most, seconds) in [
        ("500 per day", 500, DAY),
        ("20 per minute", 20, 60),
        ("20 per 90 seconds", 20, 90),
        ("1 per 8 hours", 1, 8 * 3600),
    ] {
        let budget = Budget::new(most, seconds).unwrap();
        assert_eq!(text.parse(), Ok(budget));
        assert_eq!(budget.to_string(), text);
    }
}

const EXAMPLE: &str = r#"
existing = "hidden"

[[actor]]
name = "refund-desk"
grants = [
    { may = ["find", "masked"] },
    { may = ["detokenize"], domains = ["shop-1", 'shop\x00'], purposes = ["chargeback *"] },
]
budgets = { detokenize = "500 per day", find = "20 per minute" }

[[actor]]
name = "keeper"
[[actor.grants]]
may = ["keys", "policy"]
"#;

#[test]
fn a_file_says_what_the_same_calls_say() {
    let mut policy = AccessPolicy::new();
    policy.hide_existing(true);
    let looking = Grant::new(&[Operation::Find, Operation::Masked]).unwrap();
    policy.grant("refund-desk", looking).unwrap();
    let opening = Grant::new(&[Operation::Detokenize])
        .unwrap()
        .in_domains(&[shop(), Domain::new(b"shop\0").unwrap()])
        .unwrap()
        .for_purposes(&["chargeback *"])
        .unwrap();
    policy.grant("refund-desk", opening).unwrap();
    for (operation, most, seconds) in [(Operation::Detokenize, 500, DAY), (Operation::Find, 20, 60)]
    {
        let budget = Budget::new(most, seconds).unwrap();
        policy.budget("refund-desk", operation, budget).unwrap();
    }
    let mut keeping = Operation::KEYS.to_vec();
    keeping.push(Operation::Policy);
    policy
        .grant("keeper", Grant::new(&keeping).unwrap())
        .unwrap();
    assert_eq!(AccessPolicy::from_toml(EXAMPLE), Ok(policy));
    assert_eq!(AccessPolicy::from_toml(""), Ok(AccessPolicy::new()));
}

/// What is changed in the example, and what the reader says of it.
const MISTAKES: [(&str, &str, &str); 25] = [
    (
        "existing = \"hidden\"",
        "existing = hidden",
        "line 2: not TOML: texts stand in double quotes, lists in square brackets, a field is name = value",
    ),
    (
        "existing = \"hidden\"",
        "existing = true",
        "line 2: write \"told\" or \"hidden\"",
    ),
    (
        "existing = \"hidden\"",
        "exists = \"hidden\"",
        "line 2: no such field: there are existing and actor",
    ),
    (
        "existing = \"hidden\"",
        "existing = \"told\"\nexisting = \"told\"",
        "line 3: the field is there twice: keep one",
    ),
    (
        "[[actor]]\nname = \"refund-desk\"",
        "[actor]\nname = \"refund-desk\"",
        "line 12: the field is there twice: keep one",
    ),
    (
        "[[actor]]",
        "[[actors]]",
        "line 4: no such field: there are existing and actor",
    ),
    ("name = \"refund-desk\"", "", "line 4: name is missing"),
    (
        "name = \"refund-desk\"",
        "name = 7",
        "line 5: write a text in double quotes",
    ),
    (
        "name = \"refund-desk\"",
        "name = \"4111 1111 1111 1111\"",
        "line 5: actor must be 1 to 64 printable ASCII characters without a card number",
    ),
    (
        "name = \"keeper\"",
        "name = \"refund-desk\"",
        "line 13: the actor is there twice: put its grants together",
    ),
    (
        "name = \"keeper\"",
        "name = \"keeper\"\ngrant = []",
        "line 14: no such field: there are name, grants and budgets",
    ),
    (
        "[[actor.grants]]\nmay = [\"keys\", \"policy\"]",
        "",
        "line 12: grants is missing",
    ),
    (
        "[[actor.grants]]\nmay = [\"keys\", \"policy\"]",
        "grants = []",
        "line 14: the list names nothing: name something or leave it out",
    ),
    (
        "may = [\"keys\", \"policy\"]",
        "",
        "line 14: may is missing",
    ),
    (
        "may = [\"keys\", \"policy\"]",
        "may = \"keys\"",
        "line 15: write [\"find\", \"masked\"], for instance",
    ),
    (
        "may = [\"keys\", \"policy\"]",
        "may = []",
        "line 15: the list names nothing: name something or leave it out",
    ),
    (
        "may = [\"keys\", \"policy\"]",
        "may = [\"all\"]",
        "line 15: no such operation: write detokenize, masked, find, count, delete, purge, export, rewrap, list, add-key, activate-key, retire-key, compromise-key, destroy-key, policy, or keys for all that are about keys",
    ),
    (
        "domains = [\"shop-1\", ",
        "domains = [\"\", ",
        "line 8: no domain: a domain has 1 to 32 bytes, not 0",
    ),
    (
        "purposes = [\"chargeback *\"]",
        "purposes = []",
        "line 8: the list names nothing: name something or leave it out",
    ),
    (
        "purposes = [\"chargeback *\"]",
        "purposes = [\"\"]",
        "line 8: purpose must be 1 to 64 printable ASCII characters without a card number",
    ),
    (
        "find = \"20 per minute\"",
        "find = \"0 per minute\"",
        "line 10: a budget of zero: to refuse an operation do not grant it",
    ),
    (
        "find = \"20 per minute\"",
        "find = 20",
        "line 10: write a text in double quotes",
    ),
    (
        "find = \"20 per minute\"",
        "find = \"20 a minute\"",
        "line 10: no budget: write a number and a time, such as \"500 per day\" or \"20 per 5 minutes\"",
    ),
    (
        "find = \"20 per minute\"",
        "find = \"20 per 367 days\"",
        "line 10: a budget is for at most 366 days",
    ),
    (
        "find = \"20 per minute\"",
        "delete = \"20 per minute\"",
        "line 10: a budget for what is not granted: grant it or leave the budget out",
    ),
];

#[test]
fn a_file_with_a_mistake_says_where_and_what_to_write() {
    for (right, wrong, said) in MISTAKES {
        let text = EXAMPLE.replacen(right, wrong, 1);
        assert_ne!(text, EXAMPLE, "{right}");
        let error = AccessPolicy::from_toml(&text).unwrap_err();
        assert_eq!(error.to_string(), said, "{wrong}");
    }
    let long = "#".repeat(MAX_POLICY_LEN + 1);
    let most = MAX_POLICY_LEN;
    let error = AccessPolicy::from_toml(&long).unwrap_err();
    assert_eq!(error.fault, PolicyFault::TooLong { most });
}
