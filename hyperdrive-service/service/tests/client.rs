//! The client library against a real server, without a mount.

use hyperdrive_service::mirror::Event;
use hyperdrive_service::{
    ChangeKind, ClientOptions, Endpoint, HyperdriveClient, ImportOptions, Service, ServiceError,
    ServiceOptions, Summary, Target, export, import,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

struct Fixture {
    dir: tempfile::TempDir,
    _server: hyperspace::RunningServer,
    endpoint: Endpoint,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("test.sock");
        let server = hyperspace::start(hyperspace::Config {
            storage: hyperspace::Storage::Folder(dir.path().join("storage")),
            endpoint: Some(hyperspace::Endpoint::Unix(socket.clone())),
            bootstrap: hyperspace::Bootstrap::None,
            ..hyperspace::Config::default()
        })
        .await
        .unwrap();
        Self { dir, _server: server, endpoint: Endpoint::Unix(socket) }
    }

    fn mnt(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.mnt().join(path)
    }

    fn service_options(&self) -> ServiceOptions {
        ServiceOptions {
            endpoint: self.endpoint.clone(),
            config_dir: self.dir.path().join("config"),
            mnt: Some(self.mnt()),
            key: None,
            fuse: false,
            allow_other: false,
            read_only: false,
            force: false,
            timeout: Duration::from_millis(500),
            storage: None,
        }
    }

    async fn client(&self) -> HyperdriveClient {
        HyperdriveClient::connect(ClientOptions {
            endpoint: self.endpoint.clone(),
            config_dir: self.dir.path().join("config"),
            key: None,
            mnt: None,
            timeout: Duration::from_millis(500),
        })
        .await
        .unwrap()
    }
}

async fn put(client: &HyperdriveClient, path: &Path, text: &[u8]) {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, text).unwrap();
    client.put(path, file).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_drive_is_made_once_and_remembered() {
    let at = Fixture::new().await;
    let first = Service::start(at.service_options()).await.unwrap();
    let key = first.root().key();
    first.stop().await.unwrap();
    let mut again = at.service_options();
    again.mnt = None;
    let second = Service::start(again).await.unwrap();
    assert_eq!((second.root().key(), second.mnt()), (key, at.mnt().as_path()));
    assert!(second.root().writable());
    second.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_root_drive_or_a_server_the_way_out_is_told() {
    let at = Fixture::new().await;
    let options = ClientOptions {
        endpoint: at.endpoint.clone(),
        config_dir: at.dir.path().join("config"),
        key: None,
        mnt: None,
        timeout: Duration::from_millis(100),
    };
    let no_root = HyperdriveClient::connect(options.clone()).await.err().unwrap();
    assert!(no_root.to_string().contains("hyperdrive start"), "{no_root}");
    let away = ClientOptions {
        endpoint: Endpoint::Unix(at.dir.path().join("nobody.sock")),
        key: Some([1; 32].into()),
        ..options
    };
    let away = HyperdriveClient::connect(away).await.err().unwrap();
    assert_eq!(away.code(), "NOT_RUNNING");
    assert!(away.to_string().contains("hyperdrive start"), "{away}");
}

#[tokio::test(flavor = "multi_thread")]
async fn drives_files_and_history() {
    let at = Fixture::new().await;
    let service = Service::start(at.service_options()).await.unwrap();
    let client = at.client().await;

    let made = client.create(&at.at("photos"), true).await.unwrap();
    assert_eq!((made.path.as_str(), made.seeding), ("/photos", true));
    assert!(client.create(&at.at("photos"), true).await.unwrap_err().to_string().contains("exists already"));

    put(&client, &at.at("photos/a.txt"), b"one").await;
    client.mkdir(&at.at("photos/x/y"), true).await.unwrap();
    put(&client, &at.at("photos/x/y/b.txt"), &vec![7; 300_000]).await;

    let info = client.info(&Target::Path(at.at("photos/x"))).await.unwrap();
    assert_eq!(
        (info.key.as_str(), info.mount_path.as_str(), info.is_mount),
        (made.key.as_str(), "/x", false)
    );
    assert!(info.announce && info.lookup && info.remember && info.writable);
    let info = client.info(&Target::Path(at.at("photos"))).await.unwrap();
    assert!(info.is_mount);
    let by_key = client.info(&Target::Key(made.key.parse().unwrap())).await.unwrap();
    assert_eq!(by_key.key, made.key);

    let names = |entries: Vec<hyperdrive::Entry>| entries.into_iter().map(|e| e.name).collect::<Vec<_>>();
    assert_eq!(names(client.list(&Target::Path(at.at("photos"))).await.unwrap()), ["a.txt", "x"]);
    assert_eq!(names(client.list(&Target::Path(at.mnt())).await.unwrap()), ["photos"]);

    let photos = Target::Path(at.at("photos"));
    let version = client.create_tag(&photos, "first", None).await.unwrap();
    client.remove(&at.at("photos/x"), true).await.unwrap();
    put(&client, &at.at("photos/a.txt"), b"two!").await;
    assert_eq!(client.version(&photos, "first").await.unwrap(), version);
    let changes = client.diff(&photos, version).await.unwrap();
    let of = |path: &str| changes.iter().find(|change| change.path == path).map(|change| change.kind);
    assert_eq!(of("/a.txt"), Some(ChangeKind::Changed), "{changes:?}");
    assert_eq!(of("/x/y/b.txt"), Some(ChangeKind::Removed), "{changes:?}");
    assert!(!client.log(&photos, 10).await.unwrap().is_empty());

    client.mount(&at.at("then"), made.key.parse().unwrap(), Some(version), false).await.unwrap();
    assert_eq!(names(client.list(&Target::Path(at.at("then/x/y"))).await.unwrap()), ["b.txt"]);
    assert_eq!(client.root().read_file("/then/a.txt").await.unwrap(), "one");

    let stats = client.stats(&photos, true).await.unwrap();
    assert_eq!(stats.storage["/a.txt"].size, 4);
    assert!(stats.network["/"].content.as_ref().unwrap().byte_length >= 300_000);

    assert!(!client.unseed(&photos).await.unwrap().announce);
    client.unmount(&at.at("photos")).await.unwrap();
    client.unmount(&at.at("then")).await.unwrap();
    assert_eq!(names(client.list(&Target::Path(at.mnt())).await.unwrap()), [""; 0]);
    let twice = client.unmount(&at.at("photos")).await.unwrap_err();
    assert_eq!(twice.code(), "ENOENT");
    service.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_outside_the_mount_is_refused() {
    let at = Fixture::new().await;
    let service = Service::start(at.service_options()).await.unwrap();
    let client = at.client().await;
    for path in ["/elsewhere", "Network/x", "../mnt2/x"] {
        let refused = client.create(&at.at(path), false).await.unwrap_err();
        assert!(matches!(refused, ServiceError::Usage(_)), "{path}: {refused}");
    }
    assert!(matches!(client.remove(&at.mnt(), true).await, Err(ServiceError::Usage(_))));
    service.stop().await.unwrap();
}

/// A folder with a bit of everything.
fn fill(dir: &Path) {
    std::fs::create_dir_all(dir.join("sub/deep")).unwrap();
    std::fs::create_dir_all(dir.join(".git")).unwrap();
    std::fs::create_dir_all(dir.join("target")).unwrap();
    std::fs::write(dir.join(".git/config"), "x").unwrap();
    std::fs::write(dir.join("target/out"), "x").unwrap();
    std::fs::write(dir.join(".gitignore"), "/target\n").unwrap();
    std::fs::write(dir.join("empty"), "").unwrap();
    std::fs::write(dir.join("sub/small"), "small").unwrap();
    std::fs::write(dir.join("sub/deep/large"), (0..3_000_000u32).map(|i| (i / 7) as u8).collect::<Vec<_>>())
        .unwrap();
    std::os::unix::fs::symlink("sub/small", dir.join("link")).unwrap();
}

async fn run_import(client: &HyperdriveClient, dir: &Path) -> (Summary, Vec<Event>) {
    let drive = client.import_target(dir, None).await.unwrap();
    let mut events = Vec::new();
    let summary = import(&drive, "/", dir, &ImportOptions::default(), &mut |e| events.push(e)).await.unwrap();
    (summary, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_goes_in_and_comes_out_the_same() {
    let at = Fixture::new().await;
    let service = Service::start(at.service_options()).await.unwrap();
    let client = at.client().await;
    let (from, to) = (at.dir.path().join("from"), at.dir.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    fill(&from);

    let (first, _) = run_import(&client, &from).await;
    // .gitignore, empty, link, sub, sub/small, sub/deep, sub/deep/large
    assert_eq!((first.written, first.failed, first.bytes), (7, 0, 8 + 5 + 3_000_000));
    let (second, _) = run_import(&client, &from).await;
    assert_eq!((second.written, second.unchanged), (0, 7));

    let drive = client.import_target(&from, None).await.unwrap();
    let out = export(&drive, "/", &to, false, &mut |_| {}).await.unwrap();
    assert_eq!((out.written, out.failed), (7, 0));
    for path in [".gitignore", "empty", "sub/small", "sub/deep/large"] {
        assert_eq!(std::fs::read(from.join(path)).unwrap(), std::fs::read(to.join(path)).unwrap(), "{path}");
    }
    assert_eq!(std::fs::read_link(to.join("link")).unwrap(), Path::new("sub/small"));
    assert!(!to.join("target").exists() && !to.join(".git").exists());
    let again = export(&drive, "/", &to, false, &mut |_| {}).await.unwrap();
    assert_eq!((again.written, again.unchanged), (0, 7));

    // A file becomes a folder, a folder goes, a file changes.
    std::fs::remove_file(from.join("empty")).unwrap();
    std::fs::create_dir(from.join("empty")).unwrap();
    std::fs::write(from.join("empty/inside"), "in").unwrap();
    std::fs::remove_dir_all(from.join("sub/deep")).unwrap();
    std::fs::write(from.join("sub/small"), "larger").unwrap();
    let (third, events) = run_import(&client, &from).await;
    assert_eq!((third.written, third.removed, third.failed), (3, 3, 0), "{events:?}");
    let names: Vec<_> = drive
        .walk("/", hyperdrive::WalkOptions { mounts: false })
        .await
        .unwrap()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path != "/")
        .collect();
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(sorted, ["/.gitignore", "/empty", "/empty/inside", "/link", "/sub", "/sub/small"]);
    service.stop().await.unwrap();
}
