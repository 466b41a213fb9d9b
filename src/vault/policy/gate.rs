//! What each access passes before the store is touched.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use super::budget::{Spent, Used};
use super::{AccessPolicy, PolicyRefusal};
use crate::keys::Domain;
use crate::time::UnixSeconds;
use crate::vault::access::{Access, Operation};
use crate::vault::error::VaultError;

/// The policy in force, if any, and what was used of its budgets in this process.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<Option<InForce>>);

#[derive(Debug)]
struct InForce {
    policy: AccessPolicy,
    /// By actor, each by operation: those that have a budget.
    used: BTreeMap<String, Vec<(Operation, Used)>>,
}

/// How many of those that were asked for are granted, the first ones; and why not the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) count: usize,
    pub(crate) refusal: Option<PolicyRefusal>,
}

impl Gate {
    /// Asks for `count` of an operation; what is granted counts, whatever comes of it.
    pub(crate) fn ask(
        &self,
        access: &Access,
        operation: Operation,
        domain: Option<&Domain>,
        count: usize,
        now: UnixSeconds,
    ) -> Result<Admitted, VaultError> {
        let mut force = self.0.lock().map_err(|_| VaultError::Broken)?;
        let granted = Admitted {
            count,
            refusal: None,
        };
        let Some(InForce { policy, used }) = &mut *force else {
            return Ok(granted);
        };
        if !policy.allows(access, operation, domain) {
            return Ok(Admitted {
                count: 0,
                refusal: Some(PolicyRefusal::NotGranted),
            });
        }
        let Some(used) = budget_of(used, access.actor(), operation) else {
            return Ok(granted);
        };
        let (count, renews) = used.ask(count, now);
        Ok(Admitted {
            count,
            refusal: renews.map(|renews| PolicyRefusal::BudgetUsedUp { renews }),
        })
    }

    /// Asks for `count` of an operation in these domains together: all, or nothing that counts.
    pub(crate) fn ask_whole(
        &self,
        access: &Access,
        operation: Operation,
        domains: &BTreeSet<Domain>,
        count: usize,
        now: UnixSeconds,
    ) -> Result<(), VaultError> {
        let mut force = self.0.lock().map_err(|_| VaultError::Broken)?;
        let Some(InForce { policy, used }) = &mut *force else {
            return Ok(());
        };
        let allows = |domain| policy.allows(access, operation, Some(domain));
        if !domains.iter().all(allows) {
            return Err(PolicyRefusal::NotGranted.into());
        }
        match budget_of(used, access.actor(), operation) {
            None => Ok(()),
            Some(used) => used
                .ask_whole(count, now)
                .map_err(|renews| PolicyRefusal::BudgetUsedUp { renews }.into()),
        }
    }

    /// Puts a policy in force. What was used of the one before it counts on, and so does `spent`.
    pub(crate) fn set(
        &self,
        policy: AccessPolicy,
        spent: &[Spent],
        now: UnixSeconds,
    ) -> Result<(), VaultError> {
        let mut force = self.0.lock().map_err(|_| VaultError::Broken)?;
        let mut before = force.take().map(|force| force.used).unwrap_or_default();
        let mut used = BTreeMap::new();
        for (actor, rules) in &policy.actors {
            let mut before = before.remove(actor).unwrap_or_default();
            let budgets = rules.budgets.iter().map(|&(operation, budget)| {
                let place = before.iter().position(|(of, _)| *of == operation);
                let used = place.map(|place| before.swap_remove(place).1.under(budget));
                (operation, used.unwrap_or_else(|| Used::new(budget)))
            });
            used.insert(actor.clone(), budgets.collect::<Vec<_>>());
        }
        for spent in spent {
            if let Some(used) = budget_of(&mut used, &spent.actor, spent.operation) {
                // What a clock that was ahead wrote counts from now on.
                used.add(spent.time.min(now), spent.count);
            }
        }
        *force = Some(InForce { policy, used });
        Ok(())
    }

    /// What was used of the budgets, as far back as it counts.
    pub(crate) fn spent(&self) -> Result<Vec<Spent>, VaultError> {
        let force = self.0.lock().map_err(|_| VaultError::Broken)?;
        let mut spent = Vec::new();
        for (actor, used) in force.iter().flat_map(|force| &force.used) {
            for (operation, used) in used {
                spent.extend(used.spent().map(|(time, count)| Spent {
                    actor: actor.clone(),
                    operation: *operation,
                    time,
                    count,
                }));
            }
        }
        Ok(spent)
    }

    pub(crate) fn hides_existing(&self) -> Result<bool, VaultError> {
        let force = self.0.lock().map_err(|_| VaultError::Broken)?;
        Ok(force
            .as_ref()
            .is_some_and(|force| force.policy.hides_existing))
    }
}

/// What was used of an actor's budget for an operation, if there is one.
fn budget_of<'u>(
    used: &'u mut BTreeMap<String, Vec<(Operation, Used)>>,
    actor: &str,
    operation: Operation,
) -> Option<&'u mut Used> {
    let mut budgets = used.get_mut(actor)?.iter_mut();
    budgets
        .find(|(of, _)| *of == operation)
        .map(|(_, used)| used)
}
