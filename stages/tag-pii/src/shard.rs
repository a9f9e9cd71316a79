//! Parts of a corpus. A unit belongs to one part as a whole, so that its names are complete there.

use std::ffi::OsString;

use pft_stage::StageError;

/// One of `of` parts, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    of: u64,
}

impl Shard {
    /// Reads `I/N`; the empty text is the whole corpus.
    ///
    /// # Errors
    /// When it is not of that form, or I is not in 1..=N.
    pub fn parse(text: &str) -> Result<Self, StageError> {
        if text.is_empty() {
            return Ok(Self { index: 1, of: 1 });
        }
        text.split_once('/')
            .and_then(|(index, of)| Some(Self { index: index.parse().ok()?, of: of.parse().ok()? }))
            .filter(|shard| shard.index >= 1 && shard.index <= shard.of)
            .ok_or_else(|| {
                StageError::config(format!("shard: `{text}` is not I/N with I from 1 to N"))
                    .with_help("for example --shard 1/4")
            })
    }

    /// Whether a unit belongs to this part.
    pub fn holds(&self, unit_id: &str) -> bool {
        let hash = blake3::hash(unit_id.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_le_bytes(first) % self.of == self.index - 1
    }

    /// Whether it is all of the corpus.
    pub fn is_whole(&self) -> bool {
        self.of == 1
    }
}

/// Turns `--shard I/N` into the stage contract's `--set shard=I/N`.
pub fn translate(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut translated = Vec::with_capacity(arguments.len() + 1);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let value = match argument.to_str() {
            Some("--shard") => {
                Some(arguments.next().unwrap_or_default().to_string_lossy().into_owned())
            }
            Some(text) => text.strip_prefix("--shard=").map(String::from),
            None => None,
        };
        match value {
            Some(value) => translated.extend(["--set".into(), format!("shard=\"{value}\"").into()]),
            None => translated.push(argument),
        }
    }
    translated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_in_exactly_one_part() {
        let parts: Vec<Shard> = (1..=3).map(|i| Shard::parse(&format!("{i}/3")).unwrap()).collect();
        for unit in 0..200 {
            let unit = format!("unit-{unit}");
            assert_eq!(parts.iter().filter(|part| part.holds(&unit)).count(), 1);
        }
        assert!(Shard::parse("").unwrap().is_whole());
    }

    #[test]
    fn wrong_parts_are_refused() {
        for text in ["0/3", "4/3", "3", "a/b", "1/0", "-1/2"] {
            assert_eq!(Shard::parse(text).unwrap_err().exit_code(), 2, "{text}");
        }
    }

    #[test]
    fn the_option_becomes_a_setting() {
        let arguments = ["tag-pii", "--shard", "2/4", "--output", "x"].map(OsString::from).to_vec();
        let expected =
            ["tag-pii", "--set", "shard=\"2/4\"", "--output", "x"].map(OsString::from).to_vec();
        assert_eq!(translate(arguments), expected);
    }
}
