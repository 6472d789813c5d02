//! The network of Hypercores.
#![forbid(unsafe_code)]
