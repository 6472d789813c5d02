//! A filesystem in signed logs: hyperdrive 10 tries, content, mounts, history.
