//! What the ledger keeps: payments, requests to give money back, and what happened to them.
#![forbid(unsafe_code)]

use core::fmt;
use core::str::FromStr;

use crate::payment::{
    Amount, ApprovalCode, ClearingDate, Date, MerchantId, PaymentFields, RefundNumber,
    ResponseCode, Rrn, TerminalId,
};
use crate::refund::{
    Action, Authority, BatchState, Original, PaidBy, PaymentEvent, PaymentState, RefundEvent,
    RefundStatus, RefundTotals,
};
use crate::time::UnixSeconds;
use crate::token::Token;

/// The length of an identity that the host gives, in bytes.
pub const HOST_ID_LEN: usize = 16;

/// Names a payment for good: the same identity is the same payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaymentId {
    /// The entry of a terminal's journal.
    Journal {
        /// The terminal.
        terminal: TerminalId,
        /// The epoch of its journal.
        epoch: u32,
        /// The entry's sequence number in that epoch.
        sequence: u64,
    },
    /// What the host chose.
    Host([u8; HOST_ID_LEN]),
}

/// How a payment is named in texts: `TERMINAL/EPOCH/SEQUENCE`, or `host/` and 32 lower-case
/// hexadecimal digits.
impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal {
                terminal,
                epoch,
                sequence,
            } => write!(f, "{terminal}/{epoch}/{sequence}"),
            Self::Host(id) => {
                f.write_str("host/")?;
                id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

impl FromStr for PaymentId {
    type Err = PaymentIdError;

    /// Reads the form that `Display` writes, and no other.
    fn from_str(text: &str) -> Result<Self, PaymentIdError> {
        let id = read_journal_id(text).or_else(|| read_host_id(text));
        // One name for one payment: no signs, no leading zeros, no upper case.
        id.filter(|id| id.to_string() == text).ok_or(PaymentIdError)
    }
}

fn read_journal_id(text: &str) -> Option<PaymentId> {
    let mut parts = text.rsplitn(3, '/');
    let (sequence, epoch, terminal) = (parts.next()?, parts.next()?, parts.next()?);
    Some(PaymentId::Journal {
        terminal: terminal.parse().ok()?,
        epoch: epoch.parse().ok()?,
        sequence: sequence.parse().ok()?,
    })
}

fn read_host_id(text: &str) -> Option<PaymentId> {
    let number = text.strip_prefix("host/")?;
    if number.len() != 2 * HOST_ID_LEN {
        return None;
    }
    let number = u128::from_str_radix(number, 16).ok()?;
    Some(PaymentId::Host(number.to_be_bytes()))
}

/// The text names no payment: it is not `TERMINAL/EPOCH/SEQUENCE` or `host/` and 32 hexadecimal
/// digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaymentIdError;

impl fmt::Display for PaymentIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a payment is named TERMINAL/EPOCH/SEQUENCE, as in 10000001/1/42")
    }
}

impl core::error::Error for PaymentIdError {}

/// A payment that is to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewPayment {
    /// Its identity.
    pub id: PaymentId,
    /// When it was made.
    pub time: UnixSeconds,
    /// The merchant's calendar day of it.
    pub date: Date,
    /// How it was paid.
    pub paid_by: PaidBy,
    /// Its fields. The response code says whether it was approved; without one it is in doubt.
    pub fields: PaymentFields,
    /// The card's token.
    pub token: Option<Token>,
    /// The card's last four digits, as a number.
    pub last_four: Option<u16>,
}

/// A payment as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Payment {
    /// Its identity.
    pub id: PaymentId,
    /// When it was made.
    pub time: UnixSeconds,
    /// The merchant's calendar day of it.
    pub date: Date,
    /// How it was paid.
    pub paid_by: PaidBy,
    /// Its fields, with what an inquiry found out.
    pub fields: PaymentFields,
    /// The card's token.
    pub token: Option<Token>,
    /// The card's last four digits, as a number.
    pub last_four: Option<u16>,
    /// Where it stands.
    pub state: PaymentState,
    /// Whether its batch is settled.
    pub batch: BatchState,
    /// A void, reversal or completion of it without an outcome yet.
    pub pending: Option<Action>,
    /// What was asked back of it.
    pub refunds: RefundTotals,
    /// How many events its history has.
    pub revision: u32,
    /// SHA-256 of what was recorded first.
    pub(super) origin: [u8; 32],
    /// The tag of the newest event, which binds those before it.
    pub(super) evidence: [u8; 32],
}

impl Payment {
    /// What the refund rules look at.
    #[must_use]
    pub const fn original(&self) -> Original {
        Original {
            kind: self.fields.kind,
            state: self.state,
            amount: self.fields.amount,
            refunds: self.refunds,
            pending: self.pending,
            merchant: self.fields.merchant,
            terminal: self.fields.terminal,
            batch: self.batch,
            clearing: self.fields.clearing,
            date: self.date,
            paid_by: self.paid_by,
        }
    }
}

/// A void, refund, reversal or completion that was asked for, as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestRecord {
    /// The merchant's number, under which it is done once.
    pub number: RefundNumber,
    /// The merchant.
    pub merchant: MerchantId,
    /// The payment that it acts on.
    pub payment: PaymentId,
    /// What is to be done.
    pub action: Action,
    /// How much.
    pub amount: Amount,
    /// Where it stands.
    pub status: RefundStatus,
    /// Who stands behind it. A journal does not say: what the ledger knows from one alone counts
    /// as the clerk's, the least authority.
    pub authority: Authority,
    /// Where the ledger knows it from: the desk that asked, or a terminal's journal.
    pub source: Source,
    /// The terminal at which it was asked for.
    pub terminal: TerminalId,
    /// When it was asked for first.
    pub requested: UnixSeconds,
    /// When the time that it may take began: with the last submission, or with the acceptance.
    pub since: UnixSeconds,
    /// How often it was submitted.
    pub tries: u32,
    /// The centre's reference number of it, once known.
    pub rrn: Option<Rrn>,
}

impl RequestRecord {
    /// Whether it is what the merchant asked for under this number.
    pub(super) fn is(&self, merchant: &MerchantId, number: &RefundNumber) -> bool {
        self.merchant == *merchant && self.number == *number
    }
}

/// What a centre answered, or an inquiry found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The response code: approved or not.
    pub response: ResponseCode,
    /// The centre's reference number.
    pub rrn: Option<Rrn>,
    /// The approval code.
    pub approval: Option<ApprovalCode>,
    /// The day on which it is cleared.
    pub clearing: Option<ClearingDate>,
}

/// Where the ledger knows an event from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The desk that asked.
    Desk,
    /// The centre's answer.
    Centre,
    /// The result of an inquiry.
    Inquiry,
    /// A settlement file.
    SettlementFile,
    /// A terminal's verified journal.
    Journal,
    /// An operator of the host.
    Operator,
}

impl Source {
    /// Every source, in the order of its codes.
    pub const ALL: [Self; 6] = [
        Self::Desk,
        Self::Centre,
        Self::Inquiry,
        Self::SettlementFile,
        Self::Journal,
        Self::Operator,
    ];

    /// The source's code in byte formats, 1 to 6. Never changes.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Desk => 1,
            Self::Centre => 2,
            Self::Inquiry => 3,
            Self::SettlementFile => 4,
            Self::Journal => 5,
            Self::Operator => 6,
        }
    }

    /// The source of a code; `None` if none has it.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.code() == code)
    }

    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Desk => "desk",
            Self::Centre => "centre",
            Self::Inquiry => "inquiry",
            Self::SettlementFile => "settlement file",
            Self::Journal => "journal",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Happened {
    /// The payment was recorded.
    Recorded,
    /// Its state changed, or was confirmed.
    Payment(PaymentEvent),
    /// Its batch was settled.
    BatchSettled,
    /// Something was asked for.
    Requested,
    /// What was asked for came further.
    Request(RefundEvent),
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Recorded => "recorded",
            Self::Payment(event) => event.as_str(),
            Self::BatchSettled => "batch settled",
            Self::Requested => "requested",
            Self::Request(event) => event.as_str(),
        })
    }
}

/// One event of a payment's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// Its place in the history, from 1.
    pub revision: u32,
    /// When the ledger learned of it.
    pub time: UnixSeconds,
    /// What happened.
    pub what: Happened,
    /// Where the ledger knows it from.
    pub source: Source,
    /// The payment's state after it.
    pub state: PaymentState,
    /// The request that it is about, as it stood after it.
    pub request: Option<HistoryRequest>,
}

/// What an event says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryRequest {
    /// What was to be done.
    pub action: Action,
    /// How much.
    pub amount: Amount,
    /// Its status after the event.
    pub status: RefundStatus,
    /// Who stands behind it.
    pub authority: Authority,
    /// Names the request's row.
    pub(super) key: RequestKey,
}

/// Names a request's row within a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestKey {
    pub(super) requested: UnixSeconds,
    pub(super) digest: [u8; 16],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_has_one_name() {
        let id = PaymentId::Journal {
            terminal: "T/1".parse().unwrap(),
            epoch: 7,
            sequence: u64::MAX,
        };
        for (id, text) in [
            (id, "T/1/7/18446744073709551615"),
            (
                PaymentId::Host([0xa5; HOST_ID_LEN]),
                "host/a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5",
            ),
        ] {
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse(), Ok(id));
        }
        for bad in [
            "",
            "T1",
            "T1/1",
            "T1/1/",
            "/1/1",
            "T1/01/1",
            "T1/1/+1",
            "T1/4294967296/1",
            "host/A5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5",
            "host/a5",
            "TERMINAL-1/1/1",
        ] {
            assert_eq!(bad.parse::<PaymentId>(), Err(PaymentIdError), "{bad}");
        }
    }
}
