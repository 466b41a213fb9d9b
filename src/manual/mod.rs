//! Why it is as it is: formats, choices, figures and limits.
#![forbid(unsafe_code)]
