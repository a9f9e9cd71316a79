//! Where a model comes from, and its licence, as its own folder says it.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Where a model comes from and what it may be used for. What nothing says stays empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// Its name on the hub, `ORG/NAME`.
    pub repository: Option<String>,
    /// Its licence, as the hub spells it: `apache-2.0`, or `other`.
    pub license: Option<String>,
    /// The licence's name where `license` is `other`.
    pub license_name: Option<String>,
    /// Where the licence's text is.
    pub license_link: Option<String>,
}

impl Origin {
    /// What a folder in Hugging Face's layout says: the licence from the card (`README.md`), the name
    /// from the folder's place in the hub's cache. `name_or_path` is `_name_or_path` of `config.json`:
    /// transformers writes there what a model was loaded from, which for a fine-tuned model may be
    /// the one that it was tuned from, so that it only counts where the folder has the same name.
    pub fn of_folder(folder: &Path, name_or_path: Option<&str>) -> Self {
        let card = std::fs::read_to_string(folder.join("README.md")).unwrap_or_default();
        let said = |key: &str| front_matter(&card).and_then(|front| value(front, key));
        let named = name_or_path.and_then(repository_name).filter(|name| {
            let last = name.rsplit('/').next().unwrap_or_default();
            folder.file_name().is_some_and(|own| own.eq_ignore_ascii_case(last))
        });
        Self {
            repository: cached_repository(folder).or(named),
            license: said("license"),
            license_name: said("license_name"),
            license_link: said("license_link"),
        }
    }
}

/// `ORG/NAME` of an address on the hub, or of such a name itself.
pub(crate) fn repository_name(text: &str) -> Option<String> {
    let name = ["https://huggingface.co/", "http://huggingface.co/", "https://hf.co/"]
        .iter()
        .find_map(|hub| text.strip_prefix(hub))
        .unwrap_or(text);
    let mut parts = name.trim_end_matches('/').split('/');
    let (organization, model) = (parts.next()?, parts.next()?);
    let is_name = |part: &str| {
        let mut signs = part.chars();
        signs.next().is_some_and(|c| c.is_ascii_alphanumeric())
            && signs.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let whole = is_name(organization) && is_name(model);
    // A web page of a model, `ORG/NAME/tree/main`, is still that model's.
    let only = parts.next().is_none() || name != text;
    (whole && only).then(|| format!("{organization}/{model}"))
}

impl Origin {
    /// Takes an address or a name on the hub for the repository, unless there is one already.
    pub fn or_repository(mut self, text: Option<&str>) -> Self {
        self.repository = self.repository.or_else(|| text.and_then(repository_name));
        self
    }
}

/// `models--ORG--NAME/snapshots/COMMIT`.
fn cached_repository(folder: &Path) -> Option<String> {
    let snapshots = folder.parent().filter(|parent| parent.ends_with("snapshots"))?;
    let name = snapshots.parent()?.file_name()?.to_str()?.strip_prefix("models--")?;
    repository_name(&name.replacen("--", "/", 1))
}

/// The lines between the first two `---`.
fn front_matter(card: &str) -> Option<&str> {
    let rest = card.trim_start_matches('\u{feff}').strip_prefix("---")?;
    let rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n'))?;
    rest.find("\n---").map(|end| &rest[..end])
}

/// A scalar at the top level of YAML, or the first of a list: all that cards say of licences.
fn value(front: &str, key: &str) -> Option<String> {
    let mut lines = front.lines();
    let rest = lines.by_ref().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let mut text = rest.trim();
    if text.is_empty() {
        text = lines.next()?.trim().strip_prefix("- ")?.trim();
    }
    let text = text
        .strip_prefix('[')
        .map_or(text, |list| list.split([',', ']']).next().unwrap_or_default().trim());
    let unquoted = ['"', '\''].iter().find_map(|quote| {
        let inner = text.strip_prefix(*quote)?;
        inner.find(*quote).map(|end| &inner[..end])
    });
    let plain = text.split(" #").next().unwrap_or_default().trim();
    Some(unquoted.unwrap_or(plain).to_owned()).filter(|text| !text.is_empty() && text != "null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_read_from_cards_as_they_are_written() {
        for (front, license) in [
            ("license: apache-2.0", Some("apache-2.0")),
            ("language: [en]\nlicense: \"mit\"  # as is", Some("mit")),
            ("license:\n- cc-by-4.0\n- mit", Some("cc-by-4.0")),
            ("license: [mit, apache-2.0]", Some("mit")),
            ("datasets:\n- license: no", None),
            ("license: null", None),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let card = format!("---\n{front}\n---\n# Model\nlicense: body\n");
            std::fs::write(folder.path().join("README.md"), card).unwrap();
            assert_eq!(
                Origin::of_folder(folder.path(), None).license.as_deref(),
                license,
                "{front}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let card =
            "---\r\nlicense: other\r\nlicense_name: llama3.2\r\nlicense_link: LICENSE\r\n---\r\n";
        std::fs::write(folder.path().join("README.md"), card).unwrap();
        let origin = Origin::of_folder(folder.path(), None);
        assert_eq!(origin.license_name.as_deref(), Some("llama3.2"));
        assert_eq!(origin.license_link.as_deref(), Some("LICENSE"));
    }

    #[test]
    fn a_repository_is_named_only_where_it_is_this_model_s() {
        let place = tempfile::tempdir().unwrap();
        let snapshot = place.path().join("models--org--my--model/snapshots/0123");
        let folder = place.path().join("SmolLM2-135M");
        for folder in [&snapshot, &folder] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let named = |folder: &Path, name| Origin::of_folder(folder, name).repository;
        assert_eq!(named(&snapshot, None).as_deref(), Some("org/my--model"));
        assert_eq!(named(&folder, Some("Org/smollm2-135m")).as_deref(), Some("Org/smollm2-135m"));
        for other in ["Org/SmolLM2-360M", "/home/SmolLM2-135M", "./SmolLM2-135M", "SmolLM2-135M"] {
            assert_eq!(named(&folder, Some(other)), None, "{other}");
        }
        let url = |text| Origin::default().or_repository(Some(text)).repository;
        assert_eq!(url("https://huggingface.co/org/model").as_deref(), Some("org/model"));
        assert_eq!(url("https://huggingface.co/org/model/tree/main").as_deref(), Some("org/model"));
        assert_eq!(url("https://example.org/org/model"), None);
    }
}
