//! The UDP ports of a process, as the kernel knows them.

use std::collections::HashMap;
use std::io;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port {
    pub port: u16,
    /// Bytes that wait to be taken, with what keeping them costs.
    pub waiting: u64,
    /// Datagrams that were thrown away, since too many waited.
    pub dropped: u64,
}

fn sockets_of(pid: u32) -> io::Result<Vec<u64>> {
    let mut inodes = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        // It may have been closed meanwhile.
        let Ok(link) = std::fs::read_link(entry?.path()) else { continue };
        let link = link.to_string_lossy();
        let inode = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inodes.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
    }
    Ok(inodes)
}

/// A line of the kernel's table: the inode, and the port.
fn read_line(line: &str) -> Option<(u64, Port)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let port = u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()?;
    let waiting = hex(fields.get(4)?.rsplit(':').next()?)?;
    let inode = fields.get(9)?.parse().ok()?;
    let dropped = fields.get(12)?.parse().ok()?;
    Some((inode, Port { port, waiting, dropped }))
}

/// All of its ports.
pub(super) fn of(pid: u32) -> io::Result<Vec<Port>> {
    let table = std::fs::read_to_string("/proc/self/net/udp")?;
    let all: HashMap<u64, Port> = table.lines().skip(1).filter_map(read_line).collect();
    Ok(sockets_of(pid)?.iter().filter_map(|inode| all.get(inode).copied()).collect())
}

/// Those of the ports that there still are, as they are now.
pub(super) fn now(ports: &[u16]) -> io::Result<Vec<Port>> {
    let table = std::fs::read_to_string("/proc/self/net/udp")?;
    let all: HashMap<u16, Port> =
        table.lines().skip(1).filter_map(read_line).map(|(_, port)| (port.port, port)).collect();
    Ok(ports.iter().filter_map(|port| all.get(port).copied()).collect())
}
