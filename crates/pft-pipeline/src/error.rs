//! Failures of the runner, with the exit code they end in.

/// Why a run stopped.
#[derive(Debug, Clone)]
pub struct RunError {
    /// What is wrong, where, and what to do.
    pub message: String,
    /// The exit code: that of the failed stage, or 2 for a wrong pipeline.
    pub exit_code: u8,
}

impl RunError {
    /// A wrong pipeline, config or command line.
    pub fn config(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: 2 }
    }

    /// A file or folder that the operating system did not let the runner write.
    pub fn failed_write(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::bug(format!("{}: {error}{}", path.display(), room(error)))
    }

    /// A failing machine or a bug.
    pub fn bug(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: 1 }
    }
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RunError {}

impl From<pft_artifact::ArtifactError> for RunError {
    fn from(error: pft_artifact::ArtifactError) -> Self {
        Self::bug(format!("{error}{}", room(&error)))
    }
}

/// The help against a full disk, if that is what is wrong.
fn room(error: &(dyn std::error::Error + 'static)) -> &'static str {
    if pft_artifact::is_full_disk(error) {
        "\n  help: free some disk space and run again"
    } else {
        ""
    }
}
