//! Reconciliation: the ledger against journals and against a centre's settlement file, each
//! difference by name. Pure functions over what was read before; nothing is changed.
#![forbid(unsafe_code)]

use core::fmt;
use std::collections::{HashMap, HashSet};

use super::record::{Payment, PaymentId, RequestRecord};
use crate::payment::{
    Amount, BatchNumber, ClearingDate, MerchantId, OrderNumber, PaymentFields, PaymentKind,
    RefundNumber, Rrn, TerminalId, Voucher,
};
use crate::refund::{Action, PaymentState, RefundStatus};

/// What a verified journal says of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLine {
    /// The entry's identity.
    pub id: PaymentId,
    /// Its fields.
    pub fields: PaymentFields,
}

/// One row of a settlement file: what moved money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettlementRow {
    /// What it is.
    pub kind: PaymentKind,
    /// How much.
    pub amount: Amount,
    /// The merchant.
    pub merchant: MerchantId,
    /// The terminal.
    pub terminal: TerminalId,
    /// The terminal's batch and the voucher number in it.
    pub voucher: Option<(BatchNumber, Voucher)>,
    /// The centre's reference number.
    pub rrn: Option<Rrn>,
    /// The order number of a QR payment.
    pub order: Option<OrderNumber>,
    /// The merchant's number of a refund.
    pub refund: Option<RefundNumber>,
    /// The day on which it was cleared.
    pub clearing: ClearingDate,
}

/// Where the ledger and another record do not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In what.
    pub what: Disagreement,
    /// The payment in the ledger or the journal.
    pub payment: Option<PaymentId>,
    /// The refund in the ledger or the file.
    pub refund: Option<RefundNumber>,
    /// The line of the journal or the row of the file, from 0.
    pub row: Option<usize>,
}

/// In what two records do not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disagreement {
    /// The other record has it, the ledger does not.
    MissingInLedger,
    /// The ledger has it, the journal does not.
    MissingInJournal,
    /// The ledger says that money moved, the settlement file does not.
    MissingInFile,
    /// The other record has it more than once.
    Duplicate,
    /// More than one payment or refund of the ledger is what a row speaks of.
    Ambiguous,
    /// The kind.
    Kind,
    /// The amount or its currency.
    Amount {
        /// In the ledger.
        ledger: Amount,
        /// In the other record.
        other: Amount,
    },
    /// The merchant.
    Merchant,
    /// The terminal.
    Terminal,
    /// The trace, voucher or batch number.
    Numbers,
    /// The reference number.
    Rrn,
    /// The clearing date.
    Clearing,
    /// Approved in one record, declined in the other.
    Outcome,
    /// In doubt in the ledger, while the other record knows the outcome: resolve it.
    InDoubt,
    /// The file moved money for what the ledger says moved none.
    MovedMoney,
    /// The file settled a refund that the ledger does not say is settled: record it.
    NotSettledYet,
}

impl Disagreement {
    /// The name in records and interfaces, such as `missing-in-ledger`. Never changes.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::MissingInLedger => "missing-in-ledger",
            Self::MissingInJournal => "missing-in-journal",
            Self::MissingInFile => "missing-in-file",
            Self::Duplicate => "duplicate",
            Self::Ambiguous => "ambiguous",
            Self::Kind => "kind",
            Self::Amount { .. } => "amount",
            Self::Merchant => "merchant",
            Self::Terminal => "terminal",
            Self::Numbers => "numbers",
            Self::Rrn => "reference-number",
            Self::Clearing => "clearing-date",
            Self::Outcome => "outcome",
            Self::InDoubt => "in-doubt",
            Self::MovedMoney => "moved-money",
            Self::NotSettledYet => "not-settled-yet",
        }
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Amount { ledger, other } => write!(f, " ({ledger} in the ledger, not {other})"),
            _ => Ok(()),
        }
    }
}

/// Compares the ledger with a journal. `payments` are all that the ledger has of the journal's
/// terminals, epochs and time; those that no journal holds are left out.
#[must_use]
pub fn with_journal(payments: &[Payment], journal: &[JournalLine]) -> Vec<Difference> {
    let known: HashMap<_, _> = payments
        .iter()
        .map(|payment| (payment.id, payment))
        .collect();
    let mut seen = HashSet::new();
    let mut differences = Vec::new();
    for (row, line) in journal.iter().enumerate() {
        let mut tell = |what| {
            differences.push(Difference {
                what,
                payment: Some(line.id),
                refund: None,
                row: Some(row),
            });
        };
        if !seen.insert(line.id) {
            tell(Disagreement::Duplicate);
            continue;
        }
        match known.get(&line.id) {
            None => tell(Disagreement::MissingInLedger),
            Some(payment) => compare_fields(payment, &line.fields, &mut tell),
        }
    }
    for payment in payments {
        if matches!(payment.id, PaymentId::Journal { .. }) && !seen.contains(&payment.id) {
            differences.push(Difference {
                what: Disagreement::MissingInJournal,
                payment: Some(payment.id),
                refund: None,
                row: None,
            });
        }
    }
    differences
}

/// Compares the ledger with a settlement file. `payments` and `requests` are all that the ledger
/// has of the file's merchants and days.
#[must_use]
pub fn with_settlement(
    payments: &[Payment],
    requests: &[RequestRecord],
    rows: &[SettlementRow],
) -> Vec<Difference> {
    let paid = PaymentIndex::new(payments);
    let asked = RequestIndex::new(requests);
    let (mut seen_payments, mut seen_requests) = (HashSet::new(), HashSet::new());
    let mut differences = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let mut tell = |what, payment, refund| {
            differences.push(Difference {
                what,
                payment,
                refund,
                row: Some(at),
            });
        };
        if row.kind.is_refund() {
            let record = match asked.find(row) {
                [record] => *record,
                [] => {
                    tell(Disagreement::MissingInLedger, None, row.refund);
                    continue;
                }
                _ => {
                    tell(Disagreement::Ambiguous, None, row.refund);
                    continue;
                }
            };
            let mut tell = |what| tell(what, Some(record.payment), Some(record.number));
            if !seen_requests.insert((record.merchant, record.number)) {
                tell(Disagreement::Duplicate);
                continue;
            }
            compare_refund(record, row, &mut tell);
        } else if row.kind.refund().is_some() {
            let found = paid.find(row);
            let payment = match found.as_slice() {
                [payment] => *payment,
                [] => {
                    tell(Disagreement::MissingInLedger, None, None);
                    continue;
                }
                _ => {
                    tell(Disagreement::Ambiguous, None, None);
                    continue;
                }
            };
            let mut tell = |what| tell(what, Some(payment.id), None);
            if !seen_payments.insert(payment.id) {
                tell(Disagreement::Duplicate);
                continue;
            }
            compare_payment(payment, row, &mut tell);
        }
        // Voids, reversals and pre-authorizations move no money of their own.
    }
    for payment in payments {
        if took_money(payment) && !seen_payments.contains(&payment.id) {
            differences.push(Difference {
                what: Disagreement::MissingInFile,
                payment: Some(payment.id),
                refund: None,
                row: None,
            });
        }
    }
    for record in requests {
        let moved = matches!(
            record.status,
            RefundStatus::Accepted | RefundStatus::Settled
        );
        let name = (record.merchant, record.number);
        if record.action == Action::Refund && moved && !seen_requests.contains(&name) {
            differences.push(Difference {
                what: Disagreement::MissingInFile,
                payment: Some(record.payment),
                refund: Some(record.number),
                row: None,
            });
        }
    }
    differences
}

fn compare_fields(payment: &Payment, other: &PaymentFields, tell: &mut impl FnMut(Disagreement)) {
    let ours = &payment.fields;
    if ours.kind != other.kind {
        tell(Disagreement::Kind);
    }
    compare_amounts(ours.amount, other.amount, tell);
    if ours.merchant != other.merchant {
        tell(Disagreement::Merchant);
    }
    if ours.terminal != other.terminal {
        tell(Disagreement::Terminal);
    }
    if (ours.stan, ours.voucher, ours.batch) != (other.stan, other.voucher, other.batch) {
        tell(Disagreement::Numbers);
    }
    // What one side does not know is no difference: an inquiry may have told the ledger alone.
    if differ(ours.rrn, other.rrn) {
        tell(Disagreement::Rrn);
    }
    if differ(ours.clearing, other.clearing) {
        tell(Disagreement::Clearing);
    }
    match (ours.response, other.response) {
        (Some(ours), Some(other)) if ours.is_approved() != other.is_approved() => {
            tell(Disagreement::Outcome);
        }
        (None, Some(_)) => tell(Disagreement::InDoubt),
        _ => {}
    }
}

fn compare_payment(payment: &Payment, row: &SettlementRow, tell: &mut impl FnMut(Disagreement)) {
    let ours = &payment.fields;
    compare_amounts(ours.amount, row.amount, tell);
    if ours.merchant != row.merchant {
        tell(Disagreement::Merchant);
    }
    if differ(ours.rrn, row.rrn) {
        tell(Disagreement::Rrn);
    }
    if differ(ours.clearing, Some(row.clearing)) {
        tell(Disagreement::Clearing);
    }
    if payment.state == PaymentState::InDoubt {
        tell(Disagreement::InDoubt);
    } else if !took_money(payment) {
        tell(Disagreement::MovedMoney);
    }
}

fn compare_refund(
    record: &RequestRecord,
    row: &SettlementRow,
    tell: &mut impl FnMut(Disagreement),
) {
    compare_amounts(record.amount, row.amount, tell);
    if differ(record.rrn, row.rrn) {
        tell(Disagreement::Rrn);
    }
    match record.status {
        RefundStatus::Settled => {}
        RefundStatus::Failed => tell(Disagreement::MovedMoney),
        _ => tell(Disagreement::NotSettledYet),
    }
}

fn compare_amounts(ledger: Amount, other: Amount, tell: &mut impl FnMut(Disagreement)) {
    if ledger != other {
        tell(Disagreement::Amount { ledger, other });
    }
}

fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

/// Whether a settlement file should have it.
fn took_money(payment: &Payment) -> bool {
    payment.fields.kind.refund().is_some()
        && matches!(
            payment.state,
            PaymentState::Captured
                | PaymentState::PartlyRefunded
                | PaymentState::Refunded
                | PaymentState::Disputed
        )
}

/// Payments by what a file's rows name them by.
struct PaymentIndex<'a> {
    vouchers: HashMap<(TerminalId, BatchNumber, Voucher), Vec<&'a Payment>>,
    rrns: HashMap<(TerminalId, Rrn), Vec<&'a Payment>>,
    orders: HashMap<(MerchantId, OrderNumber), Vec<&'a Payment>>,
}

impl<'a> PaymentIndex<'a> {
    fn new(payments: &'a [Payment]) -> Self {
        let mut index = Self {
            vouchers: HashMap::new(),
            rrns: HashMap::new(),
            orders: HashMap::new(),
        };
        for payment in payments {
            let fields = &payment.fields;
            let voucher = (fields.terminal, fields.batch, fields.voucher);
            index.vouchers.entry(voucher).or_default().push(payment);
            if let Some(rrn) = fields.rrn {
                let rrns = index.rrns.entry((fields.terminal, rrn));
                rrns.or_default().push(payment);
            }
            if let Some(order) = fields.order {
                let orders = index.orders.entry((fields.merchant, order));
                orders.or_default().push(payment);
            }
        }
        index
    }

    /// By voucher, else by order, else by reference number and day.
    fn find(&self, row: &SettlementRow) -> Vec<&'a Payment> {
        let kind = |payment: &&&Payment| payment.fields.kind == row.kind;
        if let Some((batch, voucher)) = row.voucher {
            let found = self.vouchers.get(&(row.terminal, batch, voucher));
            return found.into_iter().flatten().filter(kind).copied().collect();
        }
        if let Some(order) = row.order {
            let found = self.orders.get(&(row.merchant, order));
            return found.into_iter().flatten().filter(kind).copied().collect();
        }
        let Some(rrn) = row.rrn else {
            return Vec::new();
        };
        let found = self.rrns.get(&(row.terminal, rrn)).into_iter().flatten();
        let day = |payment: &&&Payment| {
            payment
                .fields
                .clearing
                .is_none_or(|clearing| clearing == row.clearing)
        };
        found.filter(kind).filter(day).copied().collect()
    }
}

/// Refunds by what a file's rows name them by. A reference number comes again on another day.
struct RequestIndex<'a> {
    numbers: HashMap<(MerchantId, RefundNumber), Vec<&'a RequestRecord>>,
    rrns: HashMap<(MerchantId, Rrn), Vec<&'a RequestRecord>>,
}

impl<'a> RequestIndex<'a> {
    fn new(requests: &'a [RequestRecord]) -> Self {
        let mut index = Self {
            numbers: HashMap::new(),
            rrns: HashMap::new(),
        };
        let refunds = requests.iter();
        for record in refunds.filter(|record| record.action == Action::Refund) {
            let number = (record.merchant, record.number);
            index.numbers.entry(number).or_default().push(record);
            if let Some(rrn) = record.rrn {
                let rrns = index.rrns.entry((record.merchant, rrn));
                rrns.or_default().push(record);
            }
        }
        index
    }

    /// By its number, else by reference number.
    fn find(&self, row: &SettlementRow) -> &[&'a RequestRecord] {
        let found = match (row.refund, row.rrn) {
            (Some(number), _) => self.numbers.get(&(row.merchant, number)),
            (None, Some(rrn)) => self.rrns.get(&(row.merchant, rrn)),
            (None, None) => None,
        };
        found.map_or(&[], Vec::as_slice)
    }
}
