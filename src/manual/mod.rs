//! Why it is as it is.
#![forbid(unsafe_code)]
