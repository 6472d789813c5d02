//! Why a peer cannot be reached.

/// Why a dial came to nothing. The names are those of npm `hyperdht`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// No node knows the peer.
    #[error("the peer was not found")]
    PeerNotFound,
    /// There are nodes that know the peer, but none brought an answer of it.
    #[error("could not connect to the peer")]
    PeerConnectionFailed,
    /// No handshake with that key is possible.
    #[error("the handshake with the peer failed")]
    HandshakeInvalid,
    /// The peer speaks another version.
    #[error("the peer speaks another version of the protocol")]
    ServerIncompatible,
    /// The peer refused.
    #[error("the peer refused the connection")]
    ServerError,
    /// The peer cannot be reached, and does not say by whom it can be told to try.
    #[error("the peer is behind a firewall, and no node tells it of us")]
    CannotHolepunch,
    /// It was tried for long enough, or somebody else's turn.
    #[error("getting through the firewalls was given up")]
    HolepunchAborted,
    /// What the peer said about punching cannot be read.
    #[error("what the peer says about its firewall cannot be read")]
    HolepunchInvalid,
    /// One of us does not know how others see it.
    #[error("one side could not find out what its firewall does")]
    HolepunchProbeTimeout,
    /// Both of us are seen at another port by each.
    #[error("both sides are behind a NAT that uses another port for everybody")]
    DoubleRandomizedNats,
    /// The peer does not try.
    #[error("the peer does not try to get through the firewalls")]
    RemoteNotHolepunching,
    /// There is no way to try.
    #[error("there is no way through the firewalls")]
    RemoteNotHolepunchable,
    /// The peer has given up.
    #[error("the peer gave the connection up")]
    RemoteAborted,
    /// The third peer did not bring us together.
    #[error("the relay did not bring the peers together")]
    RelayAborted,
    /// The system gave no socket, or no random numbers.
    #[error("the system has no sockets or streams left")]
    NoResources,
    /// The node has been closed.
    #[error("the DHT node is closed")]
    Closed,
    /// The node is suspended.
    #[error("the DHT node is suspended")]
    Suspended,
}
