//! `doc/SEMANTICS.md`, promise by promise, against a real mount. The checks are in
//! `semantics/`, grouped as the document is.

#[path = "semantics/attributes.rs"]
mod attributes;
#[path = "semantics/drives.rs"]
mod drives;
#[path = "semantics/durability.rs"]
mod durability;
#[path = "semantics/files.rs"]
mod files;
#[path = "semantics/names.rs"]
mod names;
#[path = "semantics/remote.rs"]
mod remote;
#[path = "semantics/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::World;

/// The check of one promise.
type Check = (&'static str, fn(&mut World));

fn checks() -> Vec<Check> {
    let groups = [
        durability::CHECKS,
        names::CHECKS,
        files::CHECKS,
        attributes::CHECKS,
        drives::CHECKS,
        remote::CHECKS,
    ];
    groups.concat()
}

/// The ids that the document promises: of list items that start with a bold `S` and a number.
fn promised() -> Vec<String> {
    let path = hyperspace_e2e::binaries::root().join("doc/SEMANTICS.md");
    let text = std::fs::read_to_string(path).expect("doc/SEMANTICS.md");
    let id = |line: &str| {
        let id = line.strip_prefix("* **")?.split_once("**")?.0;
        id.strip_prefix('S')?.parse::<u32>().ok()?;
        Some(id.to_owned())
    };
    text.lines().filter_map(id).collect()
}

#[test]
fn every_promise_has_a_check_and_every_check_a_promise() {
    let promised = promised();
    let unique: BTreeSet<&str> = promised.iter().map(String::as_str).collect();
    assert_eq!(unique.len(), promised.len(), "an id is used twice");
    assert!(promised.len() >= 30, "only {} promises were found", promised.len());
    let checks = checks();
    let checked: BTreeSet<&str> = checks.iter().map(|(id, _)| *id).collect();
    assert_eq!(checked.len(), checks.len(), "an id is checked twice");
    assert_eq!(unique, checked, "promises, and checks");
}

#[test]
fn every_promise_is_kept() {
    // `SEMANTICS=S10,S12` runs these alone.
    let only = std::env::var("SEMANTICS").ok();
    let chosen = |id: &str| only.as_deref().is_none_or(|only| only.split(',').any(|one| one == id));
    let mut world = World::new();
    let mut broken = Vec::new();
    for (id, check) in checks().into_iter().filter(|(id, _)| chosen(id)) {
        println!("{id}");
        if catch_unwind(AssertUnwindSafe(|| check(&mut world))).is_err() {
            broken.push(id);
            // What a failed check leaves behind must not fail the next.
            world = World::new();
        }
    }
    assert!(broken.is_empty(), "these promises are not kept: {broken:?}");
}
