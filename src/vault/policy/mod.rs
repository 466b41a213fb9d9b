//! Who may do what, and how often.
//!
//! An [`AccessPolicy`] names actors, grants them operations, and gives them budgets. The gate asks
//! it before the store is touched. It is read from a file with the feature `policy`, or built.
#![forbid(unsafe_code)]

mod budget;
mod fault;
#[cfg(feature = "policy")]
mod file;
mod gate;
mod refusal;

use std::collections::BTreeMap;

pub use self::budget::{Budget, MAX_BUDGET_SECONDS, Spent};
pub use self::fault::PolicyFault;
#[cfg(feature = "policy")]
pub use self::file::{MAX_POLICY_LEN, PolicyError};
pub(super) use self::gate::{Admitted, Gate};
pub use self::refusal::{PolicyReason, PolicyRefusal};
use super::access::{Access, Operation, is_plain};
use crate::keys::Domain;

/// The most actors of a policy.
pub const MAX_POLICY_ACTORS: usize = 10_000;

/// Who may do what: everything that it does not grant is refused.
///
/// ```
/// use cardvault::vault::{AccessPolicy, Budget, Grant, Operation};
///
/// let mut policy = AccessPolicy::new();
/// policy.grant("refund-desk", Grant::new(&[Operation::Find, Operation::Masked])?)?;
/// let disputes = Grant::new(&[Operation::Detokenize])?
///     .in_domains(&["shop-1".parse()?])?
///     .for_purposes(&["chargeback *"])?;
/// policy.grant("refund-desk", disputes)?;
/// policy.budget("refund-desk", Operation::Detokenize, Budget::new(500, 24 * 60 * 60)?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessPolicy {
    actors: BTreeMap<String, Rules>,
    hides_existing: bool,
}

/// What one actor may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rules {
    grants: Vec<Grant>,
    budgets: Vec<(Operation, Budget)>,
}

impl AccessPolicy {
    /// A policy that grants nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Grants this to an actor, besides what it is granted already.
    ///
    /// # Errors
    /// [`PolicyFault::Actor`] if it is no actor's name, [`PolicyFault::TooManyActors`].
    pub fn grant(&mut self, actor: &str, grant: Grant) -> Result<(), PolicyFault> {
        self.rules(actor)?.grants.push(grant);
        Ok(())
    }

    /// Gives an actor a budget: so many of this operation in any stretch of its time. Tries count,
    /// whatever they find. Without a budget a granted operation is unlimited.
    ///
    /// # Errors
    /// [`PolicyFault::BudgetWithoutGrant`] if none of the actor's grants is of this operation,
    /// [`PolicyFault::BudgetTwice`] if it has one.
    pub fn budget(
        &mut self,
        actor: &str,
        operation: Operation,
        budget: Budget,
    ) -> Result<(), PolicyFault> {
        let rules = self.rules(actor)?;
        let granted = |grant: &Grant| grant.operations.contains(&operation);
        if !rules.grants.iter().any(granted) {
            return Err(PolicyFault::BudgetWithoutGrant);
        }
        if rules.budget_of(operation).is_some() {
            return Err(PolicyFault::BudgetTwice);
        }
        rules.budgets.push((operation, budget));
        Ok(())
    }

    /// Whether tokenizing says of a card that the domain knew it. Who may tokenize otherwise can
    /// try out card numbers: see [`Tokenized::existing`](super::Tokenized::existing).
    pub const fn hide_existing(&mut self, hidden: bool) {
        self.hides_existing = hidden;
    }

    /// See [`AccessPolicy::hide_existing`].
    #[must_use]
    pub const fn hides_existing(&self) -> bool {
        self.hides_existing
    }

    /// The actors that are named, in the order of their names.
    pub fn actors(&self) -> impl Iterator<Item = &str> {
        self.actors.keys().map(String::as_str)
    }

    /// What an actor is granted.
    #[must_use]
    pub fn grants(&self, actor: &str) -> &[Grant] {
        self.actors
            .get(actor)
            .map_or(&[], |rules| rules.grants.as_slice())
    }

    /// An actor's budget for an operation.
    #[must_use]
    pub fn budget_of(&self, actor: &str, operation: Operation) -> Option<Budget> {
        self.actors.get(actor)?.budget_of(operation)
    }

    /// Whether this is granted, budgets left aside; no domain: in all of them.
    #[must_use]
    pub fn allows(&self, access: &Access, operation: Operation, domain: Option<&Domain>) -> bool {
        self.grants(access.actor())
            .iter()
            .any(|grant| grant.covers(access, operation, domain))
    }

    fn rules(&mut self, actor: &str) -> Result<&mut Rules, PolicyFault> {
        if !is_plain(actor) {
            return Err(PolicyFault::Actor);
        }
        if self.actors.len() >= MAX_POLICY_ACTORS && !self.actors.contains_key(actor) {
            return Err(PolicyFault::TooManyActors);
        }
        Ok(self.actors.entry(actor.to_owned()).or_default())
    }
}

impl Rules {
    fn budget_of(&self, operation: Operation) -> Option<Budget> {
        let mut budgets = self.budgets.iter();
        let budget = budgets.find(|(of, _)| *of == operation);
        budget.map(|(_, budget)| *budget)
    }
}

/// Operations that are granted together: in all domains and for all purposes, or in some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    operations: Vec<Operation>,
    /// None: all.
    domains: Vec<Domain>,
    /// None: all.
    purposes: Vec<String>,
}

impl Grant {
    /// These operations, in all domains and for all purposes.
    ///
    /// # Errors
    /// [`PolicyFault::Empty`] if there are none.
    pub fn new(operations: &[Operation]) -> Result<Self, PolicyFault> {
        Ok(Self {
            operations: some(operations)?,
            domains: Vec::new(),
            purposes: Vec::new(),
        })
    }

    /// Only in these domains; what is done to all domains at once is then not granted.
    ///
    /// # Errors
    /// [`PolicyFault::Empty`] if there are none.
    pub fn in_domains(self, domains: &[Domain]) -> Result<Self, PolicyFault> {
        let domains = some(domains)?;
        Ok(Self { domains, ..self })
    }

    /// Only for these purposes. A star at the end stands for any rest.
    ///
    /// # Errors
    /// [`PolicyFault::Empty`] if there are none, [`PolicyFault::Purpose`] if one is no purpose.
    pub fn for_purposes(self, purposes: &[&str]) -> Result<Self, PolicyFault> {
        if !purposes.iter().all(|purpose| is_plain(purpose)) {
            return Err(PolicyFault::Purpose);
        }
        let purposes = some(purposes)?;
        let purposes = purposes.into_iter().map(str::to_owned).collect();
        Ok(Self { purposes, ..self })
    }

    /// What is granted.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// In which domains; none: in all.
    #[must_use]
    pub fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// For which purposes; none: for all.
    pub fn purposes(&self) -> impl Iterator<Item = &str> {
        self.purposes.iter().map(String::as_str)
    }

    fn covers(&self, access: &Access, operation: Operation, domain: Option<&Domain>) -> bool {
        let domains = &self.domains;
        let in_domain = || domain.is_some_and(|domain| domains.contains(domain));
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => access.purpose().starts_with(start),
            None => access.purpose() == pattern,
        };
        self.operations.contains(&operation)
            && (domains.is_empty() || in_domain())
            && (self.purposes.is_empty() || self.purposes.iter().any(fits))
    }
}

fn some<T: Clone>(items: &[T]) -> Result<Vec<T>, PolicyFault> {
    if items.is_empty() {
        return Err(PolicyFault::Empty);
    }
    Ok(items.to_vec())
}
