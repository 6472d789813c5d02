//! Relays: npm's and ours, and ends of both kinds that meet there.

use crate::npm::Npm;
use crate::soon;
use hyperspace_e2e::told::hex;
use hyperswarm::blind_relay::{Client, Limits, Server};
use hyperswarm::hyperdht::{DialOptions, Endpoint, ListenOptions, Options as DhtOptions};
use hyperswarm::udx::Config;
use hyperswarm::{KeyPair, Options};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddrV4};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn endpoint(bootstrap: SocketAddrV4) -> Endpoint {
    let options = DhtOptions {
        bootstrap: vec![bootstrap.into()],
        host: Ipv4Addr::LOCALHOST,
        port: 0,
        ..DhtOptions::default()
    };
    let endpoint = Endpoint::bind(options).await.expect("sockets");
    assert!(soon(endpoint.ready()).await);
    endpoint
}

/// Relays for whoever dials that key.
async fn serve(endpoint: &Endpoint, pair: &KeyPair) -> Server {
    let relay = Server::new(endpoint.udx().clone(), Limits::default());
    let mut server = endpoint.listen(pair, ListenOptions::default()).await.expect("nobody else has it");
    soon(server.announced()).await;
    let serving = relay.clone();
    tokio::spawn(async move {
        while let Some(dialed) = server.accept().await {
            let (relay, address) = (serving.clone(), dialed.remote_address.ip());
            tokio::spawn(async move {
                let connection = dialed.connect(Options::default()).await.expect("it opens");
                relay.serve(connection, Some(address)).await;
            });
        }
    });
    relay
}

/// Meets another end at a relay, says something to it, and gives what it says.
async fn meet(endpoint: &Endpoint, relay: &[u8; 32], initiator: bool, token: [u8; 32], say: &str) -> String {
    let pair = KeyPair::generate().expect("random numbers");
    let dialed = endpoint.dial(relay, DialOptions::new(&pair)).await.expect("the relay is there");
    let address = dialed.remote_address;
    let connection = dialed.connect(Options::default()).await.expect("it opens");
    let mut client = Client::new(connection).expect("it is open");
    let mut stream = endpoint.udx().stream(Config::default()).expect("random numbers");
    let number = client.pair(initiator, token, stream.id()).await.expect("the other end comes");
    let local = "127.0.0.1:0".parse().expect("an address");
    let (socket, _) = endpoint.udx().bind(local).expect("a socket");
    stream.connect(&socket, number, address);
    stream.write_all(say.as_bytes()).await.expect("it goes");
    let mut heard = Vec::new();
    while heard.last() != Some(&b'.') {
        heard.push(stream.read_u8().await.expect("it comes"));
    }
    // What we have said has arrived as well.
    stream.acknowledged().await.expect("it arrives");
    String::from_utf8(heard).expect("text")
}

async fn npm_meets(npm: &mut Npm, relay: &[u8; 32], initiator: bool, token: [u8; 32], say: &str) -> String {
    let command = json!({
        "do": "meet", "key": hex(relay), "initiator": initiator, "token": hex(&token), "say": say,
    });
    npm.ask(command).await.as_str().expect("text").to_owned()
}

/// Ends of all kinds meet at that relay.
async fn all_meet(relay: [u8; 32], ours: &[Endpoint; 2], npm: &mut [Npm; 2]) {
    let (here, there) = ("from the initiator.", "from the other.");
    let expected = (there.to_owned(), here.to_owned());
    let [first, second] = npm;
    let [one, other] = ours;
    let token = [1; 32];
    let both = async {
        tokio::join!(meet(one, &relay, true, token, here), meet(other, &relay, false, token, there))
    };
    assert_eq!(soon(both).await, expected);
    let token = [2; 32];
    let both = async {
        tokio::join!(meet(one, &relay, true, token, here), npm_meets(first, &relay, false, token, there))
    };
    assert_eq!(soon(both).await, expected);
    let token = [3; 32];
    let both = async {
        tokio::join!(npm_meets(first, &relay, true, token, here), meet(one, &relay, false, token, there))
    };
    assert_eq!(soon(both).await, expected);
    let token = [4; 32];
    let both = async {
        tokio::join!(
            npm_meets(first, &relay, true, token, here),
            npm_meets(second, &relay, false, token, there)
        )
    };
    assert_eq!(soon(both).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_meet_at_a_relay_of_npm() {
    let network = Npm::network().await;
    let mut relay = Npm::relay(&network).await;
    let mut npm = [Npm::relay(&network).await, Npm::relay(&network).await];
    let pair = KeyPair::from_seed(&[9; 32]);
    let key = relay.ask(json!({ "do": "serve", "seed": hex(pair.seed()) })).await;
    assert_eq!(key, hex(&pair.public_key()));
    let ours = [endpoint(network.bootstrap).await, endpoint(network.bootstrap).await];
    all_meet(pair.public_key(), &ours, &mut npm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_meet_at_a_relay_of_ours() {
    let network = Npm::network().await;
    let mut npm = [Npm::relay(&network).await, Npm::relay(&network).await];
    let pair = KeyPair::from_seed(&[9; 32]);
    let at = endpoint(network.bootstrap).await;
    let relay = serve(&at, &pair).await;
    let ours = [endpoint(network.bootstrap).await, endpoint(network.bootstrap).await];
    all_meet(pair.public_key(), &ours, &mut npm).await;
    let stats = relay.stats();
    assert_eq!((stats.made, stats.waiting, stats.refused), (4, 0, 0));
}
