//! demo
use crate::args::Demo;
use crate::failure::{Exit, Outcome};
pub(crate) fn run(_args: &Demo) -> Outcome<Exit> { Ok(Exit::Done) }
