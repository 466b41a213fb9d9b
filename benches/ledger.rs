//! Look-ups in ledgers of growing size, on disk: the time must not grow with the payments.
//!
//! `LEDGER_PAYMENTS` (100000) is the largest size; each one is ten times the one before, from
//! 10000. Filling 10 million takes some minutes and 20 GB.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::sync::Arc;

use cardvault::keys::{Cryptoperiod, Domain, KeyRing, KeyUse, RingMark};
use cardvault::ledger::{
    BlockingLedger, Ledger, Lookup, MAX_ENTRIES, NewPayment, PaymentId, Source,
};
use cardvault::payment::{
    Amount, BatchNumber, Currency, Date, PaymentFields, PaymentKind, ResponseCode, Rrn, Stan,
    Voucher,
};
use cardvault::refund::PaidBy;
use cardvault::vault::{Embedded, EmbeddedOptions, LineLog, Vault};
use cardvault::{SystemRandom, UnixSeconds};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use pollster::block_on;

const START: u64 = 1_800_000_000;

fn payment(n: u64) -> NewPayment {
    let number = u32::try_from(n % 999_999 + 1).unwrap();
    let numbers = (
        Stan::new(number).unwrap(),
        Voucher::new(number).unwrap(),
        BatchNumber::new(u32::try_from(n / 999_999 + 1).unwrap()).unwrap(),
    );
    let amount = Amount::new(1_000, Currency::CNY).unwrap();
    let terminal = "T0000001".parse().unwrap();
    let merchant = "M1".parse().unwrap();
    let mut fields = PaymentFields::new(PaymentKind::Sale, amount, numbers, terminal, merchant);
    fields.rrn = Some(rrn(n));
    fields.response = Some(ResponseCode::APPROVED);
    NewPayment {
        id: PaymentId::Journal {
            terminal,
            epoch: 1,
            sequence: n,
        },
        time: UnixSeconds(START + n),
        date: date(),
        paid_by: PaidBy::Card,
        fields,
        token: None,
        last_four: None,
    }
}

fn rrn(n: u64) -> Rrn {
    format!("{n:012}").parse().unwrap()
}

fn date() -> Date {
    Date::of(UnixSeconds(START), 480).unwrap()
}

fn open(folder: &std::path::Path) -> BlockingLedger<Embedded> {
    let mut ring = KeyRing::new(RingMark::Development, &mut SystemRandom).unwrap();
    let now = UnixSeconds::now();
    for usage in KeyUse::ALL {
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, now, &mut SystemRandom).unwrap();
        ring.activate(name, now).unwrap();
    }
    let store = Embedded::create(folder, &EmbeddedOptions::default()).unwrap();
    let log = LineLog::new(std::io::sink());
    let vault = block_on(Vault::open(store, ring, log)).unwrap();
    Ledger::new(Arc::new(vault)).blocking()
}

fn look_ups(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder.path().join("vault"));
    let shop: Domain = "shop-1".parse().unwrap();
    let most = std::env::var("LEDGER_PAYMENTS").ok();
    let most = most.map_or(100_000, |text| text.parse().unwrap());
    let mut group = criterion.benchmark_group("ledger");
    let (mut count, mut size) = (0, 10_000);
    while size <= most {
        while count < size {
            let batch = u64::try_from(MAX_ENTRIES).unwrap().min(size - count);
            let payments: Vec<_> = (count..count + batch).map(payment).collect();
            ledger
                .record_batch(&shop, &payments, Source::Centre)
                .unwrap();
            count += batch;
        }
        // A stride that meets every payment before it meets one again.
        let mut n = 0;
        let mut next = || {
            n = (n + 7_919) % size;
            n
        };
        group.bench_function(BenchmarkId::new("reference number", size), |bencher| {
            bencher.iter(|| {
                let by = Lookup::Rrn(rrn(next()), date());
                black_box(ledger.find(&shop, &by, None, 10).unwrap())
            });
        });
        group.bench_function(BenchmarkId::new("identity", size), |bencher| {
            bencher.iter(|| black_box(ledger.payment(&shop, &payment(next()).id).unwrap()));
        });
        group.bench_function(BenchmarkId::new("time range of 10", size), |bencher| {
            bencher.iter(|| {
                let from = START + next();
                let (from, until) = (UnixSeconds(from), UnixSeconds(from + 10));
                black_box(ledger.payments(&shop, from, until, None, 10).unwrap())
            });
        });
        size *= 10;
    }
}

criterion_group!(benches, look_ups);
criterion_main!(benches);
