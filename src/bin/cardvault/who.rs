//! Who asks, for what and from where: what goes to the audit log with each access.
#![forbid(unsafe_code)]

use std::{env, fs};

use cardvault::vault::Access;
use clap::Args;

use crate::failure::{Failure, Outcome};

/// Who asks and from where.
#[derive(Debug, Args)]
pub(crate) struct WhoArgs {
    /// Who asks; goes to the audit log [default: $USER]
    #[arg(long, value_name = "NAME", help_heading = "Access")]
    actor: Option<String>,
    /// From where: a host, an address, a terminal; goes to the audit log [default: this host's name]
    #[arg(long, value_name = "PLACE", help_heading = "Access")]
    origin: Option<String>,
}

impl WhoArgs {
    /// The access for this purpose.
    pub(crate) fn access(&self, purpose: &str) -> Outcome<Access> {
        let actor = match &self.actor {
            Some(actor) => actor.to_owned(),
            None => env::var("USER").map_err(|_| {
                Failure::usage("actor", "who asks?")
                    .hint("give --actor NAME: it goes to the audit log")
            })?,
        };
        let failed = |error| Failure::usage("access", error);
        if let Some(origin) = &self.origin {
            return Access::new(&actor, purpose, origin).map_err(failed);
        }
        // A host may have a name that no access takes.
        Access::new(&actor, purpose, host().trim())
            .or_else(|_| Access::new(&actor, purpose, "command"))
            .map_err(failed)
    }
}

/// Who asks, from where, and for what.
#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// For what; goes to the audit log
    #[arg(long, value_name = "TEXT", help_heading = "Access")]
    purpose: String,
}

impl AccessArgs {
    pub(crate) fn access(&self) -> Outcome<Access> {
        self.who.access(&self.purpose)
    }
}

/// The same for commands that look at card data only when a card is presented.
#[derive(Debug, Args)]
pub(crate) struct CardAccessArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// For what a card is presented or looked for; goes to the audit log
    #[arg(long, value_name = "TEXT", help_heading = "Access")]
    purpose: Option<String>,
}

impl CardAccessArgs {
    pub(crate) fn access(&self) -> Outcome<Access> {
        let purpose = self.purpose.as_ref().ok_or_else(|| {
            Failure::usage("purpose", "what is the card looked at for?")
                .hint("give --purpose TEXT: it goes to the audit log")
        })?;
        self.who.access(purpose)
    }
}

/// The same for commands that change keys, and so say for what.
#[derive(Debug, Args)]
pub(crate) struct KeyAccessArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// For what; goes to the audit log [default: what is done]
    #[arg(long, value_name = "TEXT", help_heading = "Access")]
    purpose: Option<String>,
}

impl KeyAccessArgs {
    pub(crate) fn access(&self, what: &str) -> Outcome<Access> {
        self.who.access(self.purpose.as_deref().unwrap_or(what))
    }
}

/// What the command does by itself, on behalf of whoever runs it.
pub(crate) fn of_host(purpose: &str) -> Outcome<Access> {
    let actor = env::var("USER").unwrap_or_else(|_| "command".to_owned());
    let who = WhoArgs {
        actor: Some(actor),
        origin: None,
    };
    who.access(purpose)
}

/// The host's name; empty if it cannot be found out.
fn host() -> String {
    let files = ["/proc/sys/kernel/hostname", "/etc/hostname"];
    let mut names = files.iter().map(fs::read_to_string);
    names.find_map(Result::ok).unwrap_or_default()
}
