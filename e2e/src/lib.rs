//! End-to-end tests and benchmarks: real binaries, real mounts, real Node peers.
