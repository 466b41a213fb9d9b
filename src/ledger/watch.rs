//! Watch: a streaming look at payments, per token and per terminal, for patterns that a person
//! should see. It knows no card number, decides nothing and keeps a bounded memory.
//!
//! The thresholds of [`Limits::DEFAULT`] are choices of ours, to be set by what is usual at a
//! merchant.
#![forbid(unsafe_code)]

use core::fmt;
use core::hash::Hash;
use std::collections::{BTreeSet, HashMap, VecDeque};

use super::record::{Payment, PaymentId};
use crate::payment::{Amount, PaymentKind, TerminalId};
use crate::time::UnixSeconds;
use crate::token::Token;

/// The most tokens that are remembered at once; the one not seen for the longest is forgotten.
pub const MAX_TOKENS: usize = 100_000;
/// The most terminals that are remembered at once.
pub const MAX_TERMINALS: usize = 100_000;
/// The largest count of a threshold: as many times are remembered of each token and terminal.
pub const MAX_COUNT: u16 = 1_000;

/// From when on something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A payment of at most this many minor units is small, in whatever currency.
    pub small_minor: u64,
    /// So many small payments with one token within [`Limits::small_seconds`] are frequent.
    pub small_of_token: u16,
    /// So many small payments at one terminal within [`Limits::small_seconds`] are frequent.
    pub small_of_terminal: u16,
    /// The time in which small payments are counted, in seconds.
    pub small_seconds: u64,
    /// So many refunds to one token within [`Limits::refund_seconds`] are repeated.
    pub refunds_of_token: u16,
    /// So many refunds at one terminal within [`Limits::refund_seconds`] are repeated.
    pub refunds_of_terminal: u16,
    /// The time in which refunds are counted, in seconds.
    pub refund_seconds: u64,
    /// The first usual hour of the merchant's day, 0 to 23.
    pub opens: u8,
    /// The first hour that is not usual any more, 1 to 24; before `opens` it is on the next day.
    pub closes: u8,
    /// How many minutes the merchant's clock is ahead of UTC.
    pub offset_minutes: i16,
}

impl Limits {
    /// Small up to 10.00: 5 of one token or 30 at one terminal in 10 minutes. 3 refunds to one
    /// token or 20 at one terminal in a day. Usual from 6 to 24 o'clock, in China.
    pub const DEFAULT: Self = Self {
        small_minor: 1_000,
        small_of_token: 5,
        small_of_terminal: 30,
        small_seconds: 600,
        refunds_of_token: 3,
        refunds_of_terminal: 20,
        refund_seconds: 86_400,
        opens: 6,
        closes: 24,
        offset_minutes: 480,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What is looked at of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it was made.
    pub time: UnixSeconds,
    /// What it is.
    pub kind: PaymentKind,
    /// How much.
    pub amount: Amount,
    /// At which terminal.
    pub terminal: TerminalId,
    /// With which card.
    pub token: Option<Token>,
    /// Its epoch and sequence number in the terminal's journal.
    pub sequence: Option<(u32, u64)>,
}

impl From<&Payment> for Seen {
    fn from(payment: &Payment) -> Self {
        Self {
            time: payment.time,
            kind: payment.fields.kind,
            amount: payment.fields.amount,
            terminal: payment.fields.terminal,
            token: payment.token,
            sequence: match payment.id {
                PaymentId::Journal {
                    epoch, sequence, ..
                } => Some((epoch, sequence)),
                PaymentId::Host(_) => None,
            },
        }
    }
}

/// Something that a person should see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The payment with which it was noticed.
    pub time: UnixSeconds,
    /// Of whom.
    pub subject: Subject,
    /// What.
    pub pattern: Pattern,
}

/// Of whom an alert speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A card, by its token.
    Token(Token),
    /// A terminal.
    Terminal(TerminalId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(token) => write!(f, "token {token}"),
            Self::Terminal(terminal) => write!(f, "terminal {terminal}"),
        }
    }
}

/// What was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pattern {
    /// So many small payments in the time of the limits. Counting then begins anew.
    SmallPayments {
        /// How many.
        count: u16,
    },
    /// So many refunds in the time of the limits. Counting then begins anew.
    Refunds {
        /// How many.
        count: u16,
    },
    /// A payment outside the usual hours.
    UnusualHour {
        /// The hour of the merchant's day, 0 to 23.
        hour: u8,
    },
    /// Entries of the terminal's journal are missing, or came in another order.
    SequenceGap {
        /// The sequence number that was to come.
        expected: u64,
        /// The one that came.
        found: u64,
    },
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SmallPayments { count } => write!(f, "{count} small payments in a short time"),
            Self::Refunds { count } => write!(f, "{count} refunds in a short time"),
            Self::UnusualHour { hour } => write!(f, "a payment in the hour from {hour} o'clock"),
            Self::SequenceGap { expected, found } => {
                write!(f, "entry {found} came where {expected} was to come")
            }
        }
    }
}

/// Looks at payments one after the other, in the order in which they were made.
#[derive(Debug)]
pub struct Watch {
    limits: Limits,
    tokens: Bounded<Token>,
    terminals: Bounded<TerminalId>,
}

impl Watch {
    /// A watch that has seen nothing. Counts above [`MAX_COUNT`] are taken for that, and a count
    /// of zero for one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            tokens: Bounded::new(MAX_TOKENS),
            terminals: Bounded::new(MAX_TERMINALS),
        }
    }

    /// Looks at one more payment.
    pub fn observe(&mut self, seen: &Seen) -> Vec<Alert> {
        let limits = self.limits;
        let mut alerts = Vec::new();
        let mut tell = |subject, pattern| {
            alerts.push(Alert {
                time: seen.time,
                subject,
                pattern,
            });
        };
        if let Some(token) = seen.token {
            let track = self.tokens.track(token, seen.time);
            let counts = (limits.small_of_token, limits.refunds_of_token);
            track.count(seen, &limits, counts, |pattern| {
                tell(Subject::Token(token), pattern);
            });
        }
        let terminal = seen.terminal;
        let track = self.terminals.track(terminal, seen.time);
        let counts = (limits.small_of_terminal, limits.refunds_of_terminal);
        track.count(seen, &limits, counts, |pattern| {
            tell(Subject::Terminal(terminal), pattern);
        });
        if let Some(pattern) = track.follow(seen.sequence) {
            tell(Subject::Terminal(terminal), pattern);
        }
        if let Some(hour) = unusual_hour(&limits, seen.time) {
            tell(Subject::Terminal(terminal), Pattern::UnusualHour { hour });
        }
        alerts
    }

    /// Takes note of an entry of a terminal's journal that is no payment: a notice. It takes up a
    /// sequence number, which would else be missed. Given in its place among the payments.
    pub fn notice(
        &mut self,
        terminal: TerminalId,
        epoch: u32,
        sequence: u64,
        time: UnixSeconds,
    ) -> Option<Alert> {
        let track = self.terminals.track(terminal, time);
        track.follow(Some((epoch, sequence))).map(|pattern| Alert {
            time,
            subject: Subject::Terminal(terminal),
            pattern,
        })
    }
}

/// What is remembered of a token or a terminal.
#[derive(Debug, Default)]
struct Track {
    small: VecDeque<UnixSeconds>,
    refunds: VecDeque<UnixSeconds>,
    last: Option<(u32, u64)>,
    newest: UnixSeconds,
}

impl Track {
    fn count(
        &mut self,
        seen: &Seen,
        limits: &Limits,
        (small, refunds): (u16, u16),
        mut tell: impl FnMut(Pattern),
    ) {
        if seen.kind.is_refund() {
            if let Some(count) =
                reached(&mut self.refunds, seen.time, limits.refund_seconds, refunds)
            {
                tell(Pattern::Refunds { count });
            }
        } else if seen.kind.refund().is_some()
            && seen.amount.minor() <= limits.small_minor
            && let Some(count) = reached(&mut self.small, seen.time, limits.small_seconds, small)
        {
            tell(Pattern::SmallPayments { count });
        }
    }

    /// Sequences begin anew with an epoch, at whatever number.
    fn follow(&mut self, sequence: Option<(u32, u64)>) -> Option<Pattern> {
        let (epoch, found) = sequence?;
        let last = self.last.replace((epoch, found));
        let expected = match last {
            Some((before, last)) if before == epoch => last.saturating_add(1),
            _ => return None,
        };
        (found != expected).then_some(Pattern::SequenceGap { expected, found })
    }
}

/// Remembers one more time; the count if so many lie within `seconds`, and begins anew.
fn reached(
    times: &mut VecDeque<UnixSeconds>,
    now: UnixSeconds,
    seconds: u64,
    count: u16,
) -> Option<u16> {
    let count = count.clamp(1, MAX_COUNT);
    times.push_back(now);
    while let Some(first) = times.front()
        && (now.0.saturating_sub(first.0) > seconds || times.len() > usize::from(count))
    {
        times.pop_front();
    }
    if times.len() < usize::from(count) {
        return None;
    }
    times.clear();
    Some(count)
}

fn unusual_hour(limits: &Limits, time: UnixSeconds) -> Option<u8> {
    let offset = i64::from(limits.offset_minutes) * 60;
    let local = time.0.saturating_add_signed(offset);
    let hour = u8::try_from(local / 3_600 % 24).unwrap_or(0);
    let usual = if limits.opens < limits.closes {
        (limits.opens..limits.closes).contains(&hour)
    } else {
        hour >= limits.opens || hour < limits.closes
    };
    (!usual).then_some(hour)
}

/// As many tracks as are allowed; the one that was not seen for the longest goes first.
#[derive(Debug)]
struct Bounded<K> {
    most: usize,
    tracks: HashMap<K, Track>,
    ages: BTreeSet<(UnixSeconds, K)>,
}

impl<K: Copy + Ord + Hash> Bounded<K> {
    fn new(most: usize) -> Self {
        Self {
            most,
            tracks: HashMap::new(),
            ages: BTreeSet::new(),
        }
    }

    fn track(&mut self, key: K, now: UnixSeconds) -> &mut Track {
        if let Some(track) = self.tracks.get(&key) {
            self.ages.remove(&(track.newest, key));
        } else if self.tracks.len() >= self.most
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.tracks.remove(&oldest);
        }
        self.ages.insert((now, key));
        let track = self.tracks.entry(key).or_default();
        track.newest = now;
        track
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Currency;

    /// Noon in China on some day.
    const NOON: u64 = 1_800_000_000 / 86_400 * 86_400 + 4 * 3_600;

    fn token(n: u8) -> Token {
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([n; 32]);
        Token::opaque(&mut rng).unwrap()
    }
    use rand_chacha::rand_core::SeedableRng;

    fn seen(second: u64, kind: PaymentKind, minor: u64) -> Seen {
        Seen {
            time: UnixSeconds(NOON + second),
            kind,
            amount: Amount::new(minor, Currency::CNY).unwrap(),
            terminal: TerminalId::parse(b"T1").unwrap(),
            token: Some(token(1)),
            sequence: None,
        }
    }

    fn patterns(alerts: &[Alert]) -> Vec<Pattern> {
        alerts.iter().map(|alert| alert.pattern).collect()
    }

    #[test]
    fn small_payments_are_told_when_the_count_is_reached() {
        let mut watch = Watch::new(Limits::DEFAULT);
        for n in 0..4 {
            assert_eq!(watch.observe(&seen(n, PaymentKind::Sale, 1000)), []);
        }
        // Not small, another kind, another card.
        assert_eq!(watch.observe(&seen(5, PaymentKind::Sale, 1001)), []);
        assert_eq!(
            watch.observe(&seen(6, PaymentKind::PreAuthorization, 1)),
            []
        );
        let mut other = seen(7, PaymentKind::Sale, 1);
        other.token = Some(token(2));
        assert_eq!(watch.observe(&other), []);
        let alerts = watch.observe(&seen(8, PaymentKind::QrPayment, 1));
        assert_eq!(patterns(&alerts), [Pattern::SmallPayments { count: 5 }]);
        assert_eq!(alerts[0].subject, Subject::Token(token(1)));
        assert_eq!(watch.observe(&seen(9, PaymentKind::Sale, 1)), []);
    }

    #[test]
    fn what_lies_further_back_does_not_count() {
        let mut watch = Watch::new(Limits::DEFAULT);
        // Every 151 seconds: never five within 600.
        for n in 0..40 {
            assert_eq!(watch.observe(&seen(151 * n, PaymentKind::Sale, 1)), []);
        }
        let mut watch = Watch::new(Limits::DEFAULT);
        let told: Vec<_> = (0..5)
            .map(|n| watch.observe(&seen(150 * n, PaymentKind::Sale, 1)).len())
            .collect();
        assert_eq!(told, [0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_terminal_is_watched_over_all_cards() {
        let mut watch = Watch::new(Limits::DEFAULT);
        let told: Vec<_> = (0..20)
            .map(|n| {
                let mut seen = seen(u64::from(n), PaymentKind::Refund, 5_000);
                seen.token = Some(token(n));
                patterns(&watch.observe(&seen))
            })
            .collect();
        assert!(told[..19].iter().all(Vec::is_empty));
        assert_eq!(told[19], [Pattern::Refunds { count: 20 }]);
    }

    #[test]
    fn hours_wrap_around_midnight() {
        let at = |hour: u64| UnixSeconds(NOON - 12 * 3_600 + hour * 3_600 + 3_599);
        let day = |limits: Limits| -> Vec<u64> {
            (0..24)
                .filter(|h| unusual_hour(&limits, at(*h)).is_some())
                .collect()
        };
        assert_eq!(day(Limits::DEFAULT), (0..6).collect::<Vec<_>>());
        let night = Limits {
            opens: 18,
            closes: 4,
            ..Limits::DEFAULT
        };
        assert_eq!(day(night), (4..18).collect::<Vec<_>>());
        let alerts = Watch::new(night).observe(&seen(0, PaymentKind::Sale, 5_000));
        assert_eq!(patterns(&alerts), [Pattern::UnusualHour { hour: 12 }]);
    }

    #[test]
    fn gaps_and_repetitions_are_told() {
        let mut watch = Watch::new(Limits::DEFAULT);
        let mut told = Vec::new();
        let entries = [
            (1, 5),
            (1, 6),
            (1, 8),
            (1, 8),
            (1, 9),
            (2, 1),
            (2, 2),
            (2, u64::MAX),
        ];
        for (n, sequence) in entries.into_iter().enumerate() {
            let mut seen = seen(n as u64, PaymentKind::Sale, 5_000);
            seen.sequence = Some(sequence);
            told.extend(patterns(&watch.observe(&seen)));
        }
        let gap = |expected, found| Pattern::SequenceGap { expected, found };
        assert_eq!(told, [gap(7, 8), gap(9, 8), gap(3, u64::MAX)]);
    }

    #[test]
    fn a_notice_takes_up_its_number() {
        let payment = |sequence| Seen {
            sequence: Some((1, sequence)),
            ..seen(sequence, PaymentKind::Sale, 5_000)
        };
        let subject = TerminalId::parse(b"T1").unwrap();
        let mut watch = Watch::new(Limits::DEFAULT);
        assert_eq!(watch.observe(&payment(0)), []);
        assert_eq!(watch.notice(subject, 1, 1, UnixSeconds(NOON + 1)), None);
        assert_eq!(watch.observe(&payment(2)), []);
        let alert = watch.notice(subject, 1, 4, UnixSeconds(NOON + 4)).unwrap();
        assert_eq!(alert.subject.to_string(), "terminal T1");
        let gap = Pattern::SequenceGap {
            expected: 3,
            found: 4,
        };
        assert_eq!(alert.pattern, gap);
        assert_eq!(watch.observe(&payment(5)), []);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes() {
        let mut bounded = Bounded::new(3);
        for n in 0..1_000_u64 {
            let track = bounded.track(n % 7, UnixSeconds(n));
            track.last = Some((0, n));
            assert!(bounded.tracks.len() <= 3 && bounded.ages.len() <= 3);
        }
        assert!(
            [3, 4, 5].iter().all(|n| bounded.tracks.contains_key(n)),
            "{bounded:?}"
        );
        // A clock that goes back confuses nothing.
        for n in 0..100_u64 {
            bounded.track(n % 4, UnixSeconds(100 - n));
            assert_eq!(bounded.tracks.len(), bounded.ages.len());
        }
        let mut times = VecDeque::new();
        for n in 0..10_000 {
            reached(&mut times, UnixSeconds(n), u64::MAX, u16::MAX);
            assert!(times.len() <= usize::from(MAX_COUNT));
        }
    }
}
