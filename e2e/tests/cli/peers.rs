//! `peer`, and `start` with `--listen` and `--peer`.

use crate::world::{World, is_key, soon};
use hyperspace_e2e::server::Server;
use serde_json::{Value, json};

/// The one peer that is called.
fn the_peer(world: &World) -> Value {
    let list = world.json(&["peer", "list"]);
    assert_eq!(list.as_array().expect("a list").len(), 1, "{list}");
    list[0].clone()
}

fn connected(world: &World) {
    soon("a connection", || the_peer(world)["connected"] == true);
}

#[test]
fn peers_come_and_go() {
    let far = World::empty();
    let mut theirs = far.start(&["--json", "start", "--no-fuse", "--listen", "127.0.0.1:0"]);
    let facts: Value = serde_json::from_str(&theirs.wait_for_line("listening")).expect("JSON");
    let address = facts["listening"][0].as_str().expect("where it listens").to_owned();

    let near = World::empty();
    let server = Server::start(&near.scratch);
    assert_eq!(near.json(&["peer", "list"]), json!([]));
    assert!(near.ok(&["peer", "list"]).starts_with("No peers are called."));
    // Needs no root drive.
    let added = near.json(&["peer", "add", &address]);
    assert_eq!((&added["address"], &added["remember"]), (&json!(address), &json!(true)));
    connected(&near);
    let peer = the_peer(&near);
    assert!(is_key(&peer["remotePublicKey"]) && peer["error"].is_null(), "{peer}");
    assert!(near.ok(&["peer", "list"]).starts_with(&format!("{address}: connected with ")));

    assert!(server.stop().success());
    let server = Server::start(&near.scratch);
    connected(&near);
    assert_eq!(near.ok(&["peer", "add", "--once", &address]).matches("until it stops").count(), 1);
    assert_eq!(the_peer(&near)["remember"], false);
    assert!(server.stop().success());
    let _server = Server::start(&near.scratch);
    assert_eq!(near.json(&["peer", "list"]), json!([]), "it was added for once");

    near.ok(&["peer", "add", &address]);
    connected(&near);
    assert!(theirs.stop().success());
    soon("the end of a connection", || the_peer(&near)["connected"] == false);
    soon("the reason", || the_peer(&near)["error"].is_string());
    assert_eq!(near.json(&["peer", "remove", &address]), json!({ "removed": address }));
    assert_eq!(near.json(&["peer", "list"]), json!([]));
    near.refused(&["peer", "remove", &address], 2, "USAGE", "No peer is called at");
    near.refused(&["peer", "add", "nowhere"], 2, "USAGE", "is no address of a peer");
}

#[test]
fn start_calls_peers_whoever_runs_the_server() {
    let far = World::empty();
    let mut theirs = far.start(&["--json", "start", "--no-fuse", "--listen", "127.0.0.1:0"]);
    let facts: Value = serde_json::from_str(&theirs.wait_for_line("listening")).expect("JSON");
    let address = facts["listening"][0].as_str().expect("where it listens").to_owned();
    // Its own server.
    let near = World::empty();
    let mut service = near.start(&["start", "--no-fuse", "--peer", &address]);
    service.wait_for_line("is running");
    connected(&near);
    assert_eq!(the_peer(&near)["remember"], false);
    assert!(service.stop().success());
    // One that was there before, and remembers the peer by itself.
    let _server = Server::start(&near.scratch);
    near.ok(&["peer", "add", &address]);
    let mut service = near.start(&["start", "--no-fuse", "--peer", &address, "--listen", "127.0.0.1:0"]);
    service.wait_for_line("is running");
    service.wait_for_line("--listen is not used");
    connected(&near);
    assert_eq!(the_peer(&near)["remember"], true);
    assert!(service.stop().success());
    assert!(theirs.stop().success());
    let wrong = near.run(&["start", "--no-fuse", "--peer", "nowhere"]);
    assert_eq!(wrong.status.code(), Some(2));
}
