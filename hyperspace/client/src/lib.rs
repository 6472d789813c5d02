//! RemoteCorestore, RemoteHypercore and RemoteNetworker over HRPC.
