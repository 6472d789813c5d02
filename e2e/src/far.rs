//! Reading from far away: a large drive on one computer, and another at the other end of a
//! [long line](crate::link).

use crate::link::{Line, Link};
use crate::machine::{Machine, text};
use crate::random::Random;
use bytes::Bytes;
use hyperspace_client::{Endpoint, HyperspaceClient, NetworkEvent};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{iter, thread};
use tokio::runtime::Runtime;

/// Data that is far away is waited for so long.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Folders in each folder, files in the deepest ones.
const FOLDERS: usize = 5;
const FILES: usize = 16;
/// How deep these are.
const DEPTH: u32 = 5;
/// Bytes of the large file.
const GIANT: usize = 64 << 20;

/// Who has the drives.
#[derive(Debug)]
pub struct Giver {
    machine: Machine,
}

/// A drive, and what is read of it.
#[derive(Clone, Debug)]
pub struct Source {
    key: String,
    file: PathBuf,
    content: Bytes,
}

impl Default for Giver {
    fn default() -> Self {
        Self::new()
    }
}

impl Giver {
    /// A computer that has nothing yet, and calls nobody.
    pub fn new() -> Self {
        Self { machine: Machine::start(&[], TIMEOUT) }
    }

    /// Where it takes calls.
    pub fn address(&self) -> SocketAddr {
        self.machine.address()
    }

    /// A drive of 50,000 files, each five folders deep; one of them, somewhere in the middle.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn deep(&self) -> Source {
        let folder = self.machine.scratch().join("home/deep");
        let mut folders = vec![folder.clone()];
        for _ in 0..DEPTH {
            let below = |above: &PathBuf| (0..FOLDERS).map(|n| above.join(format!("folder-{n}"))).collect();
            folders = folders.iter().flat_map::<Vec<_>, _>(below).collect();
        }
        for (at, folder) in folders.iter().enumerate() {
            fs::create_dir_all(folder).expect("a folder");
            for n in 0..FILES {
                let content = format!("file {n} of folder {at}\n").repeat(50);
                fs::write(folder.join(format!("file-{n}.txt")), content).expect("a file");
            }
        }
        let file = folders[folders.len() * 2 / 3].join("file-7.txt");
        let content = fs::read(&file).expect("the file").into();
        let file = file.strip_prefix(&folder).expect("it is in the folder").to_owned();
        Source { key: self.import(&folder), file, content }
    }

    /// A drive of a small file and one of 64 MiB: these two.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn giant(&self) -> (Source, Source) {
        let folder = self.machine.scratch().join("home/large");
        fs::create_dir(&folder).expect("a folder");
        let contents = [("small", 1000), ("giant", GIANT)].map(|(name, size)| {
            let content = Random::new(11).bytes(size);
            fs::write(folder.join(name), &content).expect("a file");
            (PathBuf::from(name), Bytes::from(content))
        });
        let key = self.import(&folder);
        let [small, giant] = contents.map(|(file, content)| Source { key: key.clone(), file, content });
        (small, giant)
    }

    fn import(&self, folder: &Path) -> String {
        let made = self.machine.json(&["import", "--no-seed", text(folder)]);
        made["key"].as_str().expect("a key").to_owned()
    }
}

/// A computer at the other end of a line, which has never seen the drive that it has mounted.
#[derive(Debug)]
pub struct Reader {
    machine: Machine,
    link: Link,
    source: Source,
    drive: PathBuf,
    runtime: Runtime,
}

impl Reader {
    /// One that reads `source` from whoever is at `from`. It does not call yet.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn new(source: &Source, from: SocketAddr, line: Line) -> Self {
        let machine = Machine::start(&[], TIMEOUT);
        let drive = machine.mount_drive("theirs", &source.key);
        let runtime = Runtime::new().expect("a runtime");
        Self { machine, link: Link::new(from, line), source: source.clone(), drive, runtime }
    }

    /// Calls, and meanwhile reads the file's first byte: how long that takes from the moment
    /// at which the peer is connected.
    ///
    /// # Panics
    /// If it fails.
    pub fn first_byte(&self) -> Duration {
        let (address, file) = (self.link.address().to_string(), self.drive.join(&self.source.file));
        let (read, connected) = thread::scope(|threads| {
            let (calling, called) = std::sync::mpsc::channel();
            let reading = threads.spawn(move || {
                // Nobody can give it before the call.
                called.recv().expect("the call");
                let mut first = [0];
                let read = File::open(&file).and_then(|mut file| file.read_exact(&mut first));
                (Instant::now(), read.map(|()| first))
            });
            let connected = self.runtime.block_on(async {
                let socket = Endpoint::Unix(self.machine.scratch().socket());
                let client = HyperspaceClient::connect(socket).await.expect("a client");
                let mut events = client.network().events();
                client.network().add_peer(&address, false).await.expect("a call");
                calling.send(()).expect("the thread that reads");
                while !matches!(events.recv().await.expect("the server"), NetworkEvent::PeerAdd(_)) {}
                Instant::now()
            });
            (reading.join().expect("the thread that reads"), connected)
        });
        let (at, first) = read;
        assert_eq!(first.expect("the first byte")[..], self.source.content[..1]);
        at.saturating_duration_since(connected)
    }

    /// Reads a file of the same drive from its start to its end, and how long that takes.
    ///
    /// # Panics
    /// If it fails, or has another content.
    pub fn whole(&self, source: &Source) -> Duration {
        let began = Instant::now();
        let content = fs::read(self.drive.join(&source.file)).expect("the file");
        let took = began.elapsed();
        assert!(content == source.content, "the file has other bytes");
        took
    }

    /// Bytes that came and went on the line.
    pub fn carried(&self) -> u64 {
        self.link.carried()
    }
}

/// How long 64 MiB take over such a line by themselves, from the question to the last byte:
/// one TCP connection, which is there already.
///
/// # Panics
/// If there is no such connection.
pub fn plain(line: Line) -> Duration {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let link = Link::new(listener.local_addr().expect("its address"), line);
    thread::scope(|threads| {
        threads.spawn(move || {
            let (mut stream, _) = listener.accept().expect("the call");
            stream.read_exact(&mut [0]).expect("the question");
            iter::repeat_n(vec![7; 1 << 20], GIANT >> 20)
                .try_for_each(|piece| stream.write_all(&piece))
                .expect("the answer");
        });
        let mut stream = TcpStream::connect(link.address()).expect("the line");
        let began = Instant::now();
        stream.write_all(&[1]).expect("the question");
        let got = io::copy(&mut stream, &mut io::sink()).expect("the answer");
        assert_eq!(got, GIANT as u64);
        began.elapsed()
    })
}
