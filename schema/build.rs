//! Compiles `proto/hyperspace.proto` with protox, so that nobody needs a protoc.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/hyperspace.proto");
    let descriptors = protox::compile(["proto/hyperspace.proto"], ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
