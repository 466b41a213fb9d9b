//! The bar on a terminal.
#![forbid(unsafe_code)]

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Bytes,
    Rows,
}

/// A bar, or a spinner if the end is not known; on a terminal alone, and not if `quiet`.
pub(crate) fn progress(
    total: Option<u64>,
    unit: Unit,
    doing: &'static str,
    quiet: bool,
) -> ProgressBar {
    // This target draws on a terminal alone.
    let target = if quiet {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let template = match (total, unit) {
        (Some(_), Unit::Bytes) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        (Some(_), Unit::Rows) => "{msg} {wide_bar} {human_pos}/{human_len} rows {eta}",
        (None, Unit::Bytes) => "{msg} {spinner} {bytes} {bytes_per_sec}",
        (None, Unit::Rows) => "{msg} {spinner} {human_pos} rows",
    };
    let bar = ProgressBar::with_draw_target(total, target).with_message(doing);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
