//! A policy's file, in TOML. What it says stands in the manual's page on access.
#![forbid(unsafe_code)]

use core::fmt;
use core::ops::Range;

use toml::de::{DeTable, DeValue};

use super::{AccessPolicy, Budget, Grant, PolicyFault};
use crate::keys::Domain;
use crate::vault::access::{Operation, is_plain};

/// The longest policy, in bytes.
pub const MAX_POLICY_LEN: usize = 1 << 20;

/// What is wrong with a policy's file, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub fault: PolicyFault,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.fault)
    }
}

impl core::error::Error for PolicyError {}

type Value<'t> = toml::Spanned<DeValue<'t>>;
type Read<T> = Result<T, (Range<usize>, PolicyFault)>;

impl AccessPolicy {
    /// Reads a policy.
    ///
    /// ```
    /// use cardvault::vault::AccessPolicy;
    ///
    /// let policy = AccessPolicy::from_toml(r#"
    ///     [[actor]]
    ///     name = "refund-desk"
    ///     grants = [
    ///         { may = ["find", "masked"] },
    ///         { may = ["detokenize"], domains = ["shop-1"], purposes = ["chargeback *"] },
    ///     ]
    ///     budgets = { detokenize = "500 per day", find = "20 per minute" }
    /// "#)?;
    /// # assert_eq!(policy.actors().count(), 1);
    /// # Ok::<(), cardvault::vault::PolicyError>(())
    /// ```
    ///
    /// # Errors
    /// [`PolicyError`] with the line and what to write there.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        read(text).map_err(|(place, fault)| {
            let before = text.as_bytes().iter().take(place.start);
            PolicyError {
                line: 1 + before.filter(|byte| **byte == b'\n').count(),
                fault,
            }
        })
    }
}

fn read(text: &str) -> Read<AccessPolicy> {
    if text.len() > MAX_POLICY_LEN {
        let most = MAX_POLICY_LEN;
        return Err((0..0, PolicyFault::TooLong { most }));
    }
    let file = DeTable::parse(text).map_err(|error| {
        let fault = if error.message().starts_with("duplicate key") {
            PolicyFault::FieldTwice
        } else {
            PolicyFault::Syntax
        };
        (error.span().unwrap_or_default(), fault)
    })?;
    let file = file.get_ref();
    check_fields(file, &["existing", "actor"], "existing and actor")?;
    let mut policy = AccessPolicy::new();
    if let Some(existing) = file.get("existing") {
        policy.hide_existing(match existing.get_ref().as_str() {
            Some("told") => false,
            Some("hidden") => true,
            _ => return wanted(existing, "\"told\" or \"hidden\""),
        });
    }
    let actors = match file.get("actor") {
        Some(actors) => list(actors, "[[actor]], once for each")?,
        None => &[],
    };
    for actor in actors {
        read_actor(&mut policy, actor)?;
    }
    Ok(policy)
}

fn read_actor(policy: &mut AccessPolicy, actor: &Value<'_>) -> Read<()> {
    let fields = table(actor, "[[actor]], once for each")?;
    check_fields(
        fields,
        &["name", "grants", "budgets"],
        "name, grants and budgets",
    )?;
    let named = field(actor, fields, "name")?;
    let name = text(named)?;
    if policy.actors().any(|known| known == name) {
        return Err((named.span(), PolicyFault::ActorTwice));
    }
    let grants = field(actor, fields, "grants")?;
    let listed = list(grants, GRANTS)?;
    if listed.is_empty() {
        return Err((grants.span(), PolicyFault::Empty));
    }
    for grant in listed {
        let granted = read_grant(grant)?;
        let place = named.span();
        policy
            .grant(name, granted)
            .map_err(|fault| (place, fault))?;
    }
    let Some(budgets) = fields.get("budgets") else {
        return Ok(());
    };
    let budgets = table(budgets, "{ find = \"20 per minute\" }, for instance")?;
    for (of, budget) in budgets {
        let operation = operation_of(of.get_ref());
        let operation = operation.ok_or((of.span(), PolicyFault::UnknownOperation))?;
        let most = text(budget)?.parse::<Budget>();
        let most = most.map_err(|fault| (budget.span(), fault))?;
        policy
            .budget(name, operation, most)
            .map_err(|fault| (of.span(), fault))?;
    }
    Ok(())
}

const GRANTS: &str = "[{ may = [\"find\"] }], for instance";

fn read_grant(grant: &Value<'_>) -> Read<Grant> {
    let fields = table(grant, GRANTS)?;
    check_fields(
        fields,
        &["may", "domains", "purposes"],
        "may, domains and purposes",
    )?;
    let may = field(grant, fields, "may")?;
    let mut operations = Vec::new();
    for item in list(may, "[\"find\", \"masked\"], for instance")? {
        let name = text(item)?;
        match (name, operation_of(name)) {
            ("keys", _) => operations.extend(Operation::KEYS),
            (_, Some(operation)) => operations.push(operation),
            _ => return Err((item.span(), PolicyFault::UnknownOperation)),
        }
    }
    let mut granted = Grant::new(&operations).map_err(|fault| (may.span(), fault))?;
    if let Some(value) = fields.get("domains") {
        let domains = list(value, "[\"shop-1\"], for instance")?;
        let domains = domains.iter().map(|domain| {
            let parsed = text(domain)?.parse::<Domain>();
            parsed.map_err(|error| (domain.span(), PolicyFault::Domain(error)))
        });
        let domains: Vec<_> = domains.collect::<Result<_, _>>()?;
        granted = granted
            .in_domains(&domains)
            .map_err(|fault| (value.span(), fault))?;
    }
    if let Some(value) = fields.get("purposes") {
        let purposes = list(value, "[\"refund *\"], for instance")?;
        let purposes = purposes.iter().map(|purpose| {
            let pattern = text(purpose)?;
            if is_plain(pattern) {
                Ok(pattern)
            } else {
                Err((purpose.span(), PolicyFault::Purpose))
            }
        });
        let purposes: Vec<_> = purposes.collect::<Result<_, _>>()?;
        granted = granted
            .for_purposes(&purposes)
            .map_err(|fault| (value.span(), fault))?;
    }
    Ok(granted)
}

fn operation_of(name: &str) -> Option<Operation> {
    Operation::ALL
        .into_iter()
        .find(|operation| operation.as_str() == name)
}

fn check_fields(fields: &DeTable<'_>, known: &[&str], text: &'static str) -> Read<()> {
    let unknown = fields
        .keys()
        .find(|name| !known.contains(&name.get_ref().as_ref()));
    match unknown {
        Some(name) => Err((name.span(), PolicyFault::UnknownField { known: text })),
        None => Ok(()),
    }
}

fn field<'a, 't>(
    of: &Value<'_>,
    fields: &'a DeTable<'t>,
    name: &'static str,
) -> Read<&'a Value<'t>> {
    fields
        .get(name)
        .ok_or_else(|| (of.span(), PolicyFault::MissingField { name }))
}

fn wanted<T>(value: &Value<'_>, wanted: &'static str) -> Read<T> {
    Err((value.span(), PolicyFault::Kind { wanted }))
}

fn table<'a, 't>(value: &'a Value<'t>, kind: &'static str) -> Read<&'a DeTable<'t>> {
    match value.get_ref().as_table() {
        Some(table) => Ok(table),
        None => wanted(value, kind),
    }
}

fn list<'a, 't>(value: &'a Value<'t>, kind: &'static str) -> Read<&'a [Value<'t>]> {
    match value.get_ref().as_array() {
        Some(list) => Ok(list),
        None => wanted(value, kind),
    }
}

fn text<'a>(value: &'a Value<'_>) -> Read<&'a str> {
    match value.get_ref().as_str() {
        Some(text) => Ok(text),
        None => wanted(value, "a text in double quotes"),
    }
}
