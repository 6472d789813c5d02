//! npm `@hyperspace/client` 1.18, unchanged, against our server: every method it has.

use hyperspace_e2e::node;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;

#[test]
fn every_method_of_the_npm_client() {
    let scratch = Scratch::new();
    let mut server = Server::start(&scratch);

    let over_tcp = Scratch::new();
    let mut tcp = Server::start_with(&over_tcp, &["--port", "0"]);
    let line = tcp.process().wait_for_line("Listening on");
    let port = line.rsplit(':').next().expect("an address with a port").trim().to_owned();

    node::test(&scratch, "client-surface.js", &[("HYPERSPACE_TCP_PORT", &port)]);
    let status = server.process().wait();
    assert!(status.success(), "stopped by its client, the server ended with {status}");
    assert!(!scratch.socket().exists(), "the socket is left behind");
    assert!(tcp.alive());
}
