//! Errors for people, each with the exit code of its class.

use std::fmt;

/// The classes of failure, which are also the exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Bug = 1,
    Config = 2,
    Input = 3,
    Service = 4,
    Scratch = 5,
    Interrupted = 130,
}

/// Why a stage stopped: what is wrong, where, and what to do.
#[derive(Debug)]
pub struct StageError {
    class: Class,
    message: String,
    help: Option<String>,
}

impl StageError {
    /// Wrong usage or config: exit code 2.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Class::Config, message)
    }

    /// Wrong input data: exit code 3.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Class::Input, message)
    }

    /// An external service failed: exit code 4.
    pub fn service(message: impl Into<String>) -> Self {
        Self::new(Class::Service, message)
    }

    /// What an earlier attempt left in the scratch folder is damaged: exit code 5. The runner sets
    /// the folder aside and starts the stage again.
    pub fn scratch(message: impl Into<String>) -> Self {
        Self::new(Class::Scratch, message)
    }

    /// A bug of the stage or a failing machine: exit code 1.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Class::Bug, message)
    }

    /// Stopped by SIGINT or SIGTERM: exit code 130.
    pub fn interrupted() -> Self {
        Self::new(Class::Interrupted, "interrupted")
    }

    /// Whatever a stage makes of it, a full disk is the machine's failure, not the input's.
    fn new(class: Class, message: impl Into<String>) -> Self {
        let message = message.into();
        if is_full_disk(&message) {
            let help = Some("free some disk space and run again".to_owned());
            return Self { class: Class::Bug, message, help };
        }
        Self { class, message, help: None }
    }

    /// Says what to do about it. That a full disk wants room stays what it is.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        if !is_full_disk(&self.message) {
            self.help = Some(help.into());
        }
        self
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        self.class as u8
    }

    /// What is wrong, without the help.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

/// As the operating system words it; libraries wrap its errors beyond recognition.
fn is_full_disk(message: &str) -> bool {
    ["No space left on device", "Disk quota exceeded"].iter().any(|words| message.contains(words))
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for StageError {}

impl From<anyhow::Error> for StageError {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<StageError>() {
            Ok(error) => error,
            Err(error) => Self::bug(format!("{error:#}")),
        }
    }
}

impl From<pft_artifact::ArtifactError> for StageError {
    fn from(error: pft_artifact::ArtifactError) -> Self {
        Self::input(error.to_string())
    }
}
