//! Owners and permission bits, seen by several users.

mod common;

use common::{TestMount, mount_with};
use hyperdrive_fuse::MountOptions;
use hyperdrive_fuse::fs::types::FsOptions;
use hyperspace_api::memory::MemoryStore;

async fn shared(store: &MemoryStore) -> TestMount {
    let options = MountOptions { allow_other: true, ..MountOptions::default() };
    let mount = mount_with(store, options, FsOptions::default()).await;
    // Every user must be able to get there.
    common::sh(mount.path.parent().unwrap(), "chmod 755 .").await;
    mount
}

/// Lets a script say `as 1000 command…`.
const AS: &str = r#"
as() { local who=$1; shift; setpriv --reuid=$who --regid=$who --clear-groups -- "$@"; }
fails() { if "$@" 2>/dev/null; then echo "should fail: $*" >&2; exit 1; fi; }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bits_are_obeyed() {
    let store = MemoryStore::new();
    let mount = shared(&store).await;
    mount
        .sh(&format!(
            r#"{AS}
            mkdir pub; chmod 1777 pub; mkdir private; chmod 700 private
            as 1000 sh -c 'umask 027; echo secret > pub/f; mkdir pub/d'
            [ "$(stat -c '%u %g %a' pub/f)" = "1000 1000 640" ]; [ "$(stat -c '%u %a' pub/d)" = "1000 750" ]
            fails as 1001 cat pub/f; fails as 1001 touch pub/d/x; fails as 1000 ls private
            fails as 1001 rm -f pub/f; fails as 1001 mv pub/f pub/g       # sticky
            fails as 1001 chmod 666 pub/f; fails as 1000 chown 1001 pub/f; fails as 1001 touch pub/f
            as 1000 chmod 644 pub/f; as 1001 cat pub/f > /dev/null; fails as 1001 sh -c 'echo > pub/f'
            as 1000 rm pub/f
            "#
        ))
        .await;
    mount.unmount().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suid_and_sgid() {
    let store = MemoryStore::new();
    let mount = shared(&store).await;
    mount
        .sh(&format!(
            r#"{AS}
            mode() {{ stat -c %a "$1"; }}
            mkdir pub; chmod 777 pub; mkdir pub/team; chgrp 2000 pub/team; chmod 2777 pub/team
            as 1000 touch pub/team/f; as 1000 mkdir pub/team/d
            [ "$(stat -c %g pub/team/f)" = 2000 ]; [ "$(stat -c '%g %a' pub/team/d)" = "2000 2755" ]
            cp /bin/true pub/x; chown 1000:1000 pub/x
            as 1000 chmod 6755 pub/x; [ "$(mode pub/x)" = 6755 ]
            chmod 6777 pub/x; as 1001 sh -c 'echo >> pub/x'; [ "$(mode pub/x)" = 777 ]
            chmod 6755 pub/x; echo >> pub/x; [ "$(mode pub/x)" = 6755 ]     # root may keep them
            chmod 6755 pub/x; chown 1001 pub/x; [ "$(mode pub/x)" = 755 ]
            chmod 6777 pub/x; as 1002 truncate -s 10 pub/x; [ "$(mode pub/x)" = 777 ]
            "#
        ))
        .await;
    mount.unmount().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_and_links() {
    let store = MemoryStore::new();
    let mount = shared(&store).await;
    mount
        .sh(r#"
            age() { stat -c %Y "$1"; }
            mkdir d; touch -d @1000 d; [ "$(age d)" = 1000 ]
            touch d/f; [ "$(age d)" -gt 1000 ]; touch -d @1000 d; rm d/f; [ "$(age d)" -gt 1000 ]
            echo x > f; touch -d @2000 f; [ "$(age f)" = 2000 ]; cat f > /dev/null; [ "$(age f)" = 2000 ]
            c=$(stat -c %Z f); sleep 1.1; chmod 600 f; [ "$(stat -c %Z f)" -gt $c ]; [ "$(age f)" = 2000 ]
            echo y >> f; [ "$(age f)" -gt 2000 ]
            touch -d @1234.567 f; [ "$(stat -c %.3Y f)" = 1234.567 ]
            ln -s 'no where/../x' l; [ "$(readlink l)" = 'no where/../x' ]; [ "$(stat -c %s l)" = 13 ]
            touch -h -d @77 l; [ "$(age l)" = 77 ]; chown -h 5:6 l; [ "$(stat -c '%u %g' l)" = "5 6" ]
            "#)
        .await;
    mount.unmount().await;
}
