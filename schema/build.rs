//! Compiles `proto/hyperspace.proto` with protox, so that nobody needs a protoc.

use std::fmt::Write;
use std::{env, fs, path::Path};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/hyperspace.proto");
    let descriptors = protox::compile(["proto/hyperspace.proto"], ["proto"])?;

    // prost reads a required field that is missing as 0. This table lets us notice.
    const LABEL_REQUIRED: i32 = 2;
    let mut required = String::new();
    for message in descriptors.file.iter().flat_map(|file| &file.message_type) {
        // The one name that prost writes differently.
        let name = message.name().replace("RPC", "Rpc");
        let fields = message.field.iter().filter(|field| field.label == Some(LABEL_REQUIRED));
        let tags: Vec<_> = fields.map(|field| field.number()).collect();
        writeln!(required, "impl Required for {name} {{ const REQUIRED: &'static [u32] = &{tags:?}; }}")?;
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("required.rs"), required)?;

    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
