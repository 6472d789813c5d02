//! Hyperdrives as a mounted filesystem.
