//! Where in a line the value stands: the line itself, or one column of CSV (RFC 4180).
//!
//! A record is one line. The bytes of the other columns stay as they are: only the chosen
//! column's are replaced, or a column is added.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fmt;
use std::ops::Range;

use crate::args::FileArgs;
use crate::failure::{Failure, Outcome};

/// How lines are read and written.
#[derive(Clone, Debug)]
pub(crate) enum Layout {
    /// The line is the value.
    Plain,
    /// CSV.
    Columns {
        delimiter: u8,
        /// Which column, from 0.
        column: usize,
        /// How many there are in every line.
        count: usize,
        /// Whether the new value is added rather than put in the column's place.
        append: bool,
    },
}

/// What is wrong with a line, by place and never by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineFault {
    Nul { at: usize },
    Quote { at: usize },
    Columns { found: usize, expected: usize },
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nul { at } => write!(f, "NUL byte at byte {at}"),
            Self::Quote { at } => write!(f, "broken quotes at byte {at}"),
            Self::Columns { found, expected } => {
                write!(f, "line has {found} columns, not {expected}")
            }
        }
    }
}

impl Layout {
    /// From what was asked and the first line, and whether that line is a header.
    pub(crate) fn of(args: &FileArgs, first: &[u8]) -> Outcome<(Self, bool)> {
        let by_name = match args.input.extension().and_then(OsStr::to_str) {
            Some("csv") => Some(b','),
            Some("tsv") => Some(b'\t'),
            _ => None,
        };
        let asked = args.csv || args.header || args.column.is_some() || args.append.is_some();
        let delimiter = match (args.delimiter, by_name) {
            (Some(delimiter), _) => delimiter,
            (None, Some(delimiter)) => delimiter,
            (None, None) if asked => b',',
            (None, None) => return Ok((Self::Plain, false)),
        };
        let number = args.column.as_ref().map(|column| column.parse::<usize>());
        let has_header = args.header || matches!(number, Some(Err(_)));
        let mut columns = Vec::new();
        split(first, delimiter, &mut columns).map_err(|fault| {
            Failure::files("line 1", fault).hint("the first line tells the columns: mend it")
        })?;
        let count = columns.len();
        let column = match (&args.column, number) {
            (_, Some(Ok(number))) => number.checked_sub(1).filter(|&column| column < count),
            (Some(name), _) => columns
                .iter()
                .position(|span| content(first, span) == name.as_bytes()),
            (None, _) if count == 1 => Some(0),
            (None, _) => {
                return Err(
                    Failure::usage("column", format!("line 1 has {count} columns"))
                        .hint("say which one holds the values: --column NAME or --column N"),
                );
            }
        };
        let column = column.ok_or_else(|| {
            Failure::usage("column", format!("not among the {count} columns of line 1"))
                .hint("--column takes a number from 1, or a name that stands in line 1")
        })?;
        let layout = Self::Columns {
            delimiter,
            column,
            count,
            append: args.append.is_some(),
        };
        Ok((layout, has_header))
    }

    /// The header as it is written.
    pub(crate) fn header(&self, line: &[u8], append: Option<&str>) -> Vec<u8> {
        let mut header = line.to_vec();
        if let (Self::Columns { delimiter, .. }, Some(name)) = (self, append) {
            header.push(*delimiter);
            put_field(name.as_bytes(), *delimiter, &mut header);
        }
        header
    }

    /// Where the value stands in `line`. `columns` is memory to work in.
    pub(crate) fn find(
        &self,
        line: &[u8],
        columns: &mut Vec<Range<usize>>,
    ) -> Result<Range<usize>, LineFault> {
        if let Some(at) = line.iter().position(|&byte| byte == 0) {
            return Err(LineFault::Nul { at });
        }
        let Self::Columns {
            delimiter,
            column,
            count,
            ..
        } = self
        else {
            return Ok(0..line.len());
        };
        split(line, *delimiter, columns)?;
        match columns.get(*column) {
            Some(span) if columns.len() == *count => Ok(span.clone()),
            _ => Err(LineFault::Columns {
                found: columns.len(),
                expected: *count,
            }),
        }
    }

    /// Writes `line` with the new value.
    pub(crate) fn put(&self, line: &[u8], span: &Range<usize>, value: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Plain => out.extend_from_slice(value),
            Self::Columns {
                delimiter,
                append: true,
                ..
            } => {
                out.extend_from_slice(line);
                out.push(*delimiter);
                put_field(value, *delimiter, out);
            }
            Self::Columns { delimiter, .. } => {
                out.extend_from_slice(line.get(..span.start).unwrap_or_default());
                put_field(value, *delimiter, out);
                out.extend_from_slice(line.get(span.end..).unwrap_or_default());
            }
        }
    }
}

/// A value without its quotes and the blanks around it. Doubled quotes stay: no card number and
/// no token has one.
pub(crate) fn content<'a>(line: &'a [u8], span: &Range<usize>) -> &'a [u8] {
    let field = line.get(span.clone()).unwrap_or_default().trim_ascii();
    field
        .strip_prefix(b"\"")
        .and_then(|field| field.strip_suffix(b"\""))
        .map_or(field, <[u8]>::trim_ascii)
}

/// Puts the place of every field into `columns`.
pub(crate) fn split(
    line: &[u8],
    delimiter: u8,
    columns: &mut Vec<Range<usize>>,
) -> Result<(), LineFault> {
    columns.clear();
    let mut start = 0;
    loop {
        let field = line.get(start..).unwrap_or_default();
        let len = if field.first() == Some(&b'"') {
            quoted_len(field).ok_or(LineFault::Quote { at: start })?
        } else {
            let end = field
                .iter()
                .position(|&byte| byte == delimiter || byte == b'"');
            end.unwrap_or(field.len())
        };
        columns.push(start..start + len);
        match field.get(len) {
            None => return Ok(()),
            Some(&byte) if byte == delimiter => start += len + 1,
            Some(_) => return Err(LineFault::Quote { at: start + len }),
        }
    }
}

/// The length of the quoted text that `field` begins with, its quotes included.
fn quoted_len(field: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += field.get(at..)?.iter().position(|&byte| byte == b'"')? + 1;
        if field.get(at) != Some(&b'"') {
            return Some(at);
        }
        at += 1;
    }
}

fn put_field(value: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    if value.iter().any(|&byte| byte == delimiter || byte == b'"') {
        out.push(b'"');
        for &byte in value {
            out.push(byte);
            if byte == b'"' {
                out.push(byte);
            }
        }
        out.push(b'"');
    } else {
        out.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(line: &str) -> Result<Vec<String>, LineFault> {
        let mut columns = Vec::new();
        split(line.as_bytes(), b',', &mut columns)?;
        let field = |span: Range<usize>| {
            let field = &line[span];
            match field.strip_prefix('"') {
                Some(quoted) => quoted[..quoted.len() - 1].replace("\"\"", "\""),
                None => field.to_owned(),
            }
        };
        Ok(columns.into_iter().map(field).collect())
    }

    #[test]
    fn broken_quotes_are_placed() {
        let quote = |at| Err(LineFault::Quote { at });
        assert_eq!(fields(r#""a"#), quote(0));
        assert_eq!(fields(r#"a,"b"#), quote(2));
        assert_eq!(fields(r#"a,"b"c,d"#), quote(5));
        assert_eq!(fields(r#"a,b"c"#), quote(3));
        assert_eq!(fields("\"\"").unwrap(), [""]);
        assert_eq!(fields("\"\"\""), quote(0));
        assert_eq!(fields("\"\"\"\"").unwrap(), ["\""]);
        assert_eq!(fields(r#""a ""b"",c",,"#).unwrap(), ["a \"b\",c", "", ""]);
    }

    proptest! {
        #[test]
        fn fields_are_those_of_another_reader(line in "[a\",; ]{1,12}") {
            if let Ok(fields) = fields(&line) {
                let mut reader = csv::ReaderBuilder::new()
                    .has_headers(false)
                    .from_reader(line.as_bytes());
                let record = reader.records().next().unwrap().unwrap();
                prop_assert_eq!(record.iter().collect::<Vec<_>>(), fields);
            }
        }

        #[test]
        fn what_another_writer_writes_is_read(values in prop::collection::vec("[a\",; ]{0,5}", 2..5)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(&values).unwrap();
            let line = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            prop_assert_eq!(fields(line.trim_end_matches('\n')).unwrap(), values);
        }

        #[test]
        fn only_the_column_changes(
            values in prop::collection::vec("[a\",; ]{0,5}", 3),
            value in "[a\",-]{1,4}",
            append: bool,
        ) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(&values).unwrap();
            let line = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let line = line.trim_end_matches('\n');
            let layout = Layout::Columns { delimiter: b',', column: 1, count: 3, append };
            let span = layout.find(line.as_bytes(), &mut Vec::new()).unwrap();
            let mut out = Vec::new();
            layout.put(line.as_bytes(), &span, value.as_bytes(), &mut out);
            let mut expected = values;
            if append {
                expected.push(value);
            } else {
                expected[1] = value;
            }
            prop_assert_eq!(fields(core::str::from_utf8(&out).unwrap()).unwrap(), expected);
        }
    }
}
