//! What the demo prints: headings, lines, aligned tables; colour on a terminal alone.
#![forbid(unsafe_code)]

use std::env;
use std::io::{self, IsTerminal, Write};

use super::receipt::Receipt;
use crate::desk::grid::Grid;
use crate::failure::{Failure, Outcome};

pub(super) struct Paper {
    coloured: bool,
    chapter: u32,
}

/// What a part of a line means.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ink {
    Heading,
    Part,
    Good,
    Bad,
    Faint,
}

impl Paper {
    /// Colours unless `NO_COLOR` is set or nobody looks.
    pub(super) fn new() -> Self {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            coloured: !refused && !dumb && io::stdout().is_terminal(),
            chapter: 0,
        }
    }

    pub(super) fn ink(&self, ink: Ink, text: &str) -> String {
        if !self.coloured {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Heading => "1;36",
            Ink::Part => "1",
            Ink::Good => "32",
            Ink::Bad => "31",
            Ink::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    pub(super) fn line(&self, text: &str) -> Outcome<()> {
        let mut out = io::stdout().lock();
        let written = out
            .write_all(text.as_bytes())
            .and_then(|()| out.write_all(b"\n"));
        written.map_err(|error| Failure::io("standard output", &error))
    }

    /// A numbered heading and what the chapter is about.
    pub(super) fn chapter(&mut self, title: &str, about: &str) -> Outcome<()> {
        self.chapter += 1;
        let title = format!("{}. {title}", self.chapter);
        self.line("")?;
        self.line(&self.ink(Ink::Heading, &title))?;
        self.line(&self.ink(Ink::Faint, &format!("   {about}")))
    }

    /// What the next lines of a chapter show.
    pub(super) fn part(&self, title: &str) -> Outcome<()> {
        self.line(&self.ink(Ink::Part, &format!(" * {title}")))
    }

    /// Receipts, two beside each other.
    pub(super) fn receipts(&self, receipts: &[Receipt; 2]) -> Outcome<()> {
        let [left, right] = receipts.each_ref().map(Receipt::lines);
        let width = left.iter().map(String::len).max().unwrap_or(0);
        let lines = left.len().max(right.len());
        let none = String::new();
        for at in 0..lines {
            let [left, right] = [left, right].map(|lines| lines.get(at).unwrap_or(&none));
            self.line(format!("      {left:<width$}    {right}").trim_end())?;
        }
        Ok(())
    }

    /// Rows under a head.
    pub(super) fn table<const N: usize>(
        &self,
        head: [&'static str; N],
        rows: &[[String; N]],
    ) -> Outcome<()> {
        let mut lines = Grid::new(head).lines(rows).into_iter();
        if let Some(head) = lines.next() {
            self.line(&self.ink(Ink::Faint, &format!("   {head}")))?;
        }
        lines.try_for_each(|line| self.line(&format!("   {line}")))
    }
}
