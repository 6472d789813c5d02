//! Tests of the formats.

mod vectors;
