//! Reading an upload at the host: every frame is verified, every card opened, in constant memory.
#![forbid(unsafe_code)]

use core::fmt;

use subtle::ConstantTimeEq;

use super::aead;
use super::error::SetUpError;
use super::frame::{Body, Envelope, FRAME_MAX_LEN, Frame, HEADER_MAX_LEN, Item, Kind};
use super::ratchet::{
    AGGREGATE_LEN, Aggregate, Chain, ChainKey, Identity, JournalId, Receipt, receipt,
};
use crate::card::{CARD_RECORD_LEN, CardRecord};
use crate::keys::JournalReadingKey;
use crate::secret::Secret;

/// How many steps of the chain one reading takes ahead for frames that may be out of place. It
/// bounds the work that a made-up sequence number causes.
pub const STEPS_AHEAD_MAX: u64 = 1 << 20;

const WINDOW_LEN: usize = 8192;
/// So much is in the window, or all that is left: a frame and the one behind it.
const AHEAD: usize = 2 * FRAME_MAX_LEN;

/// Where an upload comes from.
pub trait Source {
    /// What it reports.
    type Error;

    /// Fills the front of `out`, which is not empty, and says how much; 0 at the end.
    ///
    /// # Errors
    /// What the source reports.
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Self::Error>;
}

impl Source for &[u8] {
    type Error = core::convert::Infallible;

    fn read(&mut self, out: &mut [u8]) -> Result<usize, Self::Error> {
        let len = self.len().min(out.len());
        let (now, later) = self.split_at_checked(len).unwrap_or_default();
        if let Some(place) = out.get_mut(..len) {
            place.copy_from_slice(now);
        }
        *self = later;
        Ok(len)
    }
}

/// A source over [`std::io::Read`].
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct FromRead<R>(pub R);

#[cfg(feature = "std")]
impl<R: std::io::Read> Source for FromRead<R> {
    type Error = std::io::Error;

    fn read(&mut self, out: &mut [u8]) -> Result<usize, Self::Error> {
        loop {
            match self.0.read(out) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

/// Length of a [`Position`] in bytes.
pub const POSITION_LEN: usize = 8 + AGGREGATE_LEN;

/// How far the host has verified a journal: what the next upload is held against. Keep the newest
/// one of each journal where only the host can change it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Position {
    count: u64,
    aggregate: [u8; AGGREGATE_LEN],
}

impl Position {
    /// Before the first frame.
    pub const START: Self = Self {
        count: 0,
        aggregate: [0; AGGREGATE_LEN],
    };

    /// How many frames were verified, from 0.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// 8 bytes of count, big-endian, and the aggregate.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; POSITION_LEN] {
        let mut out = [0; POSITION_LEN];
        let (count, aggregate) = out.split_at_mut(8);
        count.copy_from_slice(&self.count.to_be_bytes());
        aggregate.copy_from_slice(&self.aggregate);
        out
    }

    /// A position as it was kept.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; POSITION_LEN]) -> Self {
        let (count, aggregate) = bytes.split_first_chunk().unwrap_or((&[0; 8], &[]));
        Self {
            count: u64::from_be_bytes(*count),
            aggregate: aggregate.try_into().unwrap_or([0; AGGREGATE_LEN]),
        }
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({})", self.count)
    }
}

/// What is wrong with an upload, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// The sequence number that was expected there.
    pub sequence: u64,
    /// Offset in the upload, in bytes.
    pub offset: u64,
}

/// What is wrong with an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// It does not begin with a whole upload header.
    Header,
    /// It is for another terminal, epoch or base key version than the one expected, or a frame of
    /// another journal stands in it.
    OtherJournal,
    /// Terminal, epoch and version are the expected ones but the base key is another.
    WrongKey,
    /// Bytes were changed.
    Flipped,
    /// A genuine frame stands too early; others follow that belong before it.
    Swapped,
    /// Frames are missing before a genuine one.
    Dropped {
        /// How many.
        count: u64,
    },
    /// Bytes or a frame stand where none belong.
    Inserted,
    /// A genuine frame comes again, or later than it belongs; or a trailer of an earlier upload.
    Replayed,
    /// The end is missing: there is no trailer, or it stands for other frames.
    Truncated,
    /// The terminal went on from an older image, or an older upload was sent again: what the host
    /// has verified before is missing or is another.
    RolledBack,
    /// The terminal cannot read frames that it had acknowledged.
    Lost {
        /// How many.
        count: u64,
    },
    /// The frame is genuine but its fields or its card record are not valid.
    Content,
}

impl FaultKind {
    /// The name in records and interfaces, such as `rolled-back`. Never changes.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::OtherJournal => "other-journal",
            Self::WrongKey => "wrong-key",
            Self::Flipped => "flipped",
            Self::Swapped => "swapped",
            Self::Dropped { .. } => "dropped",
            Self::Inserted => "inserted",
            Self::Replayed => "replayed",
            Self::Truncated => "truncated",
            Self::RolledBack => "rolled-back",
            Self::Lost { .. } => "lost",
            Self::Content => "content",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            FaultKind::Header => "no upload header",
            FaultKind::OtherJournal => "of another journal",
            FaultKind::WrongKey => "another base key",
            FaultKind::Flipped => "changed",
            FaultKind::Swapped => "out of order",
            FaultKind::Dropped { .. } => "missing",
            FaultKind::Inserted => "inserted",
            FaultKind::Replayed => "replayed",
            FaultKind::Truncated => "truncated",
            FaultKind::RolledBack => "rolled back",
            FaultKind::Lost { .. } => "lost after it was acknowledged",
            FaultKind::Content => "genuine, with content that is not valid",
        };
        write!(
            f,
            "journal entry {} at byte {}: {what}",
            self.sequence, self.offset
        )?;
        if let FaultKind::Dropped { count } | FaultKind::Lost { count } = self.kind {
            write!(f, " ({count})")?;
        }
        Ok(())
    }
}

impl core::error::Error for Fault {}

/// Why reading stopped. `E` is the source's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError<E> {
    /// The source reported an error.
    Source(E),
    /// The upload has a fault.
    Fault(Fault),
    /// The identity is not valid.
    SetUp(SetUpError),
}

impl<E: fmt::Display> fmt::Display for ReadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(f, "the upload cannot be read: {error}"),
            Self::Fault(fault) => fault.fmt(f),
            Self::SetUp(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for ReadError<E> {}

/// A frame that was verified.
#[derive(Debug)]
pub struct Verified<'a> {
    /// What it says in clear.
    pub frame: Frame<'a>,
    /// The card, if one was sealed in it.
    pub card: Option<CardRecord>,
    /// The host had verified a frame with this number before.
    pub again: bool,
    /// Offset in the upload, in bytes.
    pub offset: u64,
}

/// What an upload came to, once its trailer was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// No fault was found.
    pub clean: bool,
    /// To be kept, once the entries are.
    pub position: Position,
    /// For the terminal, once the entries are kept. After faults it tells the terminal to forget
    /// what could not be read: a person's decision.
    pub receipt: Receipt,
}

/// The identity and the first sequence number that an upload claims, from its first bytes (at
/// most [`HEADER_MAX_LEN`]); to choose the key by. Nothing is verified.
#[must_use]
pub fn upload_identity(bytes: &[u8]) -> Option<(Identity, u64)> {
    Item::split(bytes).and_then(|(item, _)| item.header())
}

/// Reads one upload from front to back. Takes about 9 KiB and allocates nothing.
///
/// Stops at the first fault, unless [`Reading::go_on`] was called.
pub struct Reading<S> {
    input: Input<S>,
    journal: JournalId,
    /// E\[0\].
    root: Chain,
    /// E\[expected\].
    chain: Chain,
    expected: u64,
    /// A\[expected\], unless a fault hides it.
    aggregate: Option<Aggregate>,
    since: Position,
    /// The upload begins with frames that the host had verified before.
    overlaps: bool,
    steps_left: u64,
    /// The fault that was reported last explains missing frames.
    explained: bool,
    goes_on: bool,
    clean: bool,
    stopped: bool,
    outcome: Option<Outcome>,
}

/// What to do with the item at the front.
enum Step {
    /// Hand it out, with its opened text.
    Give(Secret<AGGREGATE_LEN>),
    /// Report, after passing over so many bytes.
    Report(FaultKind, usize),
    /// The end.
    End,
}

impl<S: Source> Reading<S> {
    /// Reads the header of an upload that is expected to be `identity`'s, and holds it against
    /// what was verified before.
    ///
    /// Walks the chain to `since`, which takes about half a microsecond a frame.
    ///
    /// # Errors
    /// [`FaultKind::Header`], [`FaultKind::OtherJournal`], [`FaultKind::WrongKey`], and errors of
    /// the source.
    pub fn new(
        key: &JournalReadingKey,
        identity: &Identity,
        since: &Position,
        source: S,
    ) -> Result<Self, ReadError<S::Error>> {
        let fault = |kind| {
            ReadError::Fault(Fault {
                kind,
                sequence: since.count,
                offset: 0,
            })
        };
        if identity.base_version != key.name().version {
            return Err(fault(FaultKind::WrongKey));
        }
        let chain_key = ChainKey::for_reading(key, *identity).map_err(ReadError::SetUp)?;
        let journal = chain_key.journal_id();
        let mut input = Input::new(source);
        input.fill().map_err(ReadError::Source)?;
        let (item, _) = Item::split(input.window()).ok_or(fault(FaultKind::Header))?;
        let (claimed, first) = item.header().ok_or(fault(FaultKind::Header))?;
        if claimed != *identity {
            return Err(fault(FaultKind::OtherJournal));
        }
        if item.journal != journal {
            return Err(fault(FaultKind::WrongKey));
        }
        let len = item.bytes.len();
        input.consume(len);
        // A header that begins behind what is known must be right about it.
        let follows = Item::split(input.window()).and_then(|(item, _)| number(&item));
        if first > since.count && follows.is_some_and(|number| number != first) {
            return Err(fault(FaultKind::Header));
        }

        let (root, start) = chain_key.begin();
        let mut chain = root.copy();
        // A later beginning is a gap, and is reported as one.
        let expected = first.min(since.count);
        for _ in 0..expected {
            chain.advance();
        }
        let aggregate = if expected == 0 {
            Some(start)
        } else if expected == since.count {
            Some(Aggregate(Secret::new(since.aggregate)))
        } else {
            None
        };
        Ok(Self {
            input,
            journal,
            root,
            chain,
            expected,
            aggregate,
            since: *since,
            overlaps: expected < since.count,
            steps_left: STEPS_AHEAD_MAX,
            explained: false,
            goes_on: false,
            clean: true,
            stopped: false,
            outcome: None,
        })
    }

    /// Go on behind faults: each is reported, and reading continues with the next genuine frame.
    pub const fn go_on(&mut self) {
        self.goes_on = true;
    }

    /// The next frame or fault; `None` at the end.
    #[expect(
        clippy::should_implement_trait,
        reason = "what it gives borrows from the reading"
    )]
    pub fn next(&mut self) -> Option<Result<Verified<'_>, ReadError<S::Error>>> {
        if self.stopped {
            return None;
        }
        if let Err(error) = self.input.fill() {
            return Some(Err(ReadError::Source(error)));
        }
        let offset = self.input.offset();
        let sequence = self.expected;
        let text = match self.step() {
            Ok(Step::Give(text)) => text,
            Ok(Step::End) => {
                self.stopped = true;
                return None;
            }
            Ok(Step::Report(kind, len)) => {
                self.input.consume(len);
                self.clean = false;
                self.stopped |= !self.goes_on;
                let fault = Fault {
                    kind,
                    sequence,
                    offset,
                };
                return Some(Err(ReadError::Fault(fault)));
            }
            Err(error) => return Some(Err(ReadError::Source(error))),
        };
        self.give(&text, sequence, offset)
    }

    /// What the upload came to; `None` before its trailer was read, or if it has none.
    #[must_use]
    pub const fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    fn give(
        &mut self,
        text: &Secret<AGGREGATE_LEN>,
        sequence: u64,
        offset: u64,
    ) -> Option<Result<Verified<'_>, ReadError<S::Error>>> {
        let again = sequence < self.since.count;
        let bytes = self.input.take_frame();
        let content = Item::trusted(bytes)
            .and_then(|item| Frame::of(&item).ok())
            .and_then(|frame| Some((frame, card_in(&frame, text)?)));
        let Some((frame, card)) = content else {
            self.clean = false;
            self.stopped |= !self.goes_on;
            return Some(Err(ReadError::Fault(Fault {
                kind: FaultKind::Content,
                sequence,
                offset,
            })));
        };
        Some(Ok(Verified {
            frame,
            card,
            again,
            offset,
        }))
    }

    /// Judges the item at the front of the window.
    fn step(&mut self) -> Result<Step, S::Error> {
        let Some((item, rest)) = Item::split(self.input.window()) else {
            return self.damaged();
        };
        let len = item.bytes.len();
        if item.journal != self.journal {
            return Ok(Step::Report(FaultKind::OtherJournal, len));
        }
        if let Some((first, count)) = item.gap() {
            return Ok(self.gap(first, count, len));
        }
        if let Some((count, aggregate)) = item.trailer() {
            return self.trailer(count, &aggregate, len);
        }
        let Some(frame) = Envelope::of(&item) else {
            let inserted = item.kind == Kind::Header || item.kind.is_local();
            let kind = if inserted {
                FaultKind::Inserted
            } else {
                FaultKind::Flipped
            };
            return Ok(Step::Report(kind, len));
        };
        let next = || Item::split(rest).and_then(|(item, _)| number(&item));
        if frame.sequence == self.expected {
            let step = self.chain.prepare();
            if let Some(text) = open(&step.entry_key(), &frame) {
                let anchored = self
                    .aggregate
                    .as_mut()
                    .is_none_or(|aggregate| agrees(&frame, aggregate, &text));
                if !anchored {
                    self.aggregate = None;
                    return Ok(Step::Report(self.other_history(), 0));
                }
                if self.aggregate.is_none() && frame.is_notice {
                    self.aggregate = Some(Aggregate(Secret::new(*text.expose())));
                }
                if let Some(aggregate) = &mut self.aggregate {
                    step.aggregate(aggregate, &frame.tag);
                }
                step.next(&mut self.chain);
                self.expected = self.expected.saturating_add(1);
                self.explained = false;
                if self.expected == self.since.count && !self.meets_since() {
                    // Reported once; the frame itself is genuine but not the known one.
                    self.aggregate = None;
                    return Ok(Step::Report(FaultKind::RolledBack, len));
                }
                return Ok(Step::Give(text));
            }
            if next() == Some(self.expected) {
                return Ok(Step::Report(FaultKind::Inserted, len));
            }
            self.pass_over(1);
            return Ok(Step::Report(FaultKind::Flipped, len));
        }
        let from = if frame.sequence > self.expected {
            (&self.chain, self.expected)
        } else {
            (&self.root, 0)
        };
        let (sequence, next) = (frame.sequence, next());
        let genuine = reach(from, &frame, &mut self.steps_left);
        self.out_of_place(sequence, genuine, next, len)
    }

    /// A frame with another number than the expected one; `genuine` is the chain that opens it.
    fn out_of_place(
        &mut self,
        sequence: u64,
        genuine: Option<Chain>,
        next: Option<u64>,
        len: usize,
    ) -> Result<Step, S::Error> {
        let Some(chain) = genuine else {
            if next == Some(self.expected) {
                return Ok(Step::Report(FaultKind::Inserted, len));
            }
            self.explained = true;
            self.aggregate = None;
            return Ok(Step::Report(FaultKind::Flipped, len));
        };
        if sequence < self.expected {
            return Ok(Step::Report(FaultKind::Replayed, len));
        }
        let in_order = next.is_none_or(|next| next > sequence);
        if !in_order && !self.explained {
            return Ok(Step::Report(FaultKind::Swapped, len));
        }
        let count = sequence - self.expected;
        self.chain = chain;
        self.expected = sequence;
        self.aggregate = None;
        if self.explained {
            // What is missing was reported; the frame in front is the expected one now.
            self.explained = false;
            return self.step();
        }
        Ok(Step::Report(FaultKind::Dropped { count }, 0))
    }

    fn gap(&mut self, first: u64, count: u64, len: usize) -> Step {
        if first != self.expected || count == 0 || count > self.steps_left {
            return Step::Report(FaultKind::Inserted, len);
        }
        self.steps_left -= count;
        self.pass_over(count);
        Step::Report(FaultKind::Lost { count }, len)
    }

    fn trailer(
        &mut self,
        count: u64,
        claimed: &[u8; AGGREGATE_LEN],
        len: usize,
    ) -> Result<Step, S::Error> {
        if self.outcome.is_some() {
            return Ok(Step::Report(FaultKind::Inserted, len));
        }
        if count < self.since.count {
            return Ok(Step::Report(FaultKind::RolledBack, len));
        }
        if count < self.expected {
            return Ok(Step::Report(FaultKind::Replayed, len));
        }
        if count > self.expected {
            let missing = count - self.expected;
            if !self.explained || missing > self.steps_left {
                return Ok(Step::Report(FaultKind::Truncated, len));
            }
            self.steps_left -= missing;
            self.pass_over(missing);
        }
        let claimed = Aggregate(Secret::new(*claimed));
        let fits = self
            .aggregate
            .as_ref()
            .is_none_or(|own| bool::from(own.ct_eq(&claimed)));
        if !fits {
            return Ok(Step::Report(self.other_history(), len));
        }
        // A fault was reported wherever the aggregate is not known; not so for known frames.
        let unknown = self.aggregate.is_none();
        self.input.consume(len);
        self.outcome = Some(Outcome {
            clean: self.clean && !unknown,
            position: Position {
                count,
                aggregate: *claimed.0.expose(),
            },
            receipt: receipt(&self.chain, count, &claimed),
        });
        self.input.fill()?;
        if self.input.window().is_empty() {
            return Ok(Step::End);
        }
        if let Some(outcome) = &mut self.outcome {
            outcome.clean = false;
        }
        let rest = self.input.drain()?;
        Ok(Step::Report(FaultKind::Inserted, rest))
    }

    /// What stands at the front is no item: passes over it to the next one.
    fn damaged(&mut self) -> Result<Step, S::Error> {
        loop {
            self.input.fill()?;
            let window = self.input.window();
            if window.is_empty() {
                self.stopped = true;
                if self.outcome.is_some() {
                    return Ok(Step::End);
                }
                return Ok(Step::Report(FaultKind::Truncated, 0));
            }
            if let Some((item, _)) = Item::split(window)
                && item.journal == self.journal
                && !item.kind.is_local()
            {
                if number(&item) == Some(self.expected) {
                    return Ok(Step::Report(FaultKind::Inserted, 0));
                }
                self.explained = true;
                self.aggregate = None;
                return Ok(Step::Report(FaultKind::Flipped, 0));
            }
            self.input.consume(1);
        }
    }

    /// Steps over frames that cannot be read.
    fn pass_over(&mut self, count: u64) {
        for _ in 0..count {
            self.chain.advance();
        }
        self.expected = self.expected.saturating_add(count);
        self.aggregate = None;
    }

    /// Whether the frames so far are the ones that were verified before.
    fn meets_since(&mut self) -> bool {
        let known = Aggregate(Secret::new(self.since.aggregate));
        match &self.aggregate {
            Some(own) => bool::from(own.ct_eq(&known)),
            None => {
                if self.overlaps {
                    self.aggregate = Some(known);
                }
                true
            }
        }
    }

    /// Every frame is genuine, but not all of them belong to this end.
    const fn other_history(&self) -> FaultKind {
        if self.overlaps {
            FaultKind::RolledBack
        } else {
            FaultKind::Truncated
        }
    }
}

impl<S> fmt::Debug for Reading<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("journal", &self.journal)
            .field("expected", &self.expected)
            .field("clean", &self.clean)
            .finish_non_exhaustive()
    }
}

/// The chain at the frame's number, if the frame opens there.
fn reach((chain, at): (&Chain, u64), frame: &Envelope<'_>, steps_left: &mut u64) -> Option<Chain> {
    let steps = frame.sequence.checked_sub(at)?;
    *steps_left = steps_left.checked_sub(steps)?;
    let mut chain = chain.copy();
    for _ in 0..steps {
        chain.advance();
    }
    open(&chain.prepare().entry_key(), frame)?;
    // Only steps that led nowhere count.
    *steps_left += steps;
    Some(chain)
}

/// Opens the sealed part; the front of what it gives is the text.
fn open(key: &Secret<32>, frame: &Envelope<'_>) -> Option<Secret<AGGREGATE_LEN>> {
    let mut text = Secret::zeroed();
    let part = text.expose_mut().get_mut(..frame.sealed.len())?;
    part.copy_from_slice(frame.sealed);
    aead::open(key, &frame.nonce, frame.aad, part, &frame.tag).ok()?;
    Some(text)
}

/// Whether a notice's aggregate is the one that was computed. Payments hold none.
fn agrees(frame: &Envelope<'_>, aggregate: &Aggregate, text: &Secret<AGGREGATE_LEN>) -> bool {
    !frame.is_notice || bool::from(aggregate.0.ct_eq(text))
}

/// The card of a genuine frame; the outer `None` if it is not valid.
fn card_in(frame: &Frame<'_>, text: &Secret<AGGREGATE_LEN>) -> Option<Option<CardRecord>> {
    match &frame.body {
        Body::Payment(part) if part.has_card => {
            let mut record = Secret::<CARD_RECORD_LEN>::zeroed();
            for (to, from) in record.expose_mut().iter_mut().zip(text.expose()) {
                *to = *from;
            }
            CardRecord::from_bytes(&record).ok().map(Some)
        }
        _ => Some(None),
    }
}

/// The sequence number by which an item's place is judged.
fn number(item: &Item<'_>) -> Option<u64> {
    if let Some((count, _)) = item.trailer() {
        return Some(count);
    }
    if let Some((first, _)) = item.gap() {
        return Some(first);
    }
    Envelope::of(item).map(|frame| frame.sequence)
}

/// A window over the source.
struct Input<S> {
    source: S,
    bytes: [u8; WINDOW_LEN],
    from: usize,
    to: usize,
    /// Offset in the upload of the window's front.
    offset: u64,
    ended: bool,
}

impl<S: Source> Input<S> {
    const fn new(source: S) -> Self {
        Self {
            source,
            bytes: [0; WINDOW_LEN],
            from: 0,
            to: 0,
            offset: 0,
            ended: false,
        }
    }

    #[inline]
    fn window(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }

    const fn offset(&self) -> u64 {
        self.offset
    }

    fn consume(&mut self, len: usize) {
        let len = len.min(self.to - self.from);
        self.from += len;
        self.offset += len as u64;
    }

    /// The frame at the front, which is passed over.
    fn take_frame(&mut self) -> &[u8] {
        let from = self.from;
        let len = super::frame::look(self.window()).map_or(0, |(_, len)| len);
        self.consume(len);
        self.bytes.get(from..self.from).unwrap_or_default()
    }

    /// Reads until the window holds enough to judge a frame, or the source ends.
    #[inline]
    fn fill(&mut self) -> Result<(), S::Error> {
        if self.to - self.from >= AHEAD || self.ended {
            return Ok(());
        }
        self.bytes.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        while self.to < WINDOW_LEN {
            let place = self.bytes.get_mut(self.to..).unwrap_or_default();
            let room = place.len();
            let len = self.source.read(place)?.min(room);
            if len == 0 {
                self.ended = true;
                break;
            }
            self.to += len;
        }
        Ok(())
    }

    /// Passes over everything that is left but the last window, and gives its length.
    fn drain(&mut self) -> Result<usize, S::Error> {
        loop {
            self.fill()?;
            let len = self.window().len();
            if self.ended {
                return Ok(len);
            }
            self.consume(len);
        }
    }
}

const _: () = assert!(HEADER_MAX_LEN <= AHEAD && AHEAD < WINDOW_LEN);
