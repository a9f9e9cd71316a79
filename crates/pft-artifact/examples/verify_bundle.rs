//! Verifies a bundle that someone gave you: every file is as it was sealed, and says what is promised.
//!
//!     cargo run --release -p pft-artifact --example verify_bundle -- FOLDER
//!
//! Hashes have no key: they show damage, not who made the bundle. What the privacy statement says can be
//! recomputed by who has the model's ledger (`train verify`); a bundle holds none.

use std::path::PathBuf;

use pft_artifact::{Kind, Manifest};
use serde_json::Value;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("give the bundle's folder")?);
    let manifest = Manifest::open(&folder)?;
    manifest.expect_kind(&folder, Kind::Bundle)?;
    manifest.verify(&folder)?;
    println!("{} files are as they were sealed ({})", manifest.files.len(), manifest.content_hash);

    let privacy: Value = serde_json::from_slice(&std::fs::read(folder.join("privacy.json"))?)?;
    println!("{}", privacy["statement"].as_str().ok_or("privacy.json has no statement")?);
    // Whatever does not say so is not for release.
    let fit = privacy["fit_for_release"].as_bool() == Some(true);
    println!("{}", if fit { "fit for release" } else { "NOT for release as a private model" });
    Ok(())
}
