//! The arguments of `refund`.
#![forbid(unsafe_code)]

use cardvault::ledger::Source;
use cardvault::payment::{
    ApprovalCode, Currency, Date, MerchantId, RefundNumber, ResponseCode, Rrn, TerminalId,
};
use cardvault::refund::{Authority, Policy, RefundEvent};
use clap::{Args, Subcommand, ValueEnum};

use crate::desk::lookup::LookArgs;
use crate::desk::{DeskArgs, RangeArgs, date_argument};

const REFUND_HELP: &str = "\
What the rules approve is recorded as requested, before it may be sent: send it then, and tell with
`refund status --set` what became of it. The same request under the same number is answered with
where that request stands, and nothing is to be sent; a failed one is submitted again.

What they refuse ends with code 1, one named reason and what can be done, such as
  refused  total-exceeded
  why      more than is left: 20.00 CNY
  left     20.00 CNY
  do       Refund at most what is left.

Policies:
  unionpay  void in the open batch at the same terminal, later refunds within 330 days, partial
            ones too, a supervisor for both
  qr        365 days, 50 partial refunds, any terminal of the merchant
  default   90 days, 10 refunds, a supervisor";

#[derive(Debug, Subcommand)]
pub(crate) enum Refund {
    /// Give money back, all of a payment or a part
    #[command(after_help = REFUND_HELP)]
    Request(Request),
    /// Take a whole payment back before its batch is settled
    #[command(after_help = REFUND_HELP)]
    Void(Whole),
    /// Undo a payment whose outcome is unknown
    #[command(after_help = REFUND_HELP)]
    Reverse(Whole),
    /// Tell how a payment in doubt ended, by the answer to an inquiry
    Resolve(Resolve),
    /// Show where a request stands, or say what became of it
    Status(Status),
    /// List what was asked for: of one payment, or in a range of time
    List(List),
    /// List what waits for an answer or its settlement, and what is overdue
    Due(Due),
}

/// Who asks, and under which rules.
#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// The merchant's own number of this request: it is done once, and a retry keeps it
    #[arg(long, value_name = "NUMBER")]
    pub(crate) number: RefundNumber,
    /// The merchant who asks
    #[arg(long, value_name = "ID")]
    pub(crate) merchant: MerchantId,
    /// The terminal at which it is asked [default: the payment's]
    #[arg(long, value_name = "ID")]
    pub(crate) desk_terminal: Option<TerminalId>,
    /// Who stands behind it
    #[arg(long = "authority", value_name = "WHO", default_value = "clerk")]
    pub(crate) level: Level,
    /// The acquirer's rules
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) policy: Preset,
    /// The merchant's day [default: by the clock]
    #[arg(long, value_name = "DAY", value_parser = date_argument)]
    pub(crate) today: Option<Date>,
    /// The centre's current clearing day [default: the merchant's day]
    #[arg(long, value_name = "DAY", value_parser = date_argument)]
    pub(crate) clearing: Option<Date>,
    /// The payment account reference (EMV tag 9F24) of what is presented
    #[arg(long, requires = "card")]
    pub(crate) par: Option<cardvault::payment::Par>,
}

#[derive(Debug, Args)]
pub(crate) struct Request {
    #[command(flatten)]
    pub(crate) whole: Whole,
    /// How much, such as 12.34 [default: the whole payment]
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    pub(crate) amount: Option<String>,
    /// The amount's currency [default: the payment's]
    #[arg(long, value_name = "CODE", requires = "amount")]
    pub(crate) currency: Option<Currency>,
}

#[derive(Debug, Args)]
pub(crate) struct Whole {
    #[command(flatten)]
    pub(crate) look: LookArgs,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

#[derive(Debug, Args)]
pub(crate) struct Resolve {
    #[command(flatten)]
    pub(crate) look: LookArgs,
    /// The response code that the inquiry found; 00 is approved
    #[arg(long, value_name = "CODE")]
    pub(crate) response: ResponseCode,
    /// The reference number that it found
    #[arg(long, value_name = "NUMBER")]
    pub(crate) found_rrn: Option<Rrn>,
    /// The approval code that it found
    #[arg(long, value_name = "CODE")]
    pub(crate) found_approval: Option<ApprovalCode>,
    /// The clearing day that it found
    #[arg(long, value_name = "DAY", value_parser = date_argument)]
    pub(crate) found_clearing: Option<Date>,
    /// Where that is known from
    #[arg(long, value_name = "WHERE", default_value = "inquiry")]
    pub(crate) source: KnownFrom,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) desk: DeskArgs,
    /// The merchant
    #[arg(long, value_name = "ID")]
    pub(crate) merchant: MerchantId,
    /// The number of the request
    #[arg(long, value_name = "NUMBER")]
    pub(crate) number: RefundNumber,
    /// What became of it
    #[arg(long, value_name = "STATUS")]
    pub(crate) set: Option<NewStatus>,
    /// The centre's reference number of the request
    #[arg(long, value_name = "NUMBER", requires = "set")]
    pub(crate) rrn: Option<Rrn>,
    /// Where that is known from
    #[arg(long, value_name = "WHERE", default_value = "centre")]
    pub(crate) source: KnownFrom,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) look: LookArgs,
    #[command(flatten)]
    pub(crate) range: RangeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Due {
    #[command(flatten)]
    pub(crate) desk: DeskArgs,
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// Overdue ones alone
    #[arg(long)]
    pub(crate) overdue: bool,
    /// Hours from the request to an answer
    #[arg(long, value_name = "HOURS", default_value_t = 48)]
    pub(crate) review_hours: u32,
    /// Hours from the acceptance to the settlement
    #[arg(long, value_name = "HOURS", default_value_t = 72)]
    pub(crate) completion_hours: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Level {
    Clerk,
    Supervisor,
    Host,
}

impl Level {
    pub(crate) const fn authority(self) -> Authority {
        match self {
            Self::Clerk => Authority::Clerk,
            Self::Supervisor => Authority::Supervisor,
            Self::Host => Authority::HostOperator,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Preset {
    Unionpay,
    Qr,
    Default,
}

impl Preset {
    pub(crate) const fn policy(self) -> Policy {
        match self {
            Self::Unionpay => Policy::UNIONPAY_CARD_PRESENT,
            Self::Qr => Policy::QR_WALLET,
            Self::Default => Policy::CONSERVATIVE,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum NewStatus {
    Accepted,
    Settled,
    Failed,
    /// No answer came: in doubt
    NoAnswer,
}

impl NewStatus {
    pub(crate) const fn event(self) -> RefundEvent {
        match self {
            Self::Accepted => RefundEvent::Accepted,
            Self::Settled => RefundEvent::Settled,
            Self::Failed => RefundEvent::Failed,
            Self::NoAnswer => RefundEvent::NoAnswer,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum KnownFrom {
    Desk,
    Centre,
    Inquiry,
    SettlementFile,
    Operator,
}

impl KnownFrom {
    pub(crate) const fn source(self) -> Source {
        match self {
            Self::Desk => Source::Desk,
            Self::Centre => Source::Centre,
            Self::Inquiry => Source::Inquiry,
            Self::SettlementFile => Source::SettlementFile,
            Self::Operator => Source::Operator,
        }
    }
}
