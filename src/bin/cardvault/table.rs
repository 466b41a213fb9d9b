//! Tables for people: aligned columns under heads, numbers that are easy to read, bars, and colours
//! where they are wanted. Columns give way, one after the other, until a line fits.
#![forbid(unsafe_code)]

use std::env;

use console::Term;

/// Where the width of a terminal is not known, in columns.
const WIDTH: usize = 80;
/// No column with names is made narrower than this.
const NARROWEST: usize = 8;
/// The width of a bar.
pub(crate) const BAR: usize = 20;

/// What the reader's screen can show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// In columns; without a terminal there is no end to it.
    pub(crate) width: usize,
    /// Colours, and block characters for bars.
    pub(crate) rich: bool,
}

impl Look {
    /// That of standard output: rich on a terminal alone, and not if `NO_COLOR` is set to something.
    pub(crate) fn of_stdout() -> Self {
        let term = Term::stdout();
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_term = term.is_term();
        let columns = term.size_checked().map(|(_, columns)| usize::from(columns));
        Self {
            width: if is_term {
                columns.unwrap_or(WIDTH)
            } else {
                usize::MAX
            },
            rich: is_term && !dumb && !is_set("NO_COLOR"),
        }
    }
}

/// How a text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Head,
    Faint,
    Good,
    Soon,
    Bad,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Head => "1",
            Self::Faint => "2",
            Self::Good => "32",
            Self::Soon => "33",
            Self::Bad => "31",
        }
    }

    fn paint(self, text: &str, look: Look) -> String {
        if look.rich && self != Self::Plain && !text.is_empty() {
            format!("\x1b[{}m{text}\x1b[0m", self.code())
        } else {
            text.to_owned()
        }
    }
}

/// One text of a table.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }

    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// On which side a column's texts stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Lines of `N` columns. The first column is the one that is shortened if nothing else helps.
pub(crate) struct Table<const N: usize> {
    sides: [Side; N],
    /// The columns that a narrow screen does without, the first one first.
    spare: &'static [usize],
    lines: Vec<Option<[Cell; N]>>,
}

impl<const N: usize> Table<N> {
    pub(crate) const fn new(sides: [Side; N], spare: &'static [usize]) -> Self {
        Self {
            sides,
            spare,
            lines: Vec::new(),
        }
    }

    /// The heads of what follows; behind other lines after an empty one.
    pub(crate) fn heads(&mut self, heads: [&str; N]) {
        if !self.lines.is_empty() {
            self.lines.push(None);
        }
        self.row(heads.map(|head| Cell::new(head, Tone::Head)));
    }

    pub(crate) fn row(&mut self, row: [Cell; N]) {
        self.lines.push(Some(row));
    }

    /// The text of the whole.
    pub(crate) fn show(&self, look: Look) -> String {
        let widths = self.widths(look);
        let mut text = String::new();
        for line in &self.lines {
            if let Some(cells) = line {
                text.push_str(&self.line(cells, &widths, look));
            }
            text.push('\n');
        }
        text
    }

    /// How wide each column is; none for one that is left out.
    fn widths(&self, look: Look) -> [Option<usize>; N] {
        let mut widths = [0; N];
        for cells in self.lines.iter().flatten() {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let mut widths = widths.map(Some);
        let over = |widths: &[Option<usize>; N]| {
            let shown = widths.iter().flatten();
            let gaps = 2 * shown.clone().count().saturating_sub(1);
            (shown.sum::<usize>() + gaps).saturating_sub(look.width)
        };
        for &spare in self.spare {
            if over(&widths) > 0
                && let Some(width) = widths.get_mut(spare)
            {
                *width = None;
            }
        }
        let over = over(&widths);
        if let Some(Some(first)) = widths.first_mut() {
            *first = (*first).min((first.saturating_sub(over)).max(NARROWEST));
        }
        widths
    }

    fn line(&self, cells: &[Cell; N], widths: &[Option<usize>; N], look: Look) -> String {
        let mut line = String::new();
        let mut pending = 0;
        for ((cell, width), side) in cells.iter().zip(widths).zip(self.sides) {
            let Some(width) = *width else { continue };
            let text = shortened(&cell.text, width);
            let free = width - text.chars().count();
            let (before, behind) = match side {
                Side::Left => (0, free),
                Side::Right => (free, 0),
            };
            // Blanks at the end of a line are left out.
            if !text.is_empty() {
                line.push_str(&" ".repeat(pending + before));
                line.push_str(&cell.tone.paint(&text, look));
                pending = 0;
            } else {
                pending += before;
            }
            pending += behind + 2;
        }
        line
    }
}

/// A text of at most `width` characters; one that is longer ends in two dots.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(2));
    kept.chain("..".chars()).take(width).collect()
}

/// `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3%`; what is something never looks like nothing, and what is not all not like all.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return String::new();
    }
    let tenths = (u128::from(part) * 2000 + u128::from(whole)) / (u128::from(whole) * 2);
    match tenths {
        0 if part > 0 => "<0.1%".to_owned(),
        1000 if part < whole => ">99.9%".to_owned(),
        _ => format!("{}.{}%", tenths / 10, tenths % 10),
    }
}

/// A bar of [`BAR`] characters for `part` of `whole`: in blocks, or in plain characters. Empty for
/// nothing alone, and full for all alone.
pub(crate) fn bar(part: u64, whole: u64, look: Look) -> String {
    let full = u128::from(whole).max(1);
    let filled = (u128::from(part) * BAR as u128).div_ceil(full);
    let most = if part < whole { BAR - 1 } else { BAR };
    let filled = usize::try_from(filled).unwrap_or(BAR).min(most);
    let (mark, rest) = if look.rich {
        ("\u{2588}", "\u{2591}")
    } else {
        ("#", ".")
    };
    mark.repeat(filled) + &rest.repeat(BAR - filled)
}

/// `120.4 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} bytes");
    }
    let (mut tenths, mut unit) = (u128::from(count) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    let unit = UNITS.get(unit).copied().unwrap_or_default();
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look {
        width: 80,
        rich: false,
    };

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(thousands),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
        for (part, whole, text) in [
            (0, 10, "0.0%"),
            (1, 10_000, "<0.1%"),
            (1, 3, "33.3%"),
            (2, 3, "66.7%"),
            (9_999, 10_000, ">99.9%"),
            (7, 7, "100.0%"),
            (u64::MAX, u64::MAX, "100.0%"),
            (0, 0, ""),
        ] {
            assert_eq!(percent(part, whole), text);
        }
        assert_eq!(
            [0, 1023, 1024, 126_353_408].map(bytes),
            ["0 bytes", "1023 bytes", "1.0 KiB", "120.5 MiB"]
        );
        assert_eq!(bytes(u64::MAX), "16777215.9 TiB");
    }

    #[test]
    fn a_bar_is_empty_for_nothing_and_full_for_all_alone() {
        assert_eq!(bar(0, 5, PLAIN), ".".repeat(BAR));
        assert_eq!(bar(5, 5, PLAIN), "#".repeat(BAR));
        assert!(bar(1, 1_000_000, PLAIN).starts_with("#."));
        assert!(bar(999_999, 1_000_000, PLAIN).ends_with("#."));
        assert_eq!(bar(0, 0, PLAIN), ".".repeat(BAR));
        assert_eq!(
            bar(
                1,
                2,
                Look {
                    rich: true,
                    ..PLAIN
                }
            )
            .chars()
            .count(),
            BAR
        );
    }

    fn table() -> Table<3> {
        let mut table = Table::new([Side::Left, Side::Right, Side::Left], &[2]);
        table.heads(["NAME", "COUNT", "NOTE"]);
        table.row([
            Cell::plain("a long name of a shop"),
            Cell::plain("1"),
            Cell::new("late", Tone::Bad),
        ]);
        table.heads(["KEY", "", ""]);
        table.row([Cell::plain("b"), Cell::plain("1,000"), Cell::plain("")]);
        table
    }

    #[test]
    fn columns_stand_in_line_and_give_way() {
        let text = table().show(PLAIN);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "NAME                   COUNT  NOTE",
                "a long name of a shop      1  late",
                "",
                "KEY",
                "b                      1,000",
            ]
        );
        let text = table().show(Look { width: 30, ..PLAIN });
        assert!(text.starts_with("NAME                   COUNT\na long name of a shop      1\n"));
        let text = table().show(Look { width: 20, ..PLAIN });
        assert!(
            text.starts_with("NAME           COUNT\na long name..      1\n"),
            "{text}"
        );
        let text = table().show(Look { width: 3, ..PLAIN });
        assert!(
            text.starts_with("NAME      COUNT\na long..      1\n"),
            "{text}"
        );
    }

    #[test]
    fn colours_change_no_place() {
        let rich = table().show(Look {
            rich: true,
            ..PLAIN
        });
        assert!(rich.contains("\x1b[31mlate\x1b[0m"));
        let mut bare = rich;
        for tone in [Tone::Head, Tone::Bad] {
            bare = bare.replace(&format!("\x1b[{}m", tone.code()), "");
        }
        assert_eq!(bare.replace("\x1b[0m", ""), table().show(PLAIN));
    }
}
