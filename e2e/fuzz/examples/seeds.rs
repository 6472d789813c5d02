//! Writes what each target begins with into its corpus: `cargo run --example seeds`, here.

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    for (name, _, samples) in hyperspace_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        fs::create_dir_all(&folder)?;
        for (number, sample) in samples().iter().enumerate() {
            fs::write(folder.join(format!("sample-{number}")), sample)?;
        }
    }
    Ok(())
}
