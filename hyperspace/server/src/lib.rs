//! The Hyperspace server: hypercores in one place, served over HRPC.
