//! Tables that a program wrote: CSV under a header, or JSON lines. Strict: every column is known,
//! every line has all of them, and a fault is named by line and field and never by content.
#![forbid(unsafe_code)]

use std::fmt::{self, Display};
use std::ops::Range;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::bulk::{Line, Source, content, split};
use crate::desk::grid::counted;
use crate::failure::{Failure, Outcome};

/// So many faulty lines are named.
const NAMED: usize = 10;

/// The columns of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    /// Those that every table has.
    pub(crate) required: &'static [&'static str],
    /// Those that may be left out.
    pub(crate) optional: &'static [&'static str],
}

impl Columns {
    fn find(&self, name: &[u8]) -> Option<&'static str> {
        let mut known = self.required.iter().chain(self.optional);
        known.find(|known| known.as_bytes() == name).copied()
    }
}

/// One line: its values by the names of their columns.
pub(crate) struct Fields<'a> {
    line: u64,
    values: Vec<(&'static str, &'a [u8])>,
}

/// What is wrong with a line.
#[derive(Debug)]
pub(crate) struct Fault {
    field: Option<&'static str>,
    why: String,
}

impl Fault {
    pub(crate) fn of(field: &'static str, why: impl Display) -> Self {
        Self {
            field: Some(field),
            why: why.to_string(),
        }
    }

    fn line(why: impl Display) -> Self {
        Self {
            field: None,
            why: why.to_string(),
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            Some(field) => write!(f, "{field}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

impl<'a> Fields<'a> {
    /// The line's number, from 1.
    pub(crate) const fn line(&self) -> u64 {
        self.line
    }

    /// The bytes of a field, if it is there and not empty.
    pub(crate) fn bytes(&self, name: &'static str) -> Option<&'a [u8]> {
        let found = self.values.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, value)| *value)
            .filter(|value| !value.is_empty())
    }

    /// A field that may be empty.
    pub(crate) fn optional<T, E: Display>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Fault> {
        let Some(bytes) = self.bytes(name) else {
            return Ok(None);
        };
        let text = str::from_utf8(bytes).map_err(|_| Fault::of(name, "this is not UTF-8 text"))?;
        read(text).map(Some).map_err(|error| Fault::of(name, error))
    }

    /// A field that must not be empty.
    pub(crate) fn required<T, E: Display>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Fault> {
        self.optional(name, read)?
            .ok_or_else(|| Fault::of(name, "nothing stands there"))
    }
}

/// Reads the whole table: what `take` makes of each line, or all faults and nothing.
pub(crate) fn read<T>(
    path: &Path,
    columns: &Columns,
    json_lines: bool,
    mut take: impl FnMut(&Fields<'_>) -> Result<T, Fault>,
) -> Outcome<Vec<T>> {
    let mut source = Source::open(path)?;
    let mut header: Option<Vec<&'static str>> = None;
    let mut taken = Vec::new();
    let mut faults = Vec::new();
    let mut done = None;
    while let Some(batch) = source.next_batch(done.take())? {
        for line in batch.lines() {
            let number = line.number();
            let Line::Text { text, .. } = line else {
                faults.push((number, Fault::line(Source::too_long())));
                continue;
            };
            if text.trim_ascii().is_empty() {
                continue;
            }
            let fields = if json_lines {
                json_fields(text, columns)
            } else if let Some(header) = &header {
                csv_fields(text, header)
            } else {
                header = Some(read_header(text, columns).map_err(|fault| {
                    Failure::files(format!("{}, line {number}", input_name(path)), fault)
                        .hint("the first line names the columns; --help lists them")
                })?);
                continue;
            };
            let result = fields.and_then(|values| {
                take(&Fields {
                    line: number,
                    values,
                })
            });
            match result {
                Ok(value) => taken.push(value),
                Err(fault) => faults.push((number, fault)),
            }
        }
        done = Some(batch);
    }
    match faults.as_slice() {
        [] => Ok(taken),
        faults => Err(refused(path, faults)),
    }
}

fn input_name(path: &Path) -> String {
    if path == Path::new("-") {
        return "standard input".to_owned();
    }
    path.display().to_string()
}

fn refused(path: &Path, faults: &[(u64, Fault)]) -> Failure {
    for (line, fault) in faults.iter().take(NAMED) {
        crate::say(&format!("line {line}: {fault}"));
    }
    Failure::files(
        input_name(path),
        format!("{}; nothing was done", counted(faults.len(), "faulty line")),
    )
    .hint("mend the lines and run the same command again")
}

fn read_header(line: &[u8], columns: &Columns) -> Result<Vec<&'static str>, Fault> {
    let mut spans = Vec::new();
    split(line, b',', &mut spans).map_err(Fault::line)?;
    let mut names = Vec::with_capacity(spans.len());
    for (at, span) in spans.iter().enumerate() {
        let name = columns.find(content(line, span));
        let name = name.ok_or_else(|| Fault::line(format!("column {} is unknown", at + 1)))?;
        if names.contains(&name) {
            return Err(Fault::of(name, "the column is there twice"));
        }
        names.push(name);
    }
    match columns.required.iter().find(|name| !names.contains(name)) {
        Some(name) => Err(Fault::of(name, "the column is missing")),
        None => Ok(names),
    }
}

type Values<'a> = Vec<(&'static str, &'a [u8])>;

fn csv_fields<'a>(line: &'a [u8], header: &[&'static str]) -> Result<Values<'a>, Fault> {
    let mut spans: Vec<Range<usize>> = Vec::with_capacity(header.len());
    split(line, b',', &mut spans).map_err(Fault::line)?;
    if spans.len() != header.len() {
        let (found, expected) = (spans.len(), header.len());
        return Err(Fault::line(format!(
            "line has {found} columns, not {expected}"
        )));
    }
    let fields = header.iter().zip(spans);
    fields
        .map(|(name, span)| {
            let value = content(line, &span);
            if value.contains(&b'"') {
                return Err(Fault::of(name, "quotes inside a value"));
            }
            Ok((*name, value))
        })
        .collect()
}

fn json_fields<'a>(line: &'a [u8], columns: &Columns) -> Result<Values<'a>, Fault> {
    // The parser's own words would repeat content.
    let object: Object<'a> = serde_json::from_slice(line).map_err(|error| {
        Fault::line(format!(
            "no JSON object of texts without escapes, from byte {} on",
            error.column()
        ))
    })?;
    let mut values: Values<'a> = Vec::with_capacity(object.0.len());
    for (at, (name, value)) in object.0.into_iter().enumerate() {
        let name = columns
            .find(name.as_bytes())
            .ok_or_else(|| Fault::line(format!("field {} is unknown", at + 1)))?;
        if values.iter().any(|(known, _)| *known == name) {
            return Err(Fault::of(name, "the field is there twice"));
        }
        values.push((name, value.unwrap_or_default().trim().as_bytes()));
    }
    Ok(values)
}

/// A JSON object whose texts lie in the line that it was read from: nothing is copied that would
/// have to be wiped.
struct Object<'a>(Vec<(&'a str, Option<&'a str>)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: Columns = Columns {
        required: &["a", "b"],
        optional: &["c"],
    };

    /// What is read of `text`, as lines of values, or the faults.
    fn read_text(text: &str, json: bool) -> Result<Vec<String>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let read = read(file.path(), &COLUMNS, json, |fields| {
            let own = |text: &str| Ok::<_, String>(text.to_owned());
            let a = fields.required("a", own)?;
            let b = fields.optional("b", |text| text.parse::<u8>())?;
            Ok(format!(
                "{} {a} {b:?} {:?}",
                fields.line(),
                fields.bytes("c")
            ))
        });
        read.map_err(|failure| failure.to_string())
    }

    #[test]
    fn tables_are_read() {
        let rows = read_text("b,a,c\r\n1, x ,\"y\"\n\n,z,\n", false).unwrap();
        assert_eq!(rows, ["2 x Some(1) Some([121])", "4 z None None"]);
        let rows = read_text("{\"a\":\"x\",\"b\":\"1\",\"c\":null}\n{\"a\":\" z\"}", true).unwrap();
        assert_eq!(rows, ["1 x Some(1) None", "2 z None None"]);
        assert!(read_text("", false).unwrap().is_empty());
    }

    #[test]
    fn faults_are_named_and_not_shown() {
        for (text, json) in [
            ("a,b,secret\n", false),
            ("a,c\n", false),
            ("a,b,a\n", false),
            ("a,b\n1,secret\n", false),
            ("a,b\n1,2,3\n", false),
            ("a,b\n,2\n", false),
            ("a,b\n\"1\"\"\",2\n", false),
            ("a,b\n\"1,2\n", false),
            ("{\"a\":\"x\",\"secret\":\"1\"}", true),
            ("{\"a\":\"x\",\"a\":\"x\"}", true),
            ("{\"a\":\"secret\\u0041\"}", true),
            ("{\"a\":12}", true),
            ("[\"a\"]", true),
            ("secret", true),
        ] {
            let fault = read_text(text, json).unwrap_err();
            assert!(!fault.contains("secret"), "{fault}");
        }
    }
}
