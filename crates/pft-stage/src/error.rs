//! Errors for people, each with the exit code of its class.

use std::fmt;
use std::path::Path;

use pft_artifact::{ArtifactError, is_full_disk};

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
    /// Whether the disk is full, which has one help.
    full_disk: bool,
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

    /// A file or folder that the operating system did not let a stage write: exit code 1.
    pub fn failed_write(path: &Path, error: &std::io::Error) -> Self {
        Self::bug(format!("{}: {error}", path.display())).because(error)
    }

    fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), help: None, full_disk: false }
    }

    /// Looks at what it comes from: whatever a stage makes of it, a full disk is the machine's failure, not
    /// the input's.
    #[must_use]
    pub fn because(mut self, error: &(dyn std::error::Error + 'static)) -> Self {
        if is_full_disk(error) {
            self.class = Class::Bug;
            self.help = Some("free some disk space and run again".to_owned());
            self.full_disk = true;
        }
        self
    }

    /// Says what to do about it. That a full disk wants room stays what it is.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        if !self.full_disk {
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
            Err(error) => Self::bug(format!("{error:#}")).because(&*error),
        }
    }
}

impl From<ArtifactError> for StageError {
    /// What cannot be read is wrong input; what cannot be written is the machine's failure.
    fn from(error: ArtifactError) -> Self {
        let class = match &error {
            ArtifactError::Write { .. } => Class::Bug,
            ArtifactError::Io { .. }
            | ArtifactError::Invalid { .. }
            | ArtifactError::Record { .. } => Class::Input,
        };
        Self::new(class, error.to_string()).because(&error)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_full_disk_is_the_machines_failure_and_a_name_is_none() {
        let full =
            StageError::input("x").because(&Error::other(Error::from(ErrorKind::StorageFull)));
        assert_eq!(full.exit_code(), 1);
        let help = Some("free some disk space and run again");
        assert_eq!(full.with_help("look elsewhere").help(), help);
        let named = Error::other("No space left on device.yml: no such file");
        let error = StageError::config(named.to_string()).because(&named).with_help("name another");
        assert_eq!((error.exit_code(), error.help()), (2, Some("name another")));
    }

    #[test]
    fn reading_an_artifact_fails_as_input_and_writing_one_as_the_machine() {
        let source = || Error::from(ErrorKind::PermissionDenied);
        let read = ArtifactError::Io { path: "x".into(), action: "read", source: source() };
        let write = ArtifactError::Write { path: "x".into(), action: "write", source: source() };
        assert_eq!(StageError::from(read).exit_code(), 3);
        assert_eq!(StageError::from(write).exit_code(), 1);
    }
}
