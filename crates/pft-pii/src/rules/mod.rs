//! The `rules` backend: regular expressions, validated where the format has a checksum, and word
//! lists. All automata are shared by all threads.

mod checksum;
mod nations;
mod patterns;
mod starts;
mod words;

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{LoadError, Span, TagError, Tagger};
use nations::Nations;
use patterns::{Check, Edge, Pattern};
use starts::Starts;
use words::Words;

pub use words::WordList;

/// Bumped when what the rules find in a text changes.
const REVISION: u32 = 4;

/// Score of a match whose format carries a checksum, or of the user's own pattern.
const CERTAIN: f32 = 1.0;
/// Score of any other match.
const LIKELY: f32 = 0.85;

/// Bytes that a thread's automaton of a pattern may take: of one that reads whole texts, and of one
/// that is only tried in places.
const SEARCH_CACHE: usize = 16 << 20;
const TRIED_CACHE: usize = 2 << 20;

/// Settings of the rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// Labels whose built-in patterns are left out.
    pub disable: Vec<String>,
    /// Further patterns.
    pub patterns: Vec<UserPattern>,
    /// Further words and phrases.
    pub words: Vec<WordList>,
}

/// A pattern of the user's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPattern {
    /// The label of what it finds.
    pub label: String,
    /// A regular expression in the syntax of Rust's regex crate; a group named `e` narrows the
    /// entity to a part of the match.
    pub regex: String,
}

/// Labels that the built-in patterns use and OntoNotes does not know.
pub const OWN_LABELS: &[&str] =
    &["EMAIL", "URL", "IP_ADDRESS", "IBAN", "CREDIT_CARD", "US_SSN", "PHONE", "CASE_NUMBER", "AGE"];

struct Rule {
    label: Arc<str>,
    regex: Regex,
    group: Option<usize>,
    edge: Option<Edge>,
    check: Check,
    needs: Option<u8>,
    score: f32,
}

/// The `rules` backend.
pub struct RulesTagger {
    source: Arc<str>,
    /// Searched for through the whole text: the user's patterns, and built-in ones that hold a byte
    /// or begin with letters that most texts lack.
    searched: Vec<Rule>,
    /// The other built-in patterns.
    starts: Starts,
    words: Vec<Words>,
    nations: Nations,
    fingerprint: String,
}

impl RulesTagger {
    /// Compiles the built-in patterns and the user's.
    ///
    /// # Errors
    /// When a pattern is not a regular expression or matches the empty text, or a word is empty.
    pub fn new(config: &RulesConfig) -> Result<Self, LoadError> {
        let wanted = |pattern: &Pattern| !config.disable.iter().any(|label| label == pattern.label);
        let (searched, starting): (Vec<Pattern>, Vec<Pattern>) = patterns::built_in()
            .into_iter()
            .filter(wanted)
            .partition(|pattern| pattern.needs.is_some());
        let rules = |patterns: Vec<Pattern>, anchored| {
            let rules = patterns.into_par_iter().map(|pattern| Rule::built_in(pattern, anchored));
            rules.collect::<Result<Vec<Rule>, LoadError>>()
        };
        let mut searched = rules(searched, false)?;
        let starting = rules(starting, true)?;
        let starts = Starts::new(starting)?;
        for (number, pattern) in config.patterns.iter().enumerate() {
            let at = |message: String| {
                LoadError::Config(format!("rules.patterns.{number}.regex: {message}"))
            };
            let regex =
                compile(&pattern.regex, SEARCH_CACHE).map_err(|error| at(error.to_string()))?;
            if regex.is_match("") {
                return Err(at("the pattern matches the empty text".into()));
            }
            let group = named_group(&regex);
            searched.push(Rule {
                label: pattern.label.as_str().into(),
                regex,
                group,
                edge: None,
                check: |text| Some(text.len()),
                needs: None,
                score: CERTAIN,
            });
        }
        let words = config.words.iter().enumerate().map(|(number, list)| {
            Words::new(list)
                .map_err(|message| LoadError::Config(format!("rules.words.{number}: {message}")))
        });
        let words = words.collect::<Result<Vec<_>, _>>()?;
        let settings =
            serde_json::to_string(config).map_err(|error| LoadError::Config(error.to_string()))?;
        let fingerprint =
            format!("rules/{REVISION}/{}", blake3::hash(settings.as_bytes()).to_hex());
        let nations = Nations::new(&config.disable)?;
        Ok(Self { source: "rules".into(), searched, starts, words, nations, fingerprint })
    }

    /// All matches in a text, sorted; they may overlap.
    pub fn tag(&self, text: &str) -> Vec<Span> {
        let mut spans = Vec::new();
        self.find_patterns(text, &mut spans);
        for list in &self.words {
            spans.append(&mut list.find(text, CERTAIN, &self.source));
        }
        self.nations.find(text, LIKELY, &self.source, &mut spans);
        spans.sort_by(|a, b| (a.start, b.end, &a.label).cmp(&(b.start, a.end, &b.label)));
        spans
    }

    fn find_patterns(&self, text: &str, spans: &mut Vec<Span>) {
        self.starts.find(text, &self.source, spans);
        for rule in &self.searched {
            if rule.needs.is_none_or(|byte| memchr(byte, text)) {
                rule.find(text, &self.source, spans);
            }
        }
    }
}

impl Tagger for RulesTagger {
    fn name(&self) -> &str {
        &self.source
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn tag_batch(&self, texts: &[&str]) -> Vec<Result<Vec<Span>, TagError>> {
        texts.iter().map(|text| Ok(self.tag(text))).collect()
    }
}

impl Rule {
    /// The rule of a built-in pattern, which matches anywhere or, `anchored`, where a text begins.
    fn built_in(pattern: Pattern, anchored: bool) -> Result<Self, LoadError> {
        let regex = if anchored { format!("^(?:{})", pattern.regex) } else { pattern.regex };
        let regex = compile(&regex, if anchored { TRIED_CACHE } else { SEARCH_CACHE }).map_err(
            |error| LoadError::Config(format!("built-in {} pattern: {error}", pattern.label)),
        )?;
        let score = match pattern.label {
            "EMAIL" | "URL" | "IP_ADDRESS" | "IBAN" | "CREDIT_CARD" => CERTAIN,
            _ => LIKELY,
        };
        Ok(Self {
            label: pattern.label.into(),
            group: named_group(&regex),
            regex,
            edge: Some(pattern.edge),
            check: pattern.check,
            needs: pattern.needs,
            score,
        })
    }

    /// The rule of an anchored one's pattern, matching anywhere.
    fn without_anchor(&self) -> Self {
        let anchored = self.regex.as_str();
        let pattern = anchored.strip_prefix('^').unwrap_or(anchored);
        let regex = compile(pattern, SEARCH_CACHE).expect("it was compiled with an anchor");
        Self { label: Arc::clone(&self.label), regex, ..*self }
    }

    fn find(&self, text: &str, source: &Arc<str>, spans: &mut Vec<Span>) {
        let mut at = 0;
        while let Some(whole) = self.regex.find_at(text, at) {
            // Where a match is refused the search goes on right behind its first character.
            let next =
                whole.start() + text[whole.start()..].chars().next().map_or(1, char::len_utf8);
            let entity = |group| Some(self.regex.captures_at(text, at)?.get(group)?.range());
            match self.accept(text, whole.range(), entity) {
                Some(range) => {
                    at = range.end.max(next);
                    spans.push(Span::new(range.start, range.end, &self.label, self.score, source));
                }
                None => at = next,
            }
        }
    }

    /// The entity where an anchored rule matches at a place.
    fn accept_at(&self, text: &str, start: usize) -> Option<Range<usize>> {
        let rest = &text[start..];
        let moved = |range: Range<usize>| start + range.start..start + range.end;
        let whole = self.regex.find(rest)?.range();
        let entity = |group| Some(moved(self.regex.captures(rest)?.get(group)?.range()));
        self.accept(text, moved(whole), entity)
    }

    /// The entity in a match, if it counts; `entity` says where a group matched.
    fn accept(
        &self,
        text: &str,
        whole: Range<usize>,
        entity: impl FnOnce(usize) -> Option<Range<usize>>,
    ) -> Option<Range<usize>> {
        if self.edge.is_some_and(|edge| !is_start(text, whole.clone(), edge)) {
            return None;
        }
        let range = match self.group {
            Some(group) => entity(group)?,
            None => whole,
        };
        let Range { start, mut end } = range;
        loop {
            let kept = (self.check)(&text[start..end])?;
            let trimmed = text[start..start + kept].trim_end().len();
            let range = start..start + trimmed;
            if range.is_empty() {
                return None;
            }
            if self.edge.is_none_or(|edge| is_whole(text, range.clone(), edge)) {
                return Some(range);
            }
            if self.edge != Some(Edge::Prefix) {
                return None;
            }
            // Without its last group of digits.
            end = start + text[range].trim_end_matches(|c: char| c.is_ascii_digit()).len();
        }
    }
}

fn compile(pattern: &str, cache: usize) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(pattern).size_limit(64 << 20).dfa_size_limit(cache).build()
}

fn named_group(regex: &Regex) -> Option<usize> {
    regex.capture_names().position(|name| name == Some("e"))
}

fn memchr(byte: u8, text: &str) -> bool {
    text.as_bytes().contains(&byte)
}

/// Whether a digit beyond `separator` makes a match a part of a longer number.
fn joins(separator: char, edge: Edge, matched: &str) -> bool {
    let separates = matches!(separator, '.' | ',' | '/' | '-' | ':');
    match edge {
        Edge::Word => false,
        Edge::Number => separates,
        Edge::Format | Edge::Prefix => {
            let is_plain = matched.bytes().all(|byte| byte.is_ascii_digit());
            separates && (matched.contains(separator) || (is_plain && separator == '.'))
        }
    }
}

fn is_start(text: &str, range: Range<usize>, edge: Edge) -> bool {
    let mut before = text[..range.start].chars().rev();
    match before.next() {
        Some(c) if c.is_alphanumeric() => false,
        Some(c) if joins(c, edge, &text[range]) => {
            !before.next().is_some_and(|c| c.is_ascii_digit())
        }
        _ => true,
    }
}

fn is_whole(text: &str, range: Range<usize>, edge: Edge) -> bool {
    let mut after = text[range.end..].chars();
    let matched = &text[range.clone()];
    let ends = match after.next() {
        // A symbol that ends a match (%, €, a full stop) may touch the next word.
        Some(c) if c.is_alphanumeric() => !matched.ends_with(|c: char| c.is_alphanumeric()),
        Some(c) if joins(c, edge, matched) => !after.next().is_some_and(|c| c.is_ascii_digit()),
        _ => true,
    };
    ends && is_start(text, range, edge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static BUILT_IN: LazyLock<RulesTagger> =
        LazyLock::new(|| RulesTagger::new(&RulesConfig::default()).unwrap());

    fn found(text: &str) -> Vec<(&str, String)> {
        BUILT_IN
            .tag(text)
            .iter()
            .map(|span| (&text[span.start..span.end], span.label.to_string()))
            .collect()
    }

    fn assert_finds(text: &str, entity: &str, label: &str) {
        let found = found(text);
        assert!(
            found.contains(&(entity, label.to_string())),
            "{entity} as {label} in {text:?}: {found:?}"
        );
    }

    fn assert_misses(text: &str, label: &str) {
        let found = found(text);
        assert!(!found.iter().any(|(_, found)| found == label), "{label} in {text:?}: {found:?}");
    }

    #[test]
    fn formats_are_found_and_validated() {
        assert_finds(
            "write to jane.doe+x@mail.example.co.uk.",
            "jane.doe+x@mail.example.co.uk",
            "EMAIL",
        );
        assert_finds("From: Jane Doe/HOU/ACME@ACME, today", "Jane Doe/HOU/ACME@ACME", "EMAIL");
        assert_finds("see (https://example.org/a_(b)).", "https://example.org/a_(b)", "URL");
        assert_finds("at www.example.org, and", "www.example.org", "URL");
        assert_finds("host 10.0.0.1.", "10.0.0.1", "IP_ADDRESS");
        assert_misses("host 10.0.0.256", "IP_ADDRESS");
        assert_finds("host 2001:db8::1 up", "2001:db8::1", "IP_ADDRESS");
        assert_finds(
            "IBAN GB82 WEST 1234 5698 7654 32 AND more",
            "GB82 WEST 1234 5698 7654 32",
            "IBAN",
        );
        assert_misses("IBAN GB82 WEST 1234 5698 7654 33", "IBAN");
        assert_finds("card 4111 1111 1111 1111.", "4111 1111 1111 1111", "CREDIT_CARD");
        assert_misses("card 4111 1111 1111 1112.", "CREDIT_CARD");
        assert_finds("SSN 123-45-6789", "123-45-6789", "US_SSN");
        assert_misses("SSN 000-45-6789", "US_SSN");
        assert_finds("call (713) 853-1234 x12 now", "(713) 853-1234 x12", "PHONE");
        assert_finds("call +44 20 7946 0958.", "+44 20 7946 0958", "PHONE");
    }

    /// What stands around a number, between its groups and after it in logs, tables and forms.
    #[test]
    fn identifiers_are_covered_wherever_they_stand() {
        let texts = [
            // Neighbours.
            "F,[12/03/1980],[713-853-1234],[123-45-6789],[4111111111111111],[10.1.2.3]",
            "at [10.1.2.3]:8080 or [10.1.2.0]/24 or [10.1.2.3],[10.1.2.4]",
            "nos. [12345/67],[12346/67] and [12345/67]-[12350/67]",
            "[123-45-6789]/2 [4111111111111111]/123 [713-853-1234]/5678",
            "from [12.03.2004]-[15.03.2004] at [12/03/2004]:10:22, \\[[12/Mar/2004]:10:22:11 +0000]",
            "SSN_[123-45-6789] dob_[12/03/1980] IBAN_[DE89370400440532013000]",
            // What follows after a space.
            "Visa [4111 1111 1111 1111] 12/26 or [4111 1111 1111 1111] 123",
            "[4111111111111111] 0726 [4111 1111 1111 1111] [5500 0000 0000 0004] [2223003122003222]",
            "[+44 20 7946 0958] 12/03/2004 and [07700 900123]",
            "tel: [020 7946 0958] [020 7946 0959]",
            "[4111 1111 1111 1111] 2014 [4111111111111111] 1026",
            "[+49.30.1234.567] 12.03.2004 Tel: [030 1234567] 31.12.1999",
            "Contact John @ [jane.doe@example.org] today, [jane@example.com]1",
            // Spaces, dashes and words between.
            "[4111\u{a0}1111\u{a0}1111\u{a0}1111] [+44\u{a0}20\u{a0}7946\u{a0}0958] [DE89\u{a0}3704\u{a0}0044\u{a0}0532\u{a0}0130\u{a0}00]",
            "[DE89-3704-0044-0532-0130-00] [de89 3704 0044 0532 0130 00]",
            "SSN:\t[123 45 6789] ssn is [123456789] [123–45–6789] [912-74-1234]",
            "[+49 30 / 123 45 67] Phone:\t[030 1234567] cell=[7138531234]",
            "on [12\r\nMarch 1980], [12th day of March, 2004], [12-Jul-2004], [2004-3-12], [2004/3/12]",
            "[2004-03-12T10:22:33Z] [00:1a:2B:3c:4d:5E]",
            "[ECLI:CE:ECHR:2009:0120JUD001234504] application no. [45/03], [1234567/18]",
            "passport [AB1234567], passport no [ab1234567], sort code [12-34-56]",
            // Mail and web addresses.
            "[müller@example.de] [info@müller-bau.de] [иван@пример.рф] _[jane.doe@example.org]_",
            "[jane.doe(at)example.org] [jane.doe \\[at] example.org] [jane.doe @ example.org]",
            "[o'brien@example.com] [jane=doe@example.com] [jsmith@10.1.2.3]",
            "[Https://example.org/u/jsmith] [WWW.EXAMPLE.ORG/jsmith] [sftp://jsmith:pw@host/home]",
            "[file:///home/jsmith/a] [linkedin.com/in/john-smith-123] _[https://example.org/u/jsmith]_",
            // Applicants without a name.
            "The applicant, [A.S.], is a Turkish national. [S.A.] and [P.M.] complained.",
        ];
        for marked in texts {
            let (mut text, mut wanted) = (String::new(), Vec::new());
            let mut escaped = false;
            for c in marked.chars() {
                match c {
                    '\\' => escaped = true,
                    '[' if !escaped => wanted.push(text.len()..text.len()),
                    ']' if wanted.last().is_some_and(|range| range.is_empty())
                        && !text.ends_with("[at") =>
                    {
                        if let Some(range) = wanted.last_mut() {
                            range.end = text.len();
                        }
                    }
                    c => {
                        escaped = false;
                        text.push(c);
                    }
                }
            }
            let spans = BUILT_IN.tag(&text);
            for range in wanted {
                assert!(!range.is_empty(), "{marked:?}");
                let covered = |at: usize| spans.iter().any(|s| (s.start..s.end).contains(&at));
                let letters =
                    text[range.clone()].char_indices().filter(|(_, c)| c.is_alphanumeric());
                for (at, _) in letters {
                    let entity = &text[range.clone()];
                    assert!(
                        covered(range.start + at),
                        "{entity:?} in {text:?}: {:?}",
                        found(&text)
                    );
                }
            }
        }
    }

    #[test]
    fn legal_texts_are_understood() {
        assert_finds("an application (no. 12345/67) against", "12345/67", "CASE_NUMBER");
        assert_finds("nos. 12345/67 and 68/1999)", "68/1999", "CASE_NUMBER");
        assert_finds("on 29 and 30 June 1992 the", "29 and 30 June 1992", "DATE");
        assert_finds("by the end of October 1997, he", "end of October 1997", "DATE");
        assert_finds("in 1994-95 and", "1994-95", "DATE");
        assert_misses("He may march on", "DATE");
        assert_misses("May I add", "DATE");
        assert_finds("paid TRL 12,352,710,000 to", "TRL 12,352,710,000", "MONEY");
        assert_finds(
            "1,898,208,000 Turkish Liras (TRL) as",
            "1,898,208,000 Turkish Liras (TRL)",
            "MONEY",
        );
        assert_finds("five hundred euros were", "five hundred euros", "MONEY");
        assert_finds("50 to 79% of", "50 to 79%", "PERCENT");
        assert_finds("by Mr Şükrü Öz-Ünal, a lawyer", "Mr Şükrü Öz-Ünal", "PERSON");
        assert_finds("Mrs K.H. van der Berg said", "Mrs K.H. van der Berg", "PERSON");
        assert_finds("the Karlstad District Court held", "Karlstad District Court", "ORG");
        assert_misses("the Supreme Administrative Court held", "ORG");
        assert_finds("a Ruritanian national, was", "Ruritanian", "NORP");
        assert_finds("the Turkish-speaking and Kurdish people", "Kurdish", "NORP");
        assert_misses("the Turkish Government and the Republic of Poland", "NORP");
        assert_finds("fled to Egypt in", "Egypt", "GPE");
        assert_finds("the University of Karlstad said", "University of Karlstad", "ORG");
        assert_finds("in the district of Karlstad", "district of Karlstad", "LOC");
        assert_finds("at 12 Kungs Street, Karlstad", "12 Kungs Street", "LOC");
        assert_misses("under Article 6 in Chapter I", "GPE");
        assert_misses("I. THE CIRCUMSTANCES OF THE CASE", "PERSON");
        assert_finds("lives in Karlstad. The Court", "Karlstad", "GPE");
        assert_finds("a lawyer practising in Karlstad.", "Karlstad", "GPE");
    }

    /// What a docket has before its number and behind its year tells it from all others.
    #[test]
    fn dockets_are_found_whole() {
        for docket in [
            "2-1234/2005",
            "3-123/05",
            "C-362/14",
            "C\u{2011}362/14",
            "12-A-45/2004",
            "1234/2005-3",
            "1234/2005-AB",
            "45/2004/II",
            "2-1234/2005/7",
        ] {
            for text in [format!("file {docket}"), format!("see {docket}, and ({docket}).")] {
                assert_finds(&text, docket, "CASE_NUMBER");
            }
        }
        assert_finds("nos. 12345/67-12350/67", "12350/67", "CASE_NUMBER");
        assert_misses("COVID-19/20 and pages 2-3/4", "CASE_NUMBER");
    }

    /// The validation of phonenumbers 9.0 (leniency VALID) takes some of these for phones.
    #[test]
    fn dockets_and_sums_are_no_phones() {
        for docket in ["12345/2001/99", "12345/67", "2-1234/2005", "1234/2005-3"] {
            for before in ["no. ", "application no. ", "cell ", "office: ", "home ", "work no. "] {
                let text = format!("{before}{docket} was");
                assert_misses(&text, "PHONE");
                assert_finds(&text, docket, "CASE_NUMBER");
            }
        }
        for number in
            ["536-22-1948", "12,352,710,000", "1 898 208 000", "12.345.678,90", "1998/12345"]
        {
            assert_misses(&format!("no. {number} was"), "PHONE");
            assert_misses(&format!("a sum of {number} was"), "PHONE");
        }
        assert_finds("office: 020 7946 0958 was", "020 7946 0958", "PHONE");
        assert_finds("Tel. 030/12345678 was", "030/12345678", "PHONE");
    }

    /// A form of address that stays before a mask says which sex the person has.
    #[test]
    fn forms_of_address_are_covered_and_called_alike() {
        let titles = ["Mr", "Mrs", "Ms", "Miss", "Mx", "Madam", "Madame", "Sir", "Lady", "Lord"];
        let dotted = ["Mr.", "Mrs.", "Ms.", "Miss.", "Madam."];
        for title in titles
            .into_iter()
            .chain(dotted)
            .flat_map(|title| [format!("{title} "), format!("{title}\u{a0}")])
        {
            for name in ["Ingrid Berg", "Berg", "I. Berg", "van der Berg"] {
                for before in ["", "A letter from ", "He lives near ", "and "] {
                    let text = format!("{before}{title}{name} said so.");
                    let whole = format!("{title}{name}");
                    let found = found(&text);
                    assert!(
                        found.contains(&(whole.as_str(), "PERSON".to_string())),
                        "{text:?}: {found:?}"
                    );
                    assert!(
                        found.iter().all(|(_, label)| label == "PERSON"),
                        "{text:?}: {found:?}"
                    );
                }
            }
        }
        for title in ["Mr", "Mrs", "Ms", "Madam", "Mr."] {
            let text = format!("signed by {title}\nBerg today");
            assert_finds(&text, &format!("{title}\nBerg"), "PERSON");
        }
        assert_finds("Dear Madam Ingrid Berg,", "Madam Ingrid Berg", "PERSON");
        assert_misses("Dear Madam, I write to you", "PERSON");
        assert_finds("moved to St. Petersburg in", "St. Petersburg", "GPE");
    }

    #[test]
    fn offsets_are_bytes_of_the_original() {
        let text = "«Zażółć» — 漢字 e\u{301} jan@example.pl 12.03.2004";
        let spans = BUILT_IN.tag(text);
        assert_eq!(&text[spans[0].start..spans[0].end], "jan@example.pl");
        assert!(spans[0].start > text.find("漢").unwrap());
    }

    #[test]
    fn the_users_patterns_and_words_count() {
        let config = RulesConfig {
            disable: vec!["DATE".into()],
            patterns: vec![UserPattern {
                label: "BADGE".into(),
                regex: "badge (?P<e>[0-9]+)".into(),
            }],
            words: vec![WordList {
                label: "PROJECT".into(),
                words: vec!["Blue Moon".into()],
                ignore_case: true,
            }],
        };
        let tagger = RulesTagger::new(&config).unwrap();
        let text = "badge 77 of BLUE MOON, not bluemoons, in 1999";
        let found: Vec<_> =
            tagger.tag(text).iter().map(|s| (&text[s.start..s.end], s.label.to_string())).collect();
        assert_eq!(found, vec![("77", "BADGE".to_string()), ("BLUE MOON", "PROJECT".to_string())]);
        assert_ne!(tagger.fingerprint(), BUILT_IN.fingerprint());
    }

    #[test]
    fn wrong_patterns_are_refused_by_their_key() {
        let config = |regex: &str| RulesConfig {
            patterns: vec![UserPattern { label: "X".into(), regex: regex.into() }],
            ..RulesConfig::default()
        };
        for regex in ["(", "a*"] {
            let error = RulesTagger::new(&config(regex)).err().unwrap().to_string();
            assert!(error.contains("rules.patterns.0.regex"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn spans_are_sorted_and_on_characters(text in "([A-Z][a-zé]{0,6}|[0-9]{1,5}|Mr|Court|[ ./@:,é漢\u{a0}\n-]){0,60}") {
            let spans = BUILT_IN.tag(&text);
            for pair in spans.windows(2) {
                prop_assert!(pair[0].start <= pair[1].start);
            }
            for span in spans {
                prop_assert!(!span.is_empty());
                prop_assert!(text.get(span.start..span.end).is_some_and(|t| t.trim() == t));
            }
        }
    }
}
