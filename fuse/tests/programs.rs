//! Real programs in a real mount.

mod common;

use common::{TestMount, mount_store};
use hyperspace_api::memory::MemoryStore;

async fn fresh() -> (MemoryStore, TestMount) {
    let store = MemoryStore::new();
    let mount = mount_store(&store).await;
    (store, mount)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coreutils() {
    let (store, mount) = fresh().await;
    mount
        .sh(r#"
        echo one > a; cp a b; mv b c; ln -s a link; mkdir -p d/e/f
        [ "$(cat link)" = one ]; [ "$(readlink link)" = a ]
        sed -i s/one/two/ a; [ "$(cat a)" = two ]; [ "$(cat c)" = one ]
        mv c d/e; mv d g; [ "$(cat g/e/c)" = one ]
        echo three >> a; [ "$(wc -l < a)" = 2 ]
        truncate -s 1M a; [ "$(stat -c %s a)" = 1048576 ]; truncate -s 3 a; [ "$(cat a)" = two ]
        : > a; [ ! -s a ]
        chmod 640 a; [ "$(stat -c %a a)" = 640 ]; touch -d @1234567 a; [ "$(stat -c %Y a)" = 1234567 ]
        ! ln a hard 2>/dev/null; ! mkfifo p 2>/dev/null
        ! rmdir g 2>/dev/null; rm -r g; [ "$(ls)" = "$(printf 'Network\na\nlink')" ]
        dd if=/dev/zero of=big bs=1M count=5 status=none; cp big big2; cmp big big2
        [ "$(stat -c %b big)" = 10240 ]; du -s . > /dev/null; df . > /dev/null
        "#)
        .await;
    mount.unmount().await;
    let again = mount_store(&store).await;
    again.sh(r#"[ "$(stat -c '%a %Y %s' a)" = "640 1234567 0" ]; [ -L link ]; [ "$(stat -c %s big2)" = 5242880 ]"#).await;
    again.unmount().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn git() {
    let (store, mount) = fresh().await;
    mount
        .sh(r#"
        mkdir tree; cd tree; git init -q .
        for i in $(seq 300); do mkdir -p d$((i % 17)); echo "file $i" > d$((i % 17))/$i; done
        git add -A; git commit -qm one; git fsck --strict
        for i in $(seq 1 7 300); do echo more >> d$((i % 17))/$i; done
        git mv d3 moved; git commit -qam two; git gc -q; git fsck --strict
        git status --porcelain | (! grep .)
        cd ..; git clone -q tree clone; cd clone; [ "$(git log --oneline | wc -l)" = 2 ]; git fsck
        "#)
        .await;
    mount.unmount().await;
    let again = mount_store(&store).await;
    again.sh("cd tree; git fsck --strict; git status --porcelain | (! grep .); cd ../clone; git fsck").await;
    again.unmount().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tar_and_rsync() {
    let (store, mount) = fresh().await;
    let source = tempfile::tempdir().unwrap();
    common::sh(
        source.path(),
        r#"
        mkdir -p x/y/z 'with space'; echo hi > x/y/z/f; head -c 3000000 /dev/urandom > x/big
        for i in $(seq 200); do echo $i > x/y/$i; done
        ln -s y/z/f x/link; chmod 700 x/y; chmod 4755 x/y/1; touch -d @1000000000.5 x/y/2; touch -d @1100000000 x/y
        "#,
    )
    .await;
    let from = source.path().display();
    mount
        .sh(&format!(
            r#"
            tar -C {from} -cf - . | tar xf -
            diff -r --no-dereference {from} . --exclude Network
            mkdir r; rsync -aH {from}/ r/; diff -r --no-dereference {from} r
            back=$(mktemp -d); rsync -aH r/ $back/; diff -r --no-dereference {from} $back
            for f in x x/big x/y x/y/1 x/y/2 x/link; do
                [ "$(stat -c '%a %u %g %Y %F' {from}/$f)" = "$(stat -c '%a %u %g %Y %F' r/$f)" ]
            done
            [ -z "$(rsync -aHi {from}/ r/)" ]
            rm -rf $back
            "#
        ))
        .await;
    mount.unmount().await;
    let again = mount_store(&store).await;
    again.sh(&format!(r#"diff -r --no-dereference {from} r; [ -z "$(rsync -aHi {from}/ r/)" ]"#)).await;
    again.unmount().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    let (store, mount) = fresh().await;
    for mode in ["wal", "delete"] {
        mount
            .sh(&format!(
                r#"
                ( echo "PRAGMA journal_mode={mode}; CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);"
                  for i in $(seq 100); do echo "INSERT INTO t(b) VALUES ('row $i');"; done
                  echo "BEGIN;"
                  for i in $(seq 5000); do echo "INSERT INTO t(b) VALUES ('more $i');"; done
                  echo "COMMIT; UPDATE t SET b = b || '!' WHERE a % 3 = 0;"
                ) | sqlite3 {mode}.db > /dev/null
                [ "$(sqlite3 {mode}.db 'SELECT count(*) FROM t; PRAGMA integrity_check')" = "$(printf '5100\nok')" ]
                "#
            ))
            .await;
    }
    mount.unmount().await;
    let again = mount_store(&store).await;
    for mode in ["wal", "delete"] {
        let script = format!(
            r#"[ "$(sqlite3 {mode}.db 'SELECT count(*) FROM t; PRAGMA integrity_check')" = "$(printf '5100\nok')" ]"#
        );
        again.sh(&script).await;
    }
    again.unmount().await;
}
