//! Tables for people: upper-case heads, each column as wide as its widest text.
#![forbid(unsafe_code)]

use crate::failure::Outcome;

/// Printed page by page: a column may widen from one page to the next.
pub(crate) struct Grid<const N: usize> {
    heads: Option<[&'static str; N]>,
    widths: [usize; N],
}

impl<const N: usize> Grid<N> {
    pub(crate) fn new(heads: [&'static str; N]) -> Self {
        Self {
            heads: Some(heads),
            widths: heads.map(str::len),
        }
    }

    /// Prints rows, the first ones under the heads.
    pub(crate) fn rows(&mut self, rows: &[[String; N]]) -> Outcome<()> {
        let lines = self.lines(rows).into_iter();
        crate::show(&lines.map(|line| line + "\n").collect::<String>())
    }

    /// Whether nothing was printed.
    pub(crate) const fn is_empty(&self) -> bool {
        self.heads.is_some()
    }

    /// The lines of rows, those of the first ones under the heads.
    pub(crate) fn lines(&mut self, rows: &[[String; N]]) -> Vec<String> {
        if rows.is_empty() {
            return Vec::new();
        }
        for row in rows {
            for (width, text) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(text.chars().count());
            }
        }
        let heads = self.heads.take().map(|heads| heads.map(str::to_owned));
        let rows = heads.iter().chain(rows);
        rows.map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &[String; N]) -> String {
        let mut line = String::new();
        for (text, &width) in row.iter().zip(&self.widths) {
            line.push_str(&format!("{text:<width$}  "));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Names and values, one pair a line; what has no value is left out.
pub(crate) fn facts(facts: &[(&str, Option<String>)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let known = facts
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)));
    known
        .map(|(name, value)| format!("{name:<width$}  {value}\n"))
        .collect()
}

/// `1 entry`, `2 entries`; `1 card`, `2 cards`.
pub(crate) fn counted(count: impl TryInto<u64>, thing: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    match thing.strip_suffix('y') {
        _ if count == 1 => format!("{count} {thing}"),
        Some(stem) => format!("{count} {stem}ies"),
        None => format!("{count} {thing}s"),
    }
}
