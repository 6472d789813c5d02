//! Where the server listens and keeps its data, unless told otherwise.

use std::env;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Names the socket when no name is given.
pub const SOCKET_VARIABLE: &str = "HYPERSPACE_SOCKET";

/// Where a server listens, or a client connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// TCP. There is no authentication: whoever can connect has all of the server.
    Tcp(SocketAddr),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}

/// The socket of that name, as every client of Hyperspace computes it:
/// `<temporary folder>/<name>.sock`, where the name is the one given, else that of
/// `HYPERSPACE_SOCKET`, else `hyperspace`.
pub fn socket_path(name: Option<&str>) -> PathBuf {
    let from_environment = env::var(SOCKET_VARIABLE).ok();
    let name = name.or(from_environment.as_deref()).filter(|name| !name.is_empty());
    // Node's os.tmpdir().
    let folder = ["TMPDIR", "TMP", "TEMP"].iter().find_map(|v| env::var(v).ok().filter(|v| !v.is_empty()));
    socket_in(folder.as_deref().unwrap_or("/tmp"), name.unwrap_or("hyperspace"))
}

fn socket_in(folder: &str, name: &str) -> PathBuf {
    let folder = if folder.len() > 1 { folder.strip_suffix('/').unwrap_or(folder) } else { folder };
    PathBuf::from(format!("{}/{name}.sock", if folder == "/" { "" } else { folder }))
}

/// `~/.hyperspace/storage`.
pub fn default_storage() -> PathBuf {
    env::home_dir().unwrap_or_default().join(".hyperspace/storage")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_where_node_looks() {
        for (folder, name, path) in [
            ("/tmp", "hyperspace", "/tmp/hyperspace.sock"),
            ("/tmp/", "x", "/tmp/x.sock"),
            ("/", "x", "/x.sock"),
            ("/run/user/1000", "a/b", "/run/user/1000/a/b.sock"),
        ] {
            assert_eq!(socket_in(folder, name), PathBuf::from(path));
        }
    }
}
