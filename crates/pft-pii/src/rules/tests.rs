//! What the built-in rules find and leave alone, and what a user may add.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

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
            let letters = text[range.clone()].char_indices().filter(|(_, c)| c.is_alphanumeric());
            for (at, _) in letters {
                let entity = &text[range.clone()];
                assert!(covered(range.start + at), "{entity:?} in {text:?}: {:?}", found(&text));
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
    for number in ["536-22-1948", "12,352,710,000", "1 898 208 000", "12.345.678,90", "1998/12345"]
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
                assert!(found.iter().all(|(_, label)| label == "PERSON"), "{text:?}: {found:?}");
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
        patterns: vec![UserPattern { label: "BADGE".into(), regex: "badge (?P<e>[0-9]+)".into() }],
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
