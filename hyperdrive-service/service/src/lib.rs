//! The Hyperdrive service: root drive, mounts, seeding, import, export, stats.
