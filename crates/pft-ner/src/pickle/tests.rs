//! The machine against pickles of Python, and against nonsense.

use proptest::prelude::*;

use super::{Value, parse};

fn json(pickle: &[u8]) -> serde_json::Value {
    parse(pickle).unwrap().root().to_json(&mut 1000)
}

#[test]
fn values_of_both_generations_of_protocols_are_read() {
    // pickle.dumps({"a": [1, -2, 300, 2.5, None, True], "é": ("x", b"y"), "n": 2**40}, 2 and 4)
    let two = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01G@\x04\
        \x00\x00\x00\x00\x00\x00N\x88eX\x02\x00\x00\x00\xc3\xa9q\x03X\x01\x00\x00\x00xq\x04\
        U\x01y\x86q\x05X\x01\x00\x00\x00nq\x06\x8a\x06\x00\x00\x00\x00\x00\x01u.";
    let four = b"\x80\x04\x95\x3a\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01J\xfe\
        \xff\xff\xffM,\x01G@\x04\x00\x00\x00\x00\x00\x00N\x88e\x8c\x02\xc3\xa9\x94\x8c\x01x\x94\
        C\x01y\x94\x86\x94\x8c\x01n\x94\x8a\x06\x00\x00\x00\x00\x00\x01u.";
    let expected = serde_json::json!(
        {"a": [1, -2, 300, 2.5, null, true], "é": ["x", null], "n": 1_099_511_627_776_u64});
    assert_eq!(json(two), expected);
    assert_eq!(json(four), expected);
    let pickle = parse(four).unwrap();
    let bytes = pickle.root().get("é").and_then(|pair| pair.element(1)?.as_bytes());
    assert_eq!(bytes, Some(&b"y"[..]));
}

#[test]
fn calls_are_kept_and_never_made() {
    // os.system("true"), as both protocols say it.
    for pickle in [
        &b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R."[..],
        &b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R."[..],
    ] {
        let pickle = parse(pickle).unwrap();
        let (module, name, arguments) = pickle.root().call().unwrap();
        assert_eq!((module, name), ("os", "system"));
        assert_eq!(arguments.element(0).and_then(Value::as_str), Some("true"));
    }
}

#[test]
fn circles_and_towers_end() {
    // A list that holds itself, and a list that doubles sixty times.
    let circle = json(b"\x80\x04]\x94h\x00a.");
    assert!(circle.to_string().len() < 200);
    let mut tower = b"\x80\x04]\x94".to_vec();
    for level in 0..60u8 {
        tower.extend([b']', 0x94, b'(', b'h', level, b'h', level, b'e']);
    }
    tower.push(b'.');
    assert!(json(&tower).to_string().len() < 20_000);
}

#[test]
fn nonsense_is_refused_with_its_place() {
    for (pickle, what) in [
        (&b""[..], "too early"),
        (b"\x80\x09N.", "protocol"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN.", "too early"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "too early"),
        (b"B\xff\xff\xff\x7f", "too early"),
        (b".", "operand"),
        (b"N(a.", "operand"),
        (b"e.", "mark"),
        (b"NNa.", "no list"),
        (b"}(Nu.", "its value"),
        (b"NNNs.", "no dictionary"),
        (b"NNb.", "no object"),
        (b"NN\x93.", "no string"),
        (b"h\x07.", "does not have"),
        (b"cos", "line"),
        (b"i", "not known"),
    ] {
        let error = parse(pickle).err().unwrap().to_string();
        assert!(error.contains(what) && error.contains("byte"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_bytes_make_it_panic(
        program in proptest::collection::vec(
            proptest::sample::select(&b"\x80\x02\x04\x95\x00\x01(.012N\x88\x89)JKM\x8a\x8bGX\x8c\x8dCB\
                \x8e\x96UT]\x8fae\x90l\x91t\x85\x86\x87}sudqr\x94hjc\n\x93R\x81\x92bQ\xff"[..]),
            0..80),
    ) {
        if let Ok(pickle) = parse(&program) {
            walk(pickle.root());
        }
    }
}

/// What fuzzing found to reach many branches (tests/fixtures/fuzz/README.md).
#[test]
fn inputs_that_fuzzing_found_end_in_an_error_or_a_value() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/fuzz/pickle.pack");
    let pack = std::fs::read(path).unwrap();
    let (mut rest, mut parsed, mut refused) = (&pack[..], 0, 0);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (program, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        rest = after;
        match parse(program) {
            Ok(pickle) => {
                walk(pickle.root());
                parsed += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(parsed > 20 && refused > 20, "{parsed} parsed, {refused} refused");
}

/// Asks a value everything.
fn walk(value: Value<'_, '_>) {
    value.to_json(&mut 1000);
    let _ = (value.get("x").is_some(), value.as_text(), value.call().is_some(), value.global());
    let _ = (value.elements().map(Iterator::count), value.entries().map(Iterator::count));
    let _ = (value.state().is_some(), value.persistent_key().is_some());
}
