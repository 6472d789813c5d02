//! Who may import whom: the arrows of DESIGN.md, held against `cargo metadata`.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use std::collections::{BTreeMap, BTreeSet};

/// Every crate of ours, and the crates of ours that it may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    ("hyperspace-api", &[]),
    ("hyperspace-schema", &[]),
    ("compact-encoding", &[]),
    ("hypercore", &["compact-encoding", "hyperspace-api"]),
    ("hyperswarm", &["compact-encoding", "hyperspace-api"]),
    ("hypertrie", &["hyperspace-api"]),
    ("hyperbee", &["compact-encoding", "hyperspace-api"]),
    (
        "hyperspace",
        &["hypercore", "hyperbee", "hypertrie", "hyperswarm", "hyperspace-schema", "hyperspace-api"],
    ),
    ("hyperspace-client", &["hyperspace-schema", "hyperspace-api"]),
    ("hyperdrive", &["hypertrie", "hyperspace-api"]),
    ("hyperdrive-fuse", &["hyperdrive", "hyperspace-api"]),
    ("hyperdrive-service", &["hyperdrive-fuse", "hyperdrive", "hyperspace-client", "hyperspace-api"]),
    ("hyperdrive-cli", &["hyperdrive-service", "hyperspace"]),
];

/// What tests may use besides: a real server, for the crates whose partner it is.
const ALLOWED_IN_TESTS: &[(&str, &[&str])] =
    &[("hyperspace-client", &["hyperspace"]), ("hyperdrive-service", &["hyperspace"])];

/// May import anything, and is imported by nobody.
const TESTS: &str = "hyperspace-e2e";

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned(), "--locked".to_owned()])
        .exec()
        .expect("cargo metadata")
}

fn arrows(package: &Package, ours: &BTreeSet<String>) -> Vec<(DependencyKind, String)> {
    let named = package.dependencies.iter().filter(|dependency| ours.contains(&dependency.name));
    named.map(|dependency| (dependency.kind, dependency.name.clone())).collect()
}

fn table(
    rows: &[(&'static str, &'static [&'static str])],
) -> BTreeMap<&'static str, &'static [&'static str]> {
    rows.iter().copied().collect()
}

#[test]
fn no_arrow_but_those_of_the_design() {
    let metadata = metadata();
    let ours: BTreeSet<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let (allowed, in_tests) = (table(ALLOWED), table(ALLOWED_IN_TESTS));
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        if name == TESTS {
            continue;
        }
        let Some(may) = allowed.get(name) else {
            wrong.push(format!("{name} is a crate that the design does not know"));
            continue;
        };
        for (kind, target) in arrows(package, &ours) {
            let test_only = kind == DependencyKind::Development
                && in_tests.get(name).is_some_and(|may| may.contains(&target.as_str()));
            if !may.contains(&target.as_str()) && !test_only {
                wrong.push(format!("{name} must not depend on {target} ({kind})"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_crate_of_the_design_is_there() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let missing: Vec<&str> =
        ALLOWED.iter().map(|(name, _)| *name).chain([TESTS]).filter(|name| !ours.contains(name)).collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
}
