//! `policy`: what a policy's file says; and the file that a vault's folder has.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use cardvault::UnixSeconds;
use cardvault::audit::recent_events;
use cardvault::vault::{AccessPolicy, Grant, Operation, Spent};
use clap::{Args, Subcommand};
use sha2::{Digest, Sha256};

use crate::desk::grid::Grid;
use crate::failure::{Exit, Failure, Outcome};
use crate::folder::FolderVault;
use crate::who::of_host;

/// The policy of a vault's folder. Without one, everything is granted.
pub(crate) const POLICY_FILE: &str = "policy.toml";

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Read a policy, and show who may do what
    Check(Check),
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The policy, or the folder of a vault that has one
    file: PathBuf,
}

pub(crate) fn run(command: &Policy) -> Outcome<Exit> {
    let Policy::Check(args) = command;
    let mut path = args.file.clone();
    if path.is_dir() {
        path.push(POLICY_FILE);
    }
    let (policy, _) = read(&path)?.ok_or_else(|| {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        Failure::at(&path)(missing)
            .hint("without a policy everything is granted; the manual has one by example")
    })?;
    let mut rows = Vec::new();
    for actor in policy.actors() {
        let grants = policy.grants(actor).iter();
        rows.extend(grants.map(|grant| row(&policy, actor, grant)));
    }
    let mut grid = Grid::new(["ACTOR", "MAY", "DOMAINS", "PURPOSES"]);
    grid.rows(&rows)?;
    if rows.is_empty() {
        crate::show("nobody may do anything\n")?;
    }
    crate::show(if policy.hides_existing() {
        "tokenize does not say whether a card was known\n"
    } else {
        "tokenize says whether a card was known\n"
    })?;
    Ok(Exit::Done)
}

fn row(policy: &AccessPolicy, actor: &str, grant: &Grant) -> [String; 4] {
    let operations = grant.operations().iter();
    let operations = operations.map(|&operation| match policy.budget_of(actor, operation) {
        Some(budget) => format!("{} ({budget})", operation.as_str()),
        None => operation.as_str().to_owned(),
    });
    let or_all = |names: Vec<String>| match names.is_empty() {
        true => "all".to_owned(),
        false => names.join(", "),
    };
    [
        actor.to_owned(),
        operations.collect::<Vec<_>>().join(", "),
        or_all(grant.domains().iter().map(ToString::to_string).collect()),
        or_all(grant.purposes().map(str::to_owned).collect()),
    ]
}

/// A policy's file and its digest, if it is there.
fn read(path: &Path) -> Outcome<Option<(AccessPolicy, String)>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::at(path)(error)),
    };
    let policy = AccessPolicy::from_toml(&text)
        .map_err(|error| Failure::files(path.display().to_string(), error))?;
    // In groups: no run of digits looks like a card number.
    let digest = Sha256::digest(text.as_bytes());
    let pairs = digest.iter().take(16).collect::<Vec<_>>();
    let groups = pairs
        .chunks(2)
        .map(|pair| pair.iter().map(|byte| format!("{byte:02x}")).collect());
    Ok(Some((policy, groups.collect::<Vec<String>>().join("."))))
}

/// Puts the folder's policy in force, if it has one: with what its access logs hold, since each
/// command is a process of its own.
pub(crate) fn enforce(
    folder: &Path,
    lines: &Path,
    audit: &Path,
    vault: &FolderVault,
) -> Outcome<()> {
    let path = folder.join(POLICY_FILE);
    let Some((policy, digest)) = read(&path)? else {
        return Ok(());
    };
    let mut used = Used::new(&policy, UnixSeconds::now());
    // Of a ring without an audit key.
    used.take_lines(lines).map_err(Failure::at(lines))?;
    let since = UnixSeconds(used.now.0.saturating_sub(2 * longest(&policy)));
    let recent = recent_events(audit, since, &mut |event| {
        if !matches!(
            event.refusal.as_deref(),
            Some("not-granted" | "budget-used-up")
        ) {
            used.take(&event.actor, &event.operation, event.time);
        }
    });
    recent.map_err(|error| Failure::audit(audit.display().to_string(), error))?;
    let mut spent = used.spent;
    spent.sort_by_key(|one| one.time);
    let access = of_host(&format!("{POLICY_FILE} {digest}"))?;
    vault
        .set_policy(&access, policy, &spent)
        .map_err(|error| Failure::vault(path.display().to_string(), error))
}

/// The seconds of the longest budget.
fn longest(policy: &AccessPolicy) -> u64 {
    let budgets = policy.actors().flat_map(|actor| {
        let of = |operation| policy.budget_of(actor, operation);
        Operation::ALL.into_iter().filter_map(of)
    });
    budgets
        .map(|budget| u64::from(budget.seconds()))
        .max()
        .unwrap_or(0)
}

/// What an access log says of a policy's budgets.
struct Used<'p> {
    policy: &'p AccessPolicy,
    now: UnixSeconds,
    spent: Vec<Spent>,
}

impl<'p> Used<'p> {
    const fn new(policy: &'p AccessPolicy, now: UnixSeconds) -> Self {
        Self {
            policy,
            now,
            spent: Vec::new(),
        }
    }

    /// Takes one access that the policy, if there was one, let pass.
    fn take(&mut self, actor: &str, operation: &str, time: UnixSeconds) {
        let mut operations = Operation::ALL.into_iter();
        let Some(operation) = operations.find(|known| known.as_str() == operation) else {
            return;
        };
        let Some(budget) = self.policy.budget_of(actor, operation) else {
            return;
        };
        // Twice the time: more than the slices of a budget reach back.
        if time.plus(2 * u64::from(budget.seconds())) < self.now {
            return;
        }
        match self.spent.last_mut() {
            Some(last)
                if (last.time, last.operation) == (time, operation) && last.actor == actor =>
            {
                last.count += 1;
            }
            _ => self.spent.push(Spent {
                actor: actor.to_owned(),
                operation,
                time,
                count: 1,
            }),
        }
    }

    /// Takes the lines of a file, if it is there.
    fn take_lines(&mut self, path: &Path) -> io::Result<()> {
        let log = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => BufReader::new(opened?),
        };
        for line in log.split(b'\n') {
            if let Ok(line) = str::from_utf8(&line?) {
                self.take_line(line);
            }
        }
        Ok(())
    }

    /// Takes a line, unless the policy refused it or it is no whole line.
    fn take_line(&mut self, line: &str) -> Option<()> {
        if line.ends_with(" refusal=not-granted") || line.ends_with(" refusal=budget-used-up") {
            return None;
        }
        let (time, rest) = line.strip_prefix("time=")?.split_once(' ')?;
        let (operation, rest) = rest.strip_prefix("operation=")?.split_once(' ')?;
        let (_, rest) = rest.strip_prefix("outcome=")?.split_once(' ')?;
        let mut quoted = rest.strip_prefix("actor=\"")?.chars();
        let mut actor = String::new();
        loop {
            match quoted.next()? {
                '"' => break,
                '\\' => actor.push(quoted.next()?),
                char => actor.push(char),
            }
        }
        self.take(&actor, operation, UnixSeconds(time.parse().ok()?));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_tells_what_was_used() {
        let policy = AccessPolicy::from_toml(
            r#"
            [[actor]]
            name = 'a "b" \'
            grants = [{ may = ["find", "delete"] }]
            budgets = { find = "2 per minute" }
            "#,
        );
        let actor = r#"actor="a \"b\" \\" purpose="x" origin="y" domain="shop""#;
        let lines = [
            format!("time=1000 operation=find outcome=granted {actor}"),
            format!("time=1000 operation=find outcome=refused {actor} token=cvt_x"),
            format!("time=1001 operation=find outcome=refused {actor} refusal=not-granted"),
            format!("time=1001 operation=find outcome=refused {actor} refusal=budget-used-up"),
            format!("time=1002 operation=delete outcome=granted {actor}"),
            format!("time=1003 operation=find outcome=granted {actor}"),
            format!("time=9 operation=find outcome=granted {actor}"),
            "time=1004 operation=find outcome=granted actor=\"a".to_owned(),
            String::new(),
        ];
        let policy = policy.unwrap();
        let mut used = Used::new(&policy, UnixSeconds(1010));
        for line in &lines {
            used.take_line(line);
        }
        let of = |time, count| Spent {
            actor: r#"a "b" \"#.to_owned(),
            operation: Operation::Find,
            time: UnixSeconds(time),
            count,
        };
        assert_eq!(used.spent, [of(1000, 2), of(1003, 1)]);
    }
}
