//! Accesses as they stand in a frame, and as they are read again.
#![forbid(unsafe_code)]

use core::fmt;

use super::frame::MAX_BODY;
use crate::codec::{CodecError, Reader};
use crate::keys::Domain;
use crate::time::UnixSeconds;
use crate::token::Token;
use crate::vault::{ACCESS_TEXT_MAX, AccessEvent};

/// Operation, actor, purpose, origin and domain are those of the event before.
const AS_BEFORE: u8 = 1;
const GRANTED: u8 = 2;

/// One access, read from a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// When.
    pub time: UnixSeconds,
    /// What was asked: the name of a [`crate::vault::Operation`].
    pub operation: String,
    /// Whether it was granted.
    pub granted: bool,
    /// Who.
    pub actor: String,
    /// For what.
    pub purpose: String,
    /// From where.
    pub origin: String,
    /// In which domain; none: in all of them.
    pub domain: Option<Domain>,
    /// The token that was named or found.
    pub token: Option<Token>,
    /// The key version that was named.
    pub key: Option<String>,
    /// Why the policy refused it.
    pub refusal: Option<String>,
}

impl fmt::Display for LoggedEvent {
    /// One line of `name=value` pairs, as [`AccessEvent`] writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.granted { "granted" } else { "refused" };
        write!(
            f,
            "time={} operation={} outcome={outcome} actor={:?} purpose={:?} origin={:?}",
            self.time.0, self.operation, self.actor, self.purpose, self.origin
        )?;
        match self.domain {
            Some(domain) => write!(f, " domain={:?}", domain.to_string())?,
            None => f.write_str(" domain=*")?,
        }
        if let Some(token) = self.token {
            write!(f, " token={token}")?;
        }
        if let Some(key) = &self.key {
            write!(f, " key={key}")?;
        }
        match &self.refusal {
            Some(refusal) => write!(f, " refusal={refusal}"),
            None => Ok(()),
        }
    }
}

/// The bodies of the frames that hold these events, in their order: one, unless they are too many.
pub(super) fn bodies(events: &[AccessEvent<'_>]) -> Vec<Vec<u8>> {
    let mut bodies = Vec::with_capacity(1);
    let mut body = Vec::new();
    let mut before: Option<&AccessEvent<'_>> = None;
    for event in events {
        let start = body.len();
        put(&mut body, event, before);
        if body.len() > MAX_BODY {
            body.truncate(start);
            bodies.push(core::mem::take(&mut body));
            put(&mut body, event, None);
        }
        before = Some(event);
    }
    if !body.is_empty() {
        bodies.push(body);
    }
    bodies
}

fn put(out: &mut Vec<u8>, event: &AccessEvent<'_>, before: Option<&AccessEvent<'_>>) {
    let same = before.is_some_and(|before| {
        before.operation == event.operation
            && before.access == event.access
            && before.domain == event.domain
    });
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.push(flag(same, AS_BEFORE) | flag(event.granted, GRANTED));
    out.extend_from_slice(&event.time.0.to_be_bytes());
    if !same {
        put_part(out, event.operation.as_str().as_bytes());
        put_part(out, event.access.actor().as_bytes());
        put_part(out, event.access.purpose().as_bytes());
        put_part(out, event.access.origin().as_bytes());
        put_part(out, event.domain.map_or(&[][..], Domain::as_bytes));
    }
    put_part(out, event.token.as_ref().map_or(&[][..], Token::as_bytes));
    let key = event.key.map(|key| key.to_string());
    put_part(out, key.unwrap_or_default().as_bytes());
    let refusal = event.refusal.map_or("", |refusal| refusal.as_str());
    put_part(out, refusal.as_bytes());
}

/// A part behind its length in one byte; all of them are shorter than 256 bytes.
fn put_part(out: &mut Vec<u8>, part: &[u8]) {
    let len = u8::try_from(part.len()).unwrap_or(u8::MAX);
    out.push(len);
    out.extend_from_slice(part.get(..usize::from(len)).unwrap_or_default());
}

/// Hands each event of a body to `sink`.
pub(super) fn read_body(body: &[u8], sink: &mut dyn FnMut(LoggedEvent)) -> Result<(), CodecError> {
    let mut reader = Reader::new(body);
    let mut before: Option<LoggedEvent> = None;
    if body.is_empty() {
        return Err(CodecError::Truncated { at: 0 });
    }
    while reader.at() < body.len() {
        let event = read_event(&mut reader, before.as_ref())?;
        sink(event.clone());
        before = Some(event);
    }
    reader.finish()
}

fn read_event(
    reader: &mut Reader<'_>,
    before: Option<&LoggedEvent>,
) -> Result<LoggedEvent, CodecError> {
    let at = reader.at();
    let invalid = CodecError::Invalid { at };
    let flags = reader.u8()?;
    if flags & !(AS_BEFORE | GRANTED) != 0 {
        return Err(invalid);
    }
    let time = UnixSeconds(reader.u64()?);
    let mut event = LoggedEvent {
        time,
        granted: flags & GRANTED != 0,
        operation: String::new(),
        actor: String::new(),
        purpose: String::new(),
        origin: String::new(),
        domain: None,
        token: None,
        key: None,
        refusal: None,
    };
    if flags & AS_BEFORE != 0 {
        let before = before.ok_or(invalid)?;
        event.operation.clone_from(&before.operation);
        event.actor.clone_from(&before.actor);
        event.purpose.clone_from(&before.purpose);
        event.origin.clone_from(&before.origin);
        event.domain = before.domain;
    } else {
        event.operation = text(reader)?.ok_or(invalid)?;
        event.actor = text(reader)?.ok_or(invalid)?;
        event.purpose = text(reader)?.ok_or(invalid)?;
        event.origin = text(reader)?.ok_or(invalid)?;
        event.domain = match part(reader)? {
            [] => None,
            name => Some(Domain::new(name).map_err(|_| invalid)?),
        };
        let same = before.is_some_and(|before| {
            before.operation == event.operation
                && before.actor == event.actor
                && before.purpose == event.purpose
                && before.origin == event.origin
                && before.domain == event.domain
        });
        if same {
            return Err(invalid);
        }
    }
    event.token = match part(reader)? {
        [] => None,
        bytes => Some(Token::from_bytes(bytes).map_err(|_| invalid)?),
    };
    event.key = text(reader)?;
    event.refusal = text(reader)?;
    Ok(event)
}

fn part<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], CodecError> {
    let len = usize::from(reader.u8()?);
    reader.take(len)
}

/// At most [`ACCESS_TEXT_MAX`] bytes of printable ASCII; none if empty.
fn text(reader: &mut Reader<'_>) -> Result<Option<String>, CodecError> {
    let at = reader.at();
    let part = part(reader)?;
    let plain = part.iter().all(|byte| (b' '..=b'~').contains(byte));
    if part.len() > ACCESS_TEXT_MAX || !plain {
        return Err(CodecError::Invalid { at });
    }
    let text = core::str::from_utf8(part).map_err(|_| CodecError::Invalid { at })?;
    Ok((!text.is_empty()).then(|| text.to_owned()))
}
