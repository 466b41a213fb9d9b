//! Lines of a file or of standard input, in batches, in memory that is wiped.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use cardvault::vault::MAX_BATCH;
use zeroize::{Zeroize, Zeroizing};

use crate::failure::{Failure, Outcome};

/// The longest line, in bytes without its ending.
pub(crate) const LINE_MAX: usize = 64 << 10;
/// A batch takes no further line once it has so many bytes.
const BATCH_BYTES: usize = 2 << 20;
/// How much is read at a time, in bytes.
const READ: usize = 256 << 10;

/// Reads lines. Nothing of them stays in a buffer that is not wiped.
pub(crate) struct Source {
    input: Box<dyn Read + Send>,
    what: String,
    bytes: Option<u64>,
    /// Of a fixed size: what a growing one leaves behind would not be wiped.
    buffer: Zeroizing<Vec<u8>>,
    /// What of the buffer was read and not yet handed on.
    waiting: Range<usize>,
    /// Lines that were begun so far.
    line: u64,
    begun: bool,
    ended: bool,
    /// Inside a line that is too long.
    skipping: bool,
}

/// Up to [`MAX_BATCH`] lines.
pub(crate) struct Batch {
    bytes: Zeroizing<Vec<u8>>,
    spans: Vec<Span>,
}

/// One line of a batch.
pub(crate) enum Line<'a> {
    Text {
        number: u64,
        text: &'a [u8],
        /// A line feed, alone or behind a carriage return, or nothing at the input's end.
        ending: &'a [u8],
    },
    TooLong {
        number: u64,
    },
}

impl Line<'_> {
    /// The line's number, from 1.
    pub(crate) const fn number(&self) -> u64 {
        match self {
            Self::Text { number, .. } | Self::TooLong { number } => *number,
        }
    }
}

struct Span {
    number: u64,
    text: Range<usize>,
    ending: usize,
    too_long: bool,
}

impl Source {
    /// `-` is standard input.
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        if path == Path::new("-") {
            return Ok(Self::over(io::stdin(), "standard input", None));
        }
        let file = File::open(path).map_err(Failure::at(path))?;
        let known = fs::metadata(path).map_err(Failure::at(path))?;
        if known.is_dir() {
            let what = path.display().to_string();
            return Err(Failure::usage(what, "this is a folder, not a file"));
        }
        let bytes = known.is_file().then_some(known.len());
        Ok(Self::over(file, path.display().to_string(), bytes))
    }

    fn over(
        input: impl Read + Send + 'static,
        what: impl Into<String>,
        bytes: Option<u64>,
    ) -> Self {
        Self {
            input: Box::new(input),
            what: what.into(),
            bytes,
            buffer: Zeroizing::new(vec![0; LINE_MAX + READ]),
            waiting: 0..0,
            line: 0,
            begun: false,
            ended: false,
            skipping: false,
        }
    }

    /// How many bytes there are, if it can be known.
    pub(crate) const fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    pub(crate) fn too_long() -> String {
        format!("line is longer than {LINE_MAX} bytes")
    }

    /// The next lines, in the memory of a batch that is done with; none at the end.
    pub(crate) fn next_batch(&mut self, done: Option<Batch>) -> Outcome<Option<Batch>> {
        let mut batch = done.unwrap_or_else(Batch::new);
        batch.clear();
        while batch.spans.len() < MAX_BATCH && batch.bytes.len() < BATCH_BYTES {
            let waiting = self.buffer.get(self.waiting.clone()).unwrap_or_default();
            let found = waiting.iter().position(|&byte| byte == b'\n');
            let taken = match found {
                Some(at) => at + 1,
                None if waiting.len() > LINE_MAX => waiting.len(),
                None if !self.ended => {
                    self.read()?;
                    continue;
                }
                None if waiting.is_empty() && !self.skipping => break,
                None => waiting.len(),
            };
            let line = waiting.get(..taken).unwrap_or_default();
            let complete = found.is_some() || self.ended;
            if !self.skipping {
                self.line += 1;
                let too_long = line.trim_ascii_end().len() > LINE_MAX;
                batch.push(self.line, line, too_long);
                self.skipping = too_long;
            }
            if complete {
                self.skipping = false;
            }
            self.waiting.start += taken;
        }
        Ok(Some(batch).filter(|batch| !batch.spans.is_empty()))
    }

    /// Makes room behind what waits and reads on.
    fn read(&mut self) -> Outcome<()> {
        let kept = self.waiting.len();
        self.buffer.copy_within(self.waiting.clone(), 0);
        self.waiting = 0..kept;
        let free = self.buffer.get_mut(kept..).unwrap_or_default();
        let read = loop {
            match self.input.read(free) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let read = read.map_err(|error| Failure::io(&*self.what, &error))?;
        self.ended = read == 0;
        self.waiting.end += read;
        if !self.begun && (self.ended || self.waiting.len() >= 3) {
            self.begun = true;
            let front = self.buffer.get(self.waiting.clone()).unwrap_or_default();
            if front.starts_with(b"\xef\xbb\xbf") {
                self.waiting.start += 3; // The byte order mark says nothing in UTF-8.
            } else if front.starts_with(b"\xff\xfe") || front.starts_with(b"\xfe\xff") {
                return Err(
                    Failure::files(&*self.what, "this is UTF-16 text").hint("save it as UTF-8")
                );
            }
        }
        Ok(())
    }
}

impl Batch {
    fn new() -> Self {
        Self {
            bytes: Zeroizing::new(Vec::with_capacity(BATCH_BYTES + LINE_MAX + READ)),
            spans: Vec::with_capacity(MAX_BATCH),
        }
    }

    pub(crate) fn lines(&self) -> impl ExactSizeIterator<Item = Line<'_>> {
        let part = |range: Range<usize>| self.bytes.get(range).unwrap_or_default();
        self.spans.iter().map(move |span| match span.too_long {
            true => Line::TooLong {
                number: span.number,
            },
            false => Line::Text {
                number: span.number,
                text: part(span.text.clone()),
                ending: part(span.text.end..span.ending),
            },
        })
    }

    /// How many bytes of input these lines were.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the first line off.
    pub(crate) fn drop_first(&mut self) {
        if !self.spans.is_empty() {
            self.spans.remove(0);
        }
    }

    fn push(&mut self, number: u64, line: &[u8], too_long: bool) {
        let start = self.bytes.len();
        if !too_long {
            self.bytes.extend_from_slice(line);
        }
        let ending = self.bytes.len();
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = match line.len() - text.len() {
            1 => text.strip_suffix(b"\r").unwrap_or(text),
            _ => text,
        };
        let end = if too_long { start } else { start + text.len() };
        self.spans.push(Span {
            number,
            text: start..end,
            ending,
            too_long,
        });
    }

    /// Wipes the bytes and keeps the memory.
    fn clear(&mut self) {
        self.bytes.zeroize();
        self.spans.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Drip(Vec<u8>, usize);

    impl Read for Drip {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(out.len()).min(self.0.len());
            for (to, from) in out.iter_mut().zip(self.0.drain(..count)) {
                *to = from;
            }
            Ok(count)
        }
    }

    /// A line's number, and its text and ending unless it is too long.
    type Numbered = (u64, Option<(Vec<u8>, Vec<u8>)>);

    fn read(input: &[u8], drip: usize) -> Vec<Numbered> {
        let mut source = Source::over(Drip(input.to_vec(), drip), "test", None);
        let mut lines = Vec::new();
        let mut done = None;
        while let Some(batch) = source.next_batch(done.take()).unwrap() {
            lines.extend(batch.lines().map(|line| match line {
                Line::Text {
                    number,
                    text,
                    ending,
                } => (number, Some((text.to_vec(), ending.to_vec()))),
                Line::TooLong { number } => (number, None),
            }));
            done = Some(batch);
        }
        lines
    }

    #[test]
    fn lines_and_endings() {
        for drip in [1, 2, 3, 7, 4096] {
            let lines = read(b"\xef\xbb\xbfa\r\n\nb\rc\n\r\nlast", drip);
            let expected: [(&[u8], &[u8]); 5] = [
                (b"a", b"\r\n"),
                (b"", b"\n"),
                (b"b\rc", b"\n"),
                (b"", b"\r\n"),
                (b"last", b""),
            ];
            assert_eq!(lines.len(), expected.len());
            for (at, ((number, line), (text, ending))) in lines.iter().zip(expected).enumerate() {
                assert_eq!(*number, at as u64 + 1);
                assert_eq!(line, &Some((text.to_vec(), ending.to_vec())), "drip {drip}");
            }
        }
        assert!(read(b"", 1).is_empty());
        assert!(read(b"\xef\xbb\xbf", 1).is_empty());
    }

    #[test]
    fn a_line_that_is_too_long_is_one_line() {
        for over in [1, 2, READ, LINE_MAX + READ, 3 * (LINE_MAX + READ)] {
            let mut input = b"one\n".to_vec();
            input.resize(4 + LINE_MAX + over, b'x');
            input.extend_from_slice(b"\nthree");
            let lines = read(&input, 10_000);
            let kinds: Vec<_> = lines
                .iter()
                .map(|(at, line)| (*at, line.is_some()))
                .collect();
            assert_eq!(kinds, [(1, true), (2, false), (3, true)], "{over} over");
        }
        let mut input = vec![b'x'; LINE_MAX];
        input.extend_from_slice(b"\r\nthen");
        assert!(read(&input, 100_000).iter().all(|(_, line)| line.is_some()));
    }

    #[test]
    fn many_lines_come_in_batches_in_order() {
        let input: String = (1..=25_000).map(|number| format!("{number}\n")).collect();
        let lines = read(input.as_bytes(), READ);
        assert_eq!(lines.len(), 25_000);
        for (number, line) in lines {
            assert_eq!(line.unwrap().0, number.to_string().into_bytes());
        }
    }

    #[test]
    fn utf_16_is_named() {
        for mark in [b"\xff\xfe4\x00", b"\xfe\xff\x004"] {
            let mut source = Source::over(Drip(mark.to_vec(), 9), "test", None);
            assert!(source.next_batch(None).is_err());
        }
    }
}
