//! The retention policy as a TOML file, checked when it is read.
#![forbid(unsafe_code)]

use core::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{KeepRule, RETENTION_DAYS_MAX, Retention};
use crate::keys::{Domain, DomainError};
use crate::token::{Token, TokenError};

const TOP: &str = "default, domain, hold and clock_days";
const RULE: &str = "age_days, expired_days, settled_days, refund_days and keep";
const HOLD: &str = "domain, token and reason";
const ONE_OF: &str = "age_days, expired_days or settled_days, or keep = \"forever\"";
const FOREVER: &str = "the text \"forever\"";

impl Retention {
    /// Reads a policy: see [`crate::manual::retention`].
    ///
    /// # Errors
    /// [`RetentionFileError`] names the line and what is wrong there, and repeats nothing of it.
    pub fn from_toml(text: &str) -> Result<Self, RetentionFileError> {
        let file = File(text);
        let document = file.parse()?;
        let top = file.known(
            document.get_ref(),
            TOP,
            &["default", "domain", "hold", "clock_days"],
        )?;
        let at = document.span().start;
        let [default, domains, holds, clock] = top;
        let Some(default) = default else {
            return Err(file.fault(at, RetentionFault::Missing { what: "[default]" }));
        };
        let default = file.rule(default)?;
        let mut retention = Self::new(default).map_err(|_| file.fault(at, days(1)))?;
        if let Some(domains) = domains {
            // As they stand in the file: a table is in the order of its names.
            let mut rules: Vec<_> = file.table(domains)?.iter().collect();
            rules.sort_by_key(|(name, _)| name.span().start);
            for (name, rule) in rules {
                let domain: Domain = name.get_ref().parse().map_err(|error| {
                    file.fault(name.span().start, RetentionFault::Domain(error))
                })?;
                let at = name.span().start;
                if retention.domains.contains_key(&domain) {
                    return Err(file.fault(at, RetentionFault::Twice));
                }
                let rule = file.rule(rule)?;
                retention
                    .set(domain, rule)
                    .map_err(|_| file.fault(at, days(1)))?;
            }
        }
        if let Some(clock) = clock {
            let span = file.days(clock, 1)?;
            let at = clock.span().start;
            retention
                .set_clock_days(span)
                .map_err(|_| file.fault(at, days(1)))?;
        }
        file.holds(holds, &mut retention)?;
        Ok(retention)
    }

    /// Adds the holds of a file that has nothing but holds.
    ///
    /// # Errors
    /// As [`Retention::from_toml`].
    pub fn add_holds(&mut self, text: &str) -> Result<(), RetentionFileError> {
        let file = File(text);
        let document = file.parse()?;
        let [holds] = file.known(document.get_ref(), "hold", &["hold"])?;
        file.holds(holds, self)
    }
}

/// What is wrong in a policy's file, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionFileError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub fault: RetentionFault,
}

/// What is wrong in a line of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetentionFault {
    /// It is no TOML, or a name comes twice.
    Syntax,
    /// There is no such setting here.
    Unknown {
        /// Those that there are.
        known: &'static str,
    },
    /// The value is of another kind.
    Type {
        /// What stands there.
        wants: &'static str,
    },
    /// The number of days is out of range.
    Days {
        /// The least; the most is [`RETENTION_DAYS_MAX`].
        least: u32,
    },
    /// Something is not said.
    Missing {
        /// What.
        what: &'static str,
    },
    /// `keep = "forever"` stands beside a number of days after which tokens go.
    Both,
    /// The domain has a rule already.
    Twice,
    /// This is no domain.
    Domain(DomainError),
    /// This is no token.
    Token(TokenError),
}

impl fmt::Display for RetentionFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match self.fault {
            RetentionFault::Syntax => f.write_str("not TOML, or a name that came before"),
            RetentionFault::Unknown { known } => {
                write!(f, "no such setting here; there are {known}")
            }
            RetentionFault::Type { wants } => write!(f, "here stands {wants}"),
            RetentionFault::Days { least } => {
                write!(f, "days are {least} to {RETENTION_DAYS_MAX}")
            }
            RetentionFault::Missing { what } => write!(f, "{what} is missing"),
            RetentionFault::Both => {
                f.write_str("keep = \"forever\" and days after which tokens go: say one of them")
            }
            RetentionFault::Twice => f.write_str("this domain has a rule already"),
            RetentionFault::Domain(error) => error.fmt(f),
            RetentionFault::Token(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for RetentionFileError {}

type Value<'a> = Spanned<DeValue<'a>>;

const fn days(least: u32) -> RetentionFault {
    RetentionFault::Days { least }
}

/// The text, by which places become lines.
struct File<'a>(&'a str);

impl<'a> File<'a> {
    fn parse(&self) -> Result<Spanned<DeTable<'a>>, RetentionFileError> {
        DeTable::parse(self.0).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.fault(at, RetentionFault::Syntax)
        })
    }

    fn fault(&self, at: usize, fault: RetentionFault) -> RetentionFileError {
        let before = self.0.as_bytes().iter().take(at);
        RetentionFileError {
            line: 1 + before.filter(|byte| **byte == b'\n').count(),
            fault,
        }
    }

    /// The values of these names, which are all that may be there.
    fn known<'t, const N: usize>(
        &self,
        table: &'t DeTable<'a>,
        known: &'static str,
        names: &[&str; N],
    ) -> Result<[Option<&'t Value<'a>>; N], RetentionFileError> {
        let mut values = [None; N];
        for (name, value) in table.iter() {
            let place = names.iter().position(|known| known == name.get_ref());
            match place.and_then(|place| values.get_mut(place)) {
                Some(slot) => *slot = Some(value),
                None => {
                    let at = name.span().start;
                    return Err(self.fault(at, RetentionFault::Unknown { known }));
                }
            }
        }
        Ok(values)
    }

    fn rule(&self, value: &Value<'a>) -> Result<KeepRule, RetentionFileError> {
        let at = value.span().start;
        let names = [
            "age_days",
            "expired_days",
            "settled_days",
            "refund_days",
            "keep",
        ];
        let [age, expired, settled, refund, keep] = self.known(self.table(value)?, RULE, &names)?;
        let days = |value: Option<&Value<'a>>, least| {
            value.map(|value| self.days(value, least)).transpose()
        };
        let rule = KeepRule {
            age_days: days(age, 1)?,
            expired_days: days(expired, 0)?,
            settled_days: days(settled, 1)?,
            refund_days: days(refund, 0)?.unwrap_or(KeepRule::FOREVER.refund_days),
        };
        match keep {
            Some(keep) if self.text(keep, FOREVER)? != "forever" => {
                let wants = RetentionFault::Type { wants: FOREVER };
                Err(self.fault(keep.span().start, wants))
            }
            Some(keep) if !rule.is_forever() => {
                Err(self.fault(keep.span().start, RetentionFault::Both))
            }
            None if rule.is_forever() => {
                Err(self.fault(at, RetentionFault::Missing { what: ONE_OF }))
            }
            _ => Ok(rule),
        }
    }

    fn holds(
        &self,
        holds: Option<&Value<'a>>,
        retention: &mut Retention,
    ) -> Result<(), RetentionFileError> {
        let Some(holds) = holds else { return Ok(()) };
        let wants = "[[hold]]";
        let list = holds.get_ref().as_array();
        let list = list.ok_or(self.fault(holds.span().start, RetentionFault::Type { wants }))?;
        for hold in list.iter() {
            let at = hold.span().start;
            let table = self.table(hold)?;
            let [domain, token, reason] =
                self.known(table, HOLD, &["domain", "token", "reason"])?;
            let missing = |what| self.fault(at, RetentionFault::Missing { what });
            let domain = domain.ok_or(missing("domain"))?;
            let reason = reason.ok_or(missing("reason"))?;
            if self.text(reason, "a text")?.trim().is_empty() {
                return Err(missing("reason"));
            }
            let name = self.text(domain, "a domain")?.parse();
            let name = name
                .map_err(|error| self.fault(domain.span().start, RetentionFault::Domain(error)))?;
            let token = match token {
                None => None,
                Some(token) => {
                    Some(Token::parse(self.text(token, "a token")?).map_err(|error| {
                        self.fault(token.span().start, RetentionFault::Token(error))
                    })?)
                }
            };
            retention.hold(name, token);
        }
        Ok(())
    }

    fn table<'t>(&self, value: &'t Value<'a>) -> Result<&'t DeTable<'a>, RetentionFileError> {
        let wants = RetentionFault::Type { wants: "a table" };
        let table = value.get_ref().as_table();
        table.ok_or(self.fault(value.span().start, wants))
    }

    fn text<'t>(
        &self,
        value: &'t Value<'a>,
        wants: &'static str,
    ) -> Result<&'t str, RetentionFileError> {
        let text = value.get_ref().as_str();
        text.ok_or(self.fault(value.span().start, RetentionFault::Type { wants }))
    }

    fn days(&self, value: &Value<'a>, least: u32) -> Result<u32, RetentionFileError> {
        let at = value.span().start;
        let wants = "a number of days";
        let number = value.get_ref().as_integer();
        let number = number.ok_or(self.fault(at, RetentionFault::Type { wants }))?;
        u32::from_str_radix(number.as_str(), number.radix())
            .ok()
            .filter(|days| (least..=RETENTION_DAYS_MAX).contains(days))
            .ok_or(self.fault(at, days(least)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
clock_days = 7

[default]
settled_days = 180
expired_days = 0

[domain."shop-1"]
age_days = 0x2DA
refund_days = 90

[domain.archive]
keep = "forever"

[[hold]]
domain = "shop-2"
reason = "case 2026-17"
"#;

    #[test]
    fn a_policy_is_read() {
        let retention = Retention::from_toml(GOOD).unwrap();
        let mut expected = Retention::new(KeepRule {
            settled_days: Some(180),
            expired_days: Some(0),
            ..KeepRule::FOREVER
        })
        .unwrap();
        expected.set_clock_days(7).unwrap();
        let shop = KeepRule {
            age_days: Some(730),
            refund_days: 90,
            ..KeepRule::FOREVER
        };
        expected.set("shop-1".parse().unwrap(), shop).unwrap();
        expected
            .set("archive".parse().unwrap(), KeepRule::FOREVER)
            .unwrap();
        expected.hold("shop-2".parse().unwrap(), None);
        assert_eq!(retention, expected);
        assert!(retention.needs_ledger());
        let mut more = retention.clone();
        more.add_holds("[[hold]]\ndomain = \"shop-2\"\nreason = \"x\"\n")
            .unwrap();
        assert_eq!(more, retention);
    }

    #[test]
    fn the_example_of_the_manual_is_read() {
        let page = include_str!("../../manual/retention.md");
        let (_, example) = page.split_once("```toml\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        let retention = Retention::from_toml(example).unwrap();
        assert!(retention.needs_ledger());
        assert_eq!(retention.held.len(), 2);
    }

    #[test]
    fn faults_are_named_with_their_line_and_nothing_is_repeated() {
        let base = "[default]\nage_days = 5\n";
        let texts = [
            ("", "line 1: [default] is missing"),
            (
                "[default]\nage_days = 4111x\n",
                "line 2: not TOML, or a name that came before",
            ),
            (
                "[default]\nage_days = 5\nage_days = 6\n",
                "line 3: not TOML, or a name that came before",
            ),
            (
                "[default]\n",
                "line 1: age_days, expired_days or settled_days, or keep = \"forever\" is missing",
            ),
            (
                "[default]\nrefund_days = 5\n",
                "line 1: age_days, expired_days or settled_days, or keep = \"forever\" is missing",
            ),
            ("[default]\nage_days = 0\n", "line 2: days are 1 to 36525"),
            (
                "[default]\nsettled_days = 0\n",
                "line 2: days are 1 to 36525",
            ),
            ("[default]\nage_days = -1\n", "line 2: days are 1 to 36525"),
            (
                "[default]\nexpired_days = 36526\n",
                "line 2: days are 0 to 36525",
            ),
            (
                "[default]\nage_days = 99999999999999999999\n",
                "line 2: days are 1 to 36525",
            ),
            (
                "[default]\nage_days = \"5\"\n",
                "line 2: here stands a number of days",
            ),
            (
                "[default]\nage_days = 5.0\n",
                "line 2: here stands a number of days",
            ),
            (
                "[default]\nkeep = \"always\"\n",
                "line 2: here stands the text \"forever\"",
            ),
            (
                "[default]\nage_days = 5\nkeep = \"forever\"\n",
                "line 3: keep = \"forever\" and days after which tokens go: say one of them",
            ),
            (
                "[default]\nage = 5\n",
                "line 2: no such setting here; there are age_days, expired_days, settled_days, refund_days and keep",
            ),
            ("default = 5\n", "line 1: here stands a table"),
            ("[[default]]\nage_days = 5\n", "line 1: here stands a table"),
        ];
        for (text, expected) in texts {
            let error = Retention::from_toml(text).unwrap_err();
            assert_eq!(error.to_string(), expected, "{text}");
        }
        let behind = [
            (
                "[domains.x]\n",
                "line 3: no such setting here; there are default, domain, hold and clock_days",
            ),
            (
                "[domain.\"\"]\nage_days = 5\n",
                "line 3: a domain has 1 to 32 bytes, not 0",
            ),
            (
                "[domain.a]\nage_days = 5\n[domain.'\\x61']\nage_days = 6\n",
                "line 5: this domain has a rule already",
            ),
            ("[[hold]]\nreason = \"x\"\n", "line 3: domain is missing"),
            ("[[hold]]\ndomain = \"a\"\n", "line 3: reason is missing"),
            (
                "[[hold]]\ndomain = \"a\"\nreason = \" \"\n",
                "line 3: reason is missing",
            ),
            (
                "[[hold]]\ndomain = \"a\"\nreason = \"x\"\ntoken = \"4111111111111111\"\n",
                "line 6: the digits pass the Luhn check, as no token does",
            ),
            ("[hold]\ndomain = \"a\"\n", "line 3: here stands [[hold]]"),
        ];
        for (text, expected) in behind {
            let error = Retention::from_toml(&format!("{base}{text}")).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        let error = Retention::from_toml("clock_days = 0\n[default]\nage_days = 5\n");
        assert_eq!(error.unwrap_err().line, 1);
        let mut retention = Retention::from_toml(base).unwrap();
        let error = retention.add_holds(base).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 1: no such setting here; there are hold"
        );
    }
}
